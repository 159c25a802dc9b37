"""kubectl as the embedded cluster understands it: the forms that metalfoundry says, and no others."""

"""The project's own Fabric tasks; `fab --list` names them."""

from metalfoundry.fab import ns

__all__ = ["ns"]

"""Scripts for those who work on metalfoundry."""

"""SHOWN: the terminal, the command line."""

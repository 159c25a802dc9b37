"""One file for each phase of a provision; their order is `PHASES` in runs/provision.py."""

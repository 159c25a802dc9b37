"""CARRIED: the only door to network and time."""

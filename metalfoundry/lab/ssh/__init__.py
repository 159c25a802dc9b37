"""SSH servers on loopback, and a proxy that may be slow, cut, or silent."""

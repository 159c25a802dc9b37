"""SAID: pure functions that return Command values, and the readers of what comes back."""

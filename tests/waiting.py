"""Waiting for what other processes do. How long it may take says nothing of how fast it has to be."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 60.0


def until(holds: Callable[[], object], seconds: float = PATIENCE, what: str = "it did not happen") -> None:
    """Wait for something that nobody announces; a failure, with `what`, when it has not come after `seconds`."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.01)

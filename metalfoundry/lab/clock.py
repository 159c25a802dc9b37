"""The lab's time, and the errors that the lab raises."""

from __future__ import annotations

import threading
from datetime import UTC, datetime


class LabError(RuntimeError):
    """The lab cannot be set up or run; the text says what is missing or wrong."""


class UnknownForm(Exception):
    """Something was said that the lab does not know; nobody is to take its gap for the real one's answer."""


class MachineClock:
    """Machine time: `speed` 20 makes a machine's 20 seconds pass in one. Time stamps stay real."""

    def __init__(self, speed: float = 1.0) -> None:
        if speed <= 0:
            raise LabError(f"speed must be above 0, not {speed}")
        self.speed = speed

    def real(self, seconds: float) -> float:
        """Real seconds in `seconds` of machine time."""
        return seconds / self.speed

    def wait(self, seconds: float, interrupt: threading.Event) -> bool:
        """Let machine time pass; True as soon as `interrupt` is set."""
        return interrupt.wait(self.real(max(0.0, seconds)))


def stamp(when: datetime | None = None) -> str:
    """RFC 3339 in whole seconds, as Kubernetes writes it."""
    return (when or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def fine_stamp(when: datetime | None = None) -> str:
    """RFC 3339 with nine decimals, as Go's logger writes it."""
    return (when or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")

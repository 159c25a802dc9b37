"""The only door to time: clocks, deadlines, cancellation."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on two clocks: `mono` (seconds, for deadlines) and `wall` (UTC, for records)."""

    mono: float
    wall: datetime


class Cancel:
    """A wish to stop, set once from any thread; `reason` says why."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason = ""

    def set(self, reason: str) -> None:
        """Ask for the stop; the first reason stays."""
        if not self._event.is_set():
            self.reason = reason
            self._event.set()

    def is_set(self) -> bool:
        """Whether somebody asked."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Block until asked or until `seconds` have passed; say whether asked."""
        return self._event.wait(seconds)


class Clock(Protocol):
    """Time as the library sees it."""

    def now(self) -> Instant:
        """This moment."""

    def wait(self, seconds: float, cancel: Cancel) -> None:
        """Let `seconds` pass, or less when `cancel` is set."""


class SystemClock:
    """The computer's clocks."""

    def now(self) -> Instant:
        """This moment."""
        return Instant(time.monotonic(), datetime.now(UTC))

    def wait(self, seconds: float, cancel: Cancel) -> None:
        """Let `seconds` pass, or less when `cancel` is set."""
        if seconds > 0:
            cancel.wait(seconds)


class FakeClock:
    """A clock for tests: waiting moves it at once. `advance` moves it from outside."""

    def __init__(self, wall: datetime | None = None) -> None:
        self._mono = 1000.0
        self._wall = wall or datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def now(self) -> Instant:
        """This moment."""
        return Instant(self._mono, self._wall)

    def wait(self, seconds: float, cancel: Cancel) -> None:
        """Move on by `seconds`, unless cancelled."""
        if not cancel.is_set():
            self.advance(max(seconds, 0.0))

    def sleep(self, seconds: float) -> None:
        """Let the computer sleep: only the wall clock moves."""
        self._wall += timedelta(seconds=seconds)

    def advance(self, seconds: float) -> None:
        """Move both clocks by `seconds`."""
        self._mono += seconds
        self._wall += timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class Deadline:
    """An absolute end, handed down unchanged: a retry cannot stretch it."""

    clock: Clock
    at: float

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> Deadline:
        """The moment `seconds` from now."""
        return cls(clock, clock.now().mono + seconds)

    def remaining(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self.at - self.clock.now().mono)

    def expired(self) -> bool:
        """Whether it has passed."""
        return self.remaining() <= 0.0

    def within(self, seconds: float) -> Deadline:
        """The earlier of this deadline and `seconds` from now."""
        return Deadline(self.clock, min(self.at, self.clock.now().mono + seconds))

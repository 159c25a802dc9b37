"""The only door to time: clocks, deadlines, cancellation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol
from weakref import WeakSet

from metalfoundry.model.errors import Cancelled


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on two clocks: `mono` (seconds, for deadlines) and `wall` (UTC, for records)."""

    mono: float
    wall: datetime


class Cancel:
    """A wish to stop, set once from any thread; `reason` says why.

    Whoever stops because of it takes it in with `heed`: what it does from then on, to leave things safe, is not cut
    short by a wish that is being followed already.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.RLock()  # a signal handler may set it while it is being set
        self._listeners: list[Callable[[], None]] = []
        self._heeded = self._insisted = False
        self.reason = ""

    def set(self, reason: str) -> None:
        """Ask for the stop; the first reason stays. Without effect once it was heeded."""
        self._ring(reason, insist=False)

    def insist(self, reason: str) -> None:
        """Ask again: what is being done to leave things safe is cut short as well, as by a second Ctrl-C."""
        self._ring(reason, insist=True)

    def _ring(self, reason: str, insist: bool) -> None:
        with self._lock:
            self._insisted = self._insisted or insist
            if not insist and (self._heeded or self._event.is_set()):
                return
            self.reason = reason
            self._event.set()
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    def is_set(self) -> bool:
        """Whether somebody asked, and nobody has heeded it yet."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Block until asked or until `seconds` have passed; say whether asked."""
        return self._event.wait(seconds)

    def check(self) -> None:
        """Raise Cancelled when it is set."""
        if self._event.is_set():
            raise Cancelled(self.reason)

    def heed(self) -> None:
        """Take the wish in, and be deaf to any other from now on, unless somebody insists."""
        with self._lock:
            self._heeded = True
            if not self._insisted:
                self._event.clear()

    @contextmanager
    def listening(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call `listener` when it is set during the block, from the thread that sets it; at once when it is already."""
        with self._lock:
            self._listeners.append(listener)
            now = self._event.is_set()
        try:
            if now:
                listener()
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)


class Stop:
    """Ends whatever is under way when it is set; what begins afterwards is not touched."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: WeakSet[Cancel] = WeakSet()

    def begin(self) -> Cancel:
        """The Cancel of something that begins now."""
        cancel = Cancel()
        with self._lock:
            self._under_way.add(cancel)
        return cancel

    def set(self, reason: str) -> None:
        """Set every Cancel of what is under way."""
        with self._lock:
            under_way = list(self._under_way)
        for cancel in under_way:
            cancel.set(reason)


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
    """An absolute end, handed down unchanged: a retry cannot stretch it. `cut`, once set, ends it at once."""

    clock: Clock
    at: float
    cut: Cancel | None = None

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> Deadline:
        """The moment `seconds` from now."""
        return cls(clock, clock.now().mono + seconds)

    def remaining(self) -> float:
        """Seconds left, never below zero."""
        if self.cut is not None and self.cut.is_set():
            return 0.0
        return max(0.0, self.at - self.clock.now().mono)

    def expired(self) -> bool:
        """Whether it has passed."""
        return self.remaining() <= 0.0

    def within(self, seconds: float) -> Deadline:
        """The earlier of this deadline and `seconds` from now."""
        return replace(self, at=min(self.at, self.clock.now().mono + seconds))

    def cut_by(self, cancel: Cancel) -> Deadline:
        """The same deadline, which is over as soon as `cancel` is set."""
        return replace(self, cut=cancel)

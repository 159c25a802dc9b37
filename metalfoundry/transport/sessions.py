"""The sessions of one connection: how many there may be, and those that were made ready ahead."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from metalfoundry.transport.clock import Deadline

T = TypeVar("T")


class Sessions(Generic[T]):
    """Up to `most` places. One that is made ready ahead holds a place, and is given, with it, to whoever wants one
    next; so nobody waits for a place that stands idle.
    """

    def __init__(self, most: int) -> None:
        self._changed = threading.Condition()
        self._free = most
        self._waiting = 0
        self._making = 0
        self._ready: list[T] = []
        self._fails = False

    def take(self, deadline: Deadline) -> tuple[bool, T | None]:
        """A place, and what was made ready in it, the oldest first; (False, None) when none comes free in time."""
        with self._changed:
            self._waiting += 1
            try:
                while not (self._ready or self._free):
                    if not self._changed.wait(deadline.remaining()) and not (self._ready or self._free):
                        return False, None
                if self._ready:
                    return True, self._ready.pop(0)
                self._free -= 1
                return True, None
            finally:
                self._waiting -= 1

    def give_back(self) -> None:
        """A place is free again."""
        with self._changed:
            self._free += 1
            self._changed.notify()

    def reserve(self, ahead: int) -> bool:
        """Take a place to make a session ready in it, if fewer than `ahead` are; not while somebody waits for a place,
        and never again once that has failed.
        """
        with self._changed:
            wanted = len(self._ready) + self._making < ahead and not self._fails
            if not wanted or not self._free or self._waiting:
                return False
            self._free -= 1
            self._making += 1
            return True

    def made(self, ready: T) -> None:
        """It is ready, in the place that was reserved."""
        with self._changed:
            self._making -= 1
            self._ready.append(ready)
            self._changed.notify()

    def failed(self, *, gone: bool) -> None:
        """It could not be made ready. `gone`: the host may hold the session, so its place stays taken."""
        with self._changed:
            self._making -= 1
            self._fails = True
            self._free += not gone
            self._changed.notify()

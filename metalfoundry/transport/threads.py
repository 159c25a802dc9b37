"""Threads beside the main line, which nobody waits for but at the very end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
LIMITS = "look at its memory, its processes and its limits: free -m; ps aux | wc -l; ulimit -a"
"""The next step where this computer starts no more programs, or threads."""
PIECE_SECONDS = 1.0  # a wait without an end does not hear Ctrl-C everywhere


class Threads:
    """Starts threads that do not keep the program from ending; `join` gives them the time to end before it does.

    A thread that still reads from a connection while the interpreter goes down can crash it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[threading.Thread] = set()

    def start(self, work: Callable[[], object], name: str) -> None:
        """Run `work` in a thread of its own. Raises RuntimeError where this computer starts no more."""

        def run() -> None:
            try:
                work()
            finally:
                with self._lock:
                    self._running.discard(threading.current_thread())

        thread = threading.Thread(target=run, name=name, daemon=True)
        with self._lock:
            self._running.add(thread)
        try:
            thread.start()
        except RuntimeError:
            with self._lock:
                self._running.discard(thread)
            raise

    def join(self, seconds: float) -> bool:
        """Wait for all of them, each for at most `seconds` more; say whether all have ended."""
        with self._lock:
            running = [thread for thread in self._running if thread is not threading.current_thread()]
        for thread in running:
            if thread.ident is not None:
                thread.join(seconds)
        return not any(thread.is_alive() for thread in running)


def fulfil(future: Future[T], work: Callable[[], T]) -> None:
    """Do the work, and give its result, or what it raised, to whoever waits for `future`."""
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - it belongs to whoever asked
        future.set_exception(error)

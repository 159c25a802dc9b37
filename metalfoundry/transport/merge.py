"""Several followed streams as one, in order of arrival."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar

from metalfoundry.transport.threads import Threads

T = TypeVar("T")
WAITING = 1000  # items; a stream that is faster than its reader waits for it


class Merge(Protocol):
    """Turns streams into one stream of (index of the stream, item); None after `tick` seconds of silence."""

    def __call__(self, streams: Sequence[Callable[[], Iterator[T]]], tick: float) -> Iterator[tuple[int, T] | None]:
        """Start every stream and yield what comes; what a stream raises is raised here."""


class Threaded:
    """A Merge with one thread for each stream."""

    def __init__(self, threads: Threads | None = None) -> None:
        """`threads` starts them, and may be asked to wait for them."""
        self._threads = threads or Threads()

    def __call__(self, streams: Sequence[Callable[[], Iterator[T]]], tick: float) -> Iterator[tuple[int, T] | None]:
        """Ends when all streams have ended; closing it closes them at their next item.

        A stream must yield something regularly (a followed command ticks by itself), for only then it notices the end.
        """
        arrived: queue.Queue[tuple[int, T] | BaseException | None] = queue.Queue(WAITING)
        stop = threading.Event()

        def hand_over(item: tuple[int, T] | BaseException | None) -> None:
            while not stop.is_set():
                with suppress(queue.Full):
                    arrived.put(item, timeout=tick)
                    return

        def pump(index: int, start: Callable[[], Iterator[T]]) -> None:
            try:
                for item in start():
                    if stop.is_set():
                        return
                    hand_over((index, item))
            except BaseException as error:  # noqa: BLE001 - it belongs to the reader, who raises it
                hand_over(error)
            finally:
                hand_over(None)

        for index, start in enumerate(streams):
            self._threads.start(partial(pump, index, start), f"follow-{index}")
        running = len(streams)
        try:
            while running:
                try:
                    item = arrived.get(timeout=tick)
                except queue.Empty:
                    yield None
                    continue
                if item is None:
                    running -= 1
                elif isinstance(item, BaseException):
                    raise item
                else:
                    yield item
        finally:
            stop.set()

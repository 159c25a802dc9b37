"""A transport that can be left: whoever waits for a command goes on at once when the run is cancelled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from metalfoundry.commands.command import Command
from metalfoundry.model.errors import Cancelled
from metalfoundry.model.hosts import Host
from metalfoundry.transport.base import Result, Transport, Wrapped
from metalfoundry.transport.clock import Cancel, Deadline
from metalfoundry.transport.merge import Merge
from metalfoundry.transport.threads import PIECE_SECONDS, Threads, fulfil

T = TypeVar("T")


class Heeding(Wrapped):
    """A Transport over `inner`: a command is run in a thread of its own, and left there on a cancel or an interrupt.

    What was left sends nothing any more, for its deadline is over; what it had sent may still take effect. A way that
    is blocked (a name that is looked up, a host that is gone) cannot be cut short otherwise: no library offers that.
    Whoever follows a command looks at the cancel itself, see HeedingMerge.
    """

    def __init__(self, inner: Transport, cancel: Cancel, threads: Threads) -> None:
        super().__init__(inner)
        self._cancel, self._threads = cancel, threads

    def run(self, host: Host, command: Command, deadline: Deadline) -> Result:
        """As Transport.run. Raises Cancelled."""
        self._cancel.check()
        left = Cancel()
        future: Future[Result] = Future()
        bell = threading.Event()
        work = partial(self._inner.run, host, command, deadline.cut_by(left))
        try:
            future.add_done_callback(lambda done: bell.set())
            self._threads.start(partial(fulfil, future, work), "command")
            with self._cancel.listening(bell.set):
                while not bell.wait(PIECE_SECONDS):
                    continue
            if not future.done():
                raise Cancelled(self._cancel.reason)
            return future.result()
        except BaseException:
            left.set("nobody waits for it any longer")
            raise


class HeedingMerge:
    """A Merge over `inner` that raises Cancelled at the next item or tick."""

    def __init__(self, inner: Merge, cancel: Cancel) -> None:
        self._inner, self._cancel = inner, cancel

    def __call__(self, streams: Sequence[Callable[[], Iterator[T]]], tick: float) -> Iterator[tuple[int, T] | None]:
        """As Merge."""
        for item in self._inner(streams, tick):
            self._cancel.check()
            yield item

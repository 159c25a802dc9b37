"""Whoever waits for a command goes on at a cancel or an interrupt, and what was left sends nothing any more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from metalfoundry.commands.command import Command
from metalfoundry.model.errors import Cancelled, LinkLost
from metalfoundry.model.hosts import Host
from metalfoundry.transport.base import Result
from metalfoundry.transport.clock import Cancel, Deadline, FakeClock, Stop
from metalfoundry.transport.heeding import Heeding, HeedingMerge
from metalfoundry.transport.threads import Threads
from tests.fakes import FakeTransport

HOST, COMMAND = Host("jump", "jump"), Command(("true",))


class Blocked(FakeTransport):
    """A way that is blocked until `free`; what would be sent then is in `sent`."""

    def __init__(self, clock: FakeClock, meanwhile: Callable[[], object]) -> None:
        super().__init__(clock)
        self.free, self.sent = threading.Event(), list[bool]()
        self._meanwhile = meanwhile

    def run(self, host: Host, command: Command, deadline: Deadline) -> Result:
        self._meanwhile()
        self.free.wait(10)
        self.sent.append(not deadline.expired())
        return Result(0, "", "")


def test_a_command_that_hangs_is_left_at_a_cancel_and_is_sent_no_more() -> None:
    clock, cancel, threads = FakeClock(), Cancel(), Threads()
    inner = Blocked(clock, lambda: cancel.set("wrong image"))
    with pytest.raises(Cancelled, match="wrong image"):
        Heeding(inner, cancel, threads).run(HOST, COMMAND, Deadline.after(clock, 60))
    inner.free.set()
    assert threads.join(10)
    assert inner.sent == [False]


def test_once_the_cancel_is_heeded_commands_pass() -> None:
    clock, cancel = FakeClock(), Cancel()
    inner = FakeTransport(clock)
    inner.on("true", reply="ok")
    transport, deadline = Heeding(inner, cancel, Threads()), Deadline.after(clock, 60)
    cancel.set("wrong image")
    with pytest.raises(Cancelled):
        transport.run(HOST, COMMAND, deadline)
    cancel.heed()
    cancel.set("once more")
    assert transport.run(HOST, COMMAND, deadline).stdout == "ok"
    assert cancel.reason == "wrong image"


@pytest.mark.parametrize("error", [LinkLost("cut"), KeyboardInterrupt()])
def test_what_a_command_raises_comes_out(error: BaseException) -> None:
    clock = FakeClock()
    inner = FakeTransport(clock)
    inner.on("true", reply=error)
    with pytest.raises(type(error)):
        Heeding(inner, Cancel(), Threads()).run(HOST, COMMAND, Deadline.after(clock, 60))


def test_a_silent_watch_is_left_at_the_next_tick() -> None:
    cancel = Cancel()
    merge = HeedingMerge(lambda streams, tick: iter([None, None]), cancel)
    ticks: Iterator[tuple[int, str] | None] = merge([], 0.25)
    assert next(ticks) is None
    cancel.set("wrong image")
    with pytest.raises(Cancelled):
        next(ticks)


def test_a_stop_reaches_what_is_under_way_and_nothing_that_begins_later() -> None:
    stop = Stop()
    first, second = stop.begin(), stop.begin()
    stop.set("one")
    later = stop.begin()
    assert (first.is_set(), second.reason, later.is_set()) == (True, "one", False)
    stop.set("two")
    assert (first.reason, later.reason) == ("one", "two")

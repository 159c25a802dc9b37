"""Looking for who answers: a look that hangs keeps no other back, and a slow machine is told from a silent one."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from metalfoundry.commands.command import Command
from metalfoundry.commands.machine import MachineFacts
from metalfoundry.model.bus import Bus
from metalfoundry.model.errors import ConnectError, DeadlineExceeded, MachineSlow
from metalfoundry.model.events import Notice, Record
from metalfoundry.model.hosts import Host
from metalfoundry.model.inventory import Server
from metalfoundry.model.states import SshAnswer
from metalfoundry.runs import status
from metalfoundry.site.machine import MOST_LOOKS, Machine, Watcher
from metalfoundry.site.site import Site
from metalfoundry.site.snapshot import ANSWER_SECONDS, snapshot_machine
from metalfoundry.transport.base import Result
from metalfoundry.transport.clock import Deadline, FakeClock
from metalfoundry.transport.connection import SshTimeouts
from tests.fakes import FakeTransport
from tests.site.test_stream import site


class Looks:
    """Looks in the test's own hand: each is a future that ends when the test says so."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.all: list[Future[MachineFacts]] = []
        self.site = cast(Site, SimpleNamespace(clock=self.clock, background=self.start))

    def start(self, work: Any) -> Future[MachineFacts]:
        self.all.append(Future())
        return self.all[-1]

    def wait(self, watcher: Watcher, seconds: float) -> list[object]:
        seen: list[object] = []
        for _ in range(int(seconds * 20)):
            seen.append(watcher.poll())
            self.clock.advance(0.05)
        return [each for each in seen if each is not None]


def test_a_look_that_hangs_keeps_the_next_one_back_for_less_than_a_second() -> None:
    looks = Looks()
    watcher = Watcher(looks.site, MachineFacts)
    assert looks.wait(watcher, 1.0) == []
    assert len(looks.all) == 2
    looks.all[1].set_result(MachineFacts(boot_id="new"))
    assert looks.wait(watcher, 0.1) == [MachineFacts(boot_id="new")]


def test_looks_under_way_are_bounded_and_one_that_fails_makes_room() -> None:
    looks = Looks()
    watcher = Watcher(looks.site, MachineFacts)
    looks.wait(watcher, 30)
    assert len(looks.all) == MOST_LOOKS
    error = ConnectError("silent")
    looks.all[0].set_exception(error)
    assert looks.wait(watcher, 2) == [error]
    assert len(looks.all) == MOST_LOOKS + 1


def test_while_nothing_answers_looks_begin_at_least_every_second_for_ever() -> None:
    looks = Looks()
    watcher = Watcher(looks.site, MachineFacts)
    begun: list[float] = []
    for _ in range(1200):
        now = looks.clock.now().mono
        begun += [now] * (len(looks.all) - len(begun))
        for look, began in zip(looks.all, begun, strict=True):
            if not look.done() and now - began >= SshTimeouts().reach:  # its packets were lost
                look.set_exception(ConnectError("silent"))
        looks.wait(watcher, 0.05)
    assert len(begun) > 60
    assert max(later - earlier for earlier, later in pairwise(begun)) < 1.0


def test_a_machine_that_answers_is_asked_once_at_a_time() -> None:
    looks = Looks()
    looks.wait(Watcher(looks.site, MachineFacts, answers=lambda: True), 30)
    assert len(looks.all) == 1


def machine(transport: FakeTransport, records: list[Record] | None = None) -> Machine:
    def keep(record: Record) -> None:
        if records is not None:
            records.append(record)

    bus = Bus(lambda: transport.clock.now().wall, [keep])
    return Machine(site(transport).on(bus), Server(name="anvil", hardware="anvil", address="10.0.0.9"), None)


def test_an_sshd_that_answers_without_facts_is_slow_and_not_silent() -> None:
    transport = FakeTransport()
    transport.on("sh -s", reply=DeadlineExceeded("too late", sent=True))
    slow = machine(transport)
    with pytest.raises(MachineSlow, match="answers SSH, but has not said what it is within 30 s") as caught:
        slow.facts(Deadline.after(transport.clock, 60))
    assert "timeouts.facts" in caught.value.next


def test_a_machine_that_is_not_reached_is_not_slow() -> None:
    transport = FakeTransport()
    transport.on("sh -s", reply=DeadlineExceeded("no connection", sent=False))
    silent = machine(transport)
    with pytest.raises(DeadlineExceeded) as caught:
        silent.look()
    assert not isinstance(caught.value, MachineSlow)


def test_a_slow_answer_is_waited_for_as_long_as_the_inventory_says() -> None:
    transport = FakeTransport()
    transport.on("sh -s", reply=Result(0, "boot_id=b\n", "", 25.0))
    records: list[Record] = []
    assert machine(transport, records).look().boot_id == "b"
    assert any(isinstance(each.event, Notice) and "took 25 s" in each.event.text for each in records)


def test_a_slow_machine_is_slow_in_a_diagnosis_and_gets_the_time_of_the_inventory() -> None:
    transport = FakeTransport()
    limits: list[float] = []

    def late(host: Host, command: Command) -> DeadlineExceeded:
        return DeadlineExceeded("too late", sent=True)

    transport.on("sh -s", reply=late)
    place = site(transport)
    run = transport.run

    def timed(host: Host, command: Command, deadline: Deadline) -> Result:
        limits.append(deadline.remaining())
        return run(host, command, deadline)

    timing = cast(Any, SimpleNamespace(run=timed, presented=transport.server_key))
    seen = snapshot_machine(
        replace(place, transport=timing),
        Server(name="anvil", hardware="anvil", address="10.0.0.9"),
        None,
        Deadline.after(transport.clock, 100),
    )
    assert seen.ssh is SshAnswer.SLOW
    assert limits == [ANSWER_SECONDS, place.inventory.timeouts.facts]


def test_a_status_that_asks_the_machine_calls_a_slow_one_slow() -> None:
    transport = FakeTransport()
    transport.on("sh -s", reply=DeadlineExceeded("too late", sent=True))
    words = status._machine(site(transport), None, Server(name="anvil", hardware="anvil", address="10.0.0.9"))
    assert words.startswith("slow: ")

"""Gates and observers, and the fake transport that other tests lean on."""

from __future__ import annotations

import pytest

from metalfoundry.commands.command import Command, Effect
from metalfoundry.model.errors import Cancelled, GateClosed, LinkLost
from metalfoundry.model.hosts import Host
from metalfoundry.transport.base import Result, Transport
from metalfoundry.transport.clock import Cancel, Deadline, FakeClock
from metalfoundry.transport.gates import CancelGate, Gated, PlanGate
from tests.fakes import FakeTransport, UnknownCommand

HOST = Host("jump", "jump")
READ, WRITE, RESTORE = (Command(("do", effect.value), effect=effect) for effect in Effect)


class Seen:
    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []

    def started(self, host: Host, command: Command, follows: bool) -> None:
        self.events.append(("started", command.line, follows))

    def ended(self, host: Host, command: Command, outcome: Result | BaseException | None, seconds: float) -> None:
        self.events.append(("ended", command.line, outcome, seconds))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_plan_gate_lets_reads_pass_and_keeps_what_would_have_been_said(clock: FakeClock) -> None:
    inner, gate = FakeTransport(clock), PlanGate()
    inner.on("do", reply="ok", lines=["line"])
    transport: Transport = Gated(inner, [gate], clock)
    deadline = Deadline.after(clock, 10)
    assert transport.run(HOST, READ, deadline).stdout == "ok"
    for command in (WRITE, RESTORE):
        with pytest.raises(GateClosed):
            transport.run(HOST, command, deadline)
    with pytest.raises(GateClosed):
        list(transport.follow(HOST, WRITE, deadline))
    assert [command for _, command in gate.said] == [WRITE, RESTORE, WRITE]
    assert inner.writes == []


def test_a_cancel_ends_whoever_says_anything_and_once_heeded_refuses_writes_only(clock: FakeClock) -> None:
    inner, cancel = FakeTransport(clock), Cancel()
    inner.on("do", reply="ok")
    transport, deadline = Gated(inner, [CancelGate(cancel)], clock), Deadline.after(clock, 10)
    transport.run(HOST, WRITE, deadline)
    cancel.set("Ctrl-C")
    for command in (READ, WRITE, RESTORE):
        with pytest.raises(Cancelled, match="Ctrl-C"):
            transport.run(HOST, command, deadline)
    cancel.heed()
    with pytest.raises(GateClosed, match="Ctrl-C"):
        transport.run(HOST, WRITE, deadline)
    transport.run(HOST, READ, deadline)
    transport.run(HOST, RESTORE, deadline)
    assert [said.command for said in inner.said] == [WRITE, READ, RESTORE]


def test_the_observer_sees_each_command_begin_and_end_but_not_a_refused_one(clock: FakeClock) -> None:
    inner, seen, lost = FakeTransport(clock, took=0.5), Seen(), LinkLost("cut")
    inner.on("do", reply=["ok", lost, KeyboardInterrupt()])
    transport, deadline = Gated(inner, [PlanGate()], clock, seen), Deadline.after(clock, 10)
    transport.run(HOST, READ, deadline)
    with pytest.raises(LinkLost):
        transport.run(HOST, READ, deadline)
    with pytest.raises(KeyboardInterrupt):
        transport.run(HOST, READ, deadline)
    with pytest.raises(GateClosed):
        transport.run(HOST, WRITE, deadline)
    ends = [event[2:] for event in seen.events if event[0] == "ended"]
    assert ends[:2] == [(Result(0, "ok", "", 0.5), 0.5), (lost, 0.5)]
    assert isinstance(ends[2][0], KeyboardInterrupt)
    assert len(seen.events) == 6


def test_the_observer_sees_a_followed_command_end_however_it_ends(clock: FakeClock) -> None:
    inner, seen = FakeTransport(clock), Seen()
    inner.on("do", lines=["a", None, LinkLost("cut")])
    transport, deadline = Gated(inner, [], clock, seen), Deadline.after(clock, 100)
    stream = transport.follow(HOST, READ, deadline, tick=2)
    assert [next(stream), next(stream)] == ["a", None]
    with pytest.raises(LinkLost):
        next(stream)
    closed = transport.follow(HOST, READ, deadline)
    next(closed)
    closed.close()  # type: ignore[attr-defined]
    ends = [event[2:] for event in seen.events if event[0] == "ended"]
    assert isinstance(ends[0][0], LinkLost) and ends[0][1] == 2.0
    assert ends[1] == (None, 0.0)


def test_the_fake_fails_loudly_on_a_command_it_does_not_know(clock: FakeClock) -> None:
    fake, deadline = FakeTransport(clock), Deadline.after(clock, 10)
    fake.on("uname", reply="Linux")
    with pytest.raises(UnknownCommand, match="do write"):
        fake.run(HOST, WRITE, deadline)
    with pytest.raises(UnknownCommand):  # it can be run, not followed
        list(fake.follow(HOST, Command(("uname",)), deadline))


def test_the_fake_follows_a_script_until_the_deadline(clock: FakeClock) -> None:
    fake, called = FakeTransport(clock), []
    fake.on("do", lines=["a", lambda: called.append(clock.now().mono), None, None, None, "late"])
    begun = clock.now().mono
    assert list(fake.follow(HOST, READ, Deadline.after(clock, 2), tick=1)) == ["a", None, None]
    assert called == [begun]
    assert clock.now().mono == begun + 2


def test_the_fake_uses_replies_up_until_the_last(clock: FakeClock) -> None:
    fake, deadline = FakeTransport(clock), Deadline.after(clock, 10)
    rule = fake.on(lambda host, command: host.name == "jump", reply=["one", lambda host, command: command.line])
    assert [fake.run(HOST, READ, deadline).stdout for _ in range(3)] == ["one", "do read", "do read"]
    assert rule.used == 3

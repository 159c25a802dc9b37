"""Open and Boot after nobody has looked for a while, as after a sleep: what has happened meanwhile decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.lab.kubernetes.store import Object
from metalfoundry.model.documents import workflow_for
from metalfoundry.model.errors import (
    AuthError,
    HostKeyError,
    IdentityError,
    MetalfoundryError,
    NeverInstalled,
    TransportError,
    WorkflowFailed,
    WorkflowTimedOut,
)
from metalfoundry.model.events import Notice, Record
from metalfoundry.model.hosts import ServerKey
from metalfoundry.model.inventory_fields import Rung
from metalfoundry.model.resources import Hardware, Workflow
from metalfoundry.runs.engine import Phase
from metalfoundry.runs.ladder import AGAIN_SECONDS, Ladder, ways
from metalfoundry.runs.options import Options
from metalfoundry.runs.phases.boot import Boot
from metalfoundry.runs.phases.open import WINDOW_NOT_NEEDED, Open
from metalfoundry.runs.provision_run import ProvisionRun
from metalfoundry.runs.target import Target
from metalfoundry.site.machine import Machine
from metalfoundry.transport.clock import Deadline
from tests.runs.scene import HOOK, OLD, changed
from tests.site.place import MAC, SERVER, Bench

DOCUMENT = """\
apiVersion: tinkerbell.org/v1alpha1
kind: Workflow
metadata: {name: anvil-ubuntu}
spec: {hardwareRef: anvil, templateRef: ubuntu}
"""
ACTION = {"id": "1", "name": "a1", "image": "x", "state": "RUNNING"}
TASK = {"id": "1", "name": "os", "agentID": MAC, "actions": [ACTION]}
UNRUN = TASK | {"actions": [ACTION | {"state": "PENDING"}]}


class Untouched(Machine):
    """One that nobody may reboot."""

    def reboot(self, deadline: Deadline, force: bool = False) -> None:
        raise AssertionError("it was rebooted")

    def presented(self) -> ServerKey | None:
        return None


class Rebooted(Exception):
    """It was asked to."""


class Asked(Untouched):
    """One that says that it was asked."""

    def reboot(self, deadline: Deadline, force: bool = False) -> None:
        raise Rebooted


@dataclass(frozen=True)
class Deaf(Untouched):
    """One that does not heed `reboot` until it is forced; then the installer runs. `heard`: when, how, whether open."""

    bench: Bench = field(kw_only=True)
    heard: list[tuple[float, bool, bool]] = field(default_factory=list)

    def reboot(self, deadline: Deadline, force: bool = False) -> None:
        self.heard.append((self.bench.clock.now().mono, force, self.bench.is_open))
        self.bench.set_pxe(False)  # as somebody with kubectl
        if force:
            running = {"op": "replace", "path": "/status", "value": {"state": "RUNNING", "tasks": [TASK]}}
            self.bench.store.patch("workflows", "anvil-ubuntu", [running])
        elif len(self.heard) == 2:
            raise NeverInstalled("anvil refused to reboot (exit status 1)", next="look")

    def look(self) -> MachineFacts:
        return OLD


@dataclass(frozen=True)
class Refusing(Untouched):
    """One that refuses every reboot; then the window is shut, and an agent may report (`state`)."""

    bench: Bench = field(kw_only=True)
    state: str = "PENDING"

    def reboot(self, deadline: Deadline, force: bool = False) -> None:
        self.bench.set_pxe(False)
        self.bench.clock.advance(30)
        done = {"op": "replace", "path": "/status", "value": {"state": self.state, "tasks": [TASK]}}
        self.bench.store.patch("workflows", "anvil-ubuntu", [done])
        raise NeverInstalled("anvil refused to reboot (exit status 1)", next="look")


class Heedless(Deaf):
    """One that heeds nothing, even where it is forced."""

    def reboot(self, deadline: Deadline, force: bool = False) -> None:
        self.heard.append((self.bench.clock.now().mono, force, self.bench.is_open))
        self.bench.set_pxe(False)


def silence(bench: Bench) -> Iterator[Workflow | None]:
    """The watch of a Workflow that nothing happens to until it runs."""
    while (seen := Workflow.of(bench.store.get("workflows", "anvil-ubuntu"))).state == "PENDING":
        bench.clock.advance(1)
        yield None
    yield seen


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as bench:
        yield bench


def asleep(bench: Bench, state: str | None) -> ProvisionRun:
    """A run that has declared a Workflow and then slept, until long after it got into `state` (None: was deleted)."""
    run = ProvisionRun(bench.site(), SERVER, Options(), "run-1")
    document = workflow_for(DOCUMENT, "w.yaml", "anvil", namespace="tink-system")
    machine, hardware = Untouched(run.site, SERVER, "192.0.2.87"), Hardware.of(bench.hardware)
    run.found = Target(hardware, document, None, machine, MAC, bench.clock.now().mono)
    run.window.claim.take(None)
    run.window.open()
    bench.clock.sleep(300)
    if state is not None:
        done: Object = {"state": state, "tasks": [TASK if state == "RUNNING" else UNRUN]}
        bench.store.create("workflows", {"metadata": {"name": "anvil-ubuntu"}, "spec": {}, "status": done})
    bench.set_pxe(False)  # as the guard does when it sees the installer run
    return run


@pytest.mark.parametrize("phase", [Open(), Boot()], ids=["Open", "Boot"])
def test_a_machine_that_an_agent_has_meanwhile_is_neither_opened_nor_rebooted(
    bench: Bench, phase: Phase[ProvisionRun]
) -> None:
    run = asleep(bench, "RUNNING")
    phase.act(run)
    assert not bench.is_open
    assert run.said in (WINDOW_NOT_NEEDED, "the installer runs")


@pytest.mark.parametrize("phase", [Open(), Boot()], ids=["Open", "Boot"])
@pytest.mark.parametrize(
    ("state", "error"), [("FAILED", WorkflowFailed), ("TIMEOUT", WorkflowTimedOut), (None, WorkflowFailed)]
)
def test_nor_is_one_whose_workflow_is_over(
    bench: Bench, phase: Phase[ProvisionRun], state: str | None, error: type[MetalfoundryError]
) -> None:
    run = asleep(bench, state)
    with pytest.raises(error):
        phase.act(run)
    assert not bench.is_open


def test_a_window_that_was_shut_meanwhile_is_opened_before_the_reboot(bench: Bench) -> None:
    run = asleep(bench, "PENDING")
    run.found = replace(run.target, machine=Asked(run.site, SERVER, "192.0.2.87"), facts_now=OLD)
    with pytest.raises(Rebooted):
        Boot().act(run)
    assert bench.is_open


def test_a_reboot_that_is_not_heeded_is_sent_again_and_then_forced_always_under_an_open_window(bench: Bench) -> None:
    run = asleep(bench, "PENDING")
    run._watch = silence(bench)
    machine = Deaf(run.site, SERVER, "192.0.2.87", bench=bench)
    run.found = replace(run.target, machine=machine, facts_now=OLD, facts_old=OLD)
    Boot().act(run)
    times, forced, opened = zip(*machine.heard, strict=True)
    assert forced == (False, False, True) and all(opened)
    assert times[1] - times[0] >= AGAIN_SECONDS and times[2] - times[1] >= AGAIN_SECONDS
    again = [event.text for event in bench.events if isinstance(event, Notice)]
    assert any("runs as before, 60 s after `reboot`" in text for text in again)
    assert any("refused to reboot" in text for text in again)


def laddered(bench: Bench, machine: Machine, *rungs: Rung) -> tuple[ProvisionRun, list[bool]]:
    """A run on `machine` that climbs these; and whether netboot was open whenever a person was told to reboot it."""
    run = asleep(bench, "PENDING")
    run.server = SERVER.model_copy(update={"reboot": rungs})
    run._watch = silence(bench)
    run.found = replace(run.target, machine=machine, facts_now=OLD, facts_old=OLD)
    told: list[bool] = []

    def hear(record: Record) -> None:
        if isinstance(record.event, Notice) and record.event.text.startswith("reboot anvil now"):
            told.append(bench.is_open)
            running = {"op": "replace", "path": "/status", "value": {"state": "RUNNING", "tasks": [TASK]}}
            bench.store.patch("workflows", "anvil-ubuntu", [running])

    run.bus.sinks.append(hear)
    return run, told


def test_where_the_last_reboot_is_not_heeded_the_next_rung_is_taken_under_an_open_window(bench: Bench) -> None:
    machine = Heedless(bench.site(), SERVER, "192.0.2.87", bench=bench)
    run, told = laddered(bench, machine, "ssh", "person")
    Boot().act(run)
    assert [(force, opened) for _, force, opened in machine.heard] == [(False, True), (False, True), (True, True)]
    assert told == [True]
    said = [event.text for event in bench.events if isinstance(event, Notice)]
    assert "anvil runs as before, though its reboot was forced; next: a person reboots it" in said


def test_the_next_rung_is_taken_under_an_open_window(bench: Bench) -> None:
    run, told = laddered(bench, Refusing(bench.site(), SERVER, "192.0.2.87", bench=bench), "ssh", "person")
    Boot().act(run)
    assert told == [True]


def test_a_machine_that_an_agent_has_meanwhile_is_not_switched_off(bench: Bench) -> None:
    machine = Refusing(bench.site(), SERVER, "192.0.2.87", bench=bench, state="RUNNING")
    run, told = laddered(bench, machine, "ssh", "person")
    Boot().act(run)
    assert (told, bench.is_open, run.said) == ([], False, "the installer runs")


@dataclass(frozen=True)
class Doubtful(Untouched):
    """One whose sshd answers the reboot in another way than it has answered Preflight."""

    error: TransportError = field(kw_only=True)

    def reboot(self, deadline: Deadline, force: bool = False) -> None:
        raise self.error


@pytest.mark.parametrize("error", [AuthError("anvil refuses our keys"), HostKeyError("anvil shows another key")])
def test_where_another_answers_the_reboot_no_other_way_is_taken(bench: Bench, error: TransportError) -> None:
    run, told = laddered(bench, Doubtful(bench.site(), SERVER, "192.0.2.87", error=error), "ssh", "person")
    with pytest.raises(type(error)):
        Boot().act(run)
    assert told == []


@dataclass(frozen=True)
class Late(Untouched):
    """One that was silent at Preflight, and answers now; it says when it is asked to reboot."""

    seen: MachineFacts = field(kw_only=True)
    bench: Bench = field(kw_only=True)
    asked: list[bool] = field(default_factory=list)

    def facts(self, deadline: Deadline) -> MachineFacts:
        return self.seen

    def reboot(self, deadline: Deadline, force: bool = False) -> None:
        self.asked.append(self.bench.is_open)
        running = {"op": "replace", "path": "/status", "value": {"state": "RUNNING", "tasks": [TASK]}}
        self.bench.store.patch("workflows", "anvil-ubuntu", [running])

    def look(self) -> MachineFacts:
        return self.seen


def silent_until_now(bench: Bench, seen: MachineFacts, *rungs: Rung) -> tuple[ProvisionRun, Late, list[bool]]:
    machine = Late(bench.site(), SERVER, "192.0.2.87", seen=seen, bench=bench)
    run, told = laddered(bench, machine, *rungs)
    run.found = replace(run.target, facts_now=None, facts_old=None)
    return run, machine, told


STRANGER = changed(OLD, macs=("00:00:5e:00:53:77",), serial="")


@pytest.mark.parametrize("seen", [OLD, STRANGER])
def test_what_was_silent_when_it_was_shown_is_not_rebooted_over_ssh(bench: Bench, seen: MachineFacts) -> None:
    run, machine, told = silent_until_now(bench, seen, "ssh", "person")
    assert ways(run) == "by a person"
    Boot().act(run)
    assert (machine.asked, told) == ([], [True])


def test_where_ssh_is_the_only_way_a_machine_that_was_silent_is_asked_who_it_is(bench: Bench) -> None:
    run, machine, _ = silent_until_now(bench, OLD, "ssh")
    assert ways(run) == "over SSH"
    Boot().act(run)
    assert machine.asked == [True]
    assert (run.target.facts_now, run.target.facts_old, run.target.old_systems) == (OLD, OLD, (OLD,))


@pytest.mark.parametrize(
    ("seen", "error"),
    [(STRANGER, IdentityError), (changed(OLD, macs=(), serial=""), NeverInstalled)],
    ids=["stranger", "not proven"],
)
def test_it_is_not_rebooted_where_it_is_another_or_does_not_tell(
    bench: Bench, seen: MachineFacts, error: type[MetalfoundryError]
) -> None:
    run, machine, _ = silent_until_now(bench, seen, "ssh")
    with pytest.raises(error) as caught:
        Boot().act(run)
    assert machine.asked == [] and caught.value.next


def test_nor_where_it_has_come_up_in_the_installer(bench: Bench) -> None:
    run, machine, _ = silent_until_now(bench, HOOK, "ssh")
    ladder = Ladder(run, Deadline.after(bench.clock, 60))
    ladder.climb()
    assert (machine.asked, ladder.told) == ([], "tried ssh: it is in HookOS already")
    assert run.target.facts_now is None

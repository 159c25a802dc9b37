"""A Job through a real sh and the lab's kubectl: one whose reply is lost, a Machine that is missing, a right, a CRD."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from metalfoundry.commands import bmc
from metalfoundry.commands.command import Command, Effect
from metalfoundry.commands.kubernetes import BmcJob
from metalfoundry.lab.kubernetes.store import Object
from metalfoundry.model.errors import LinkLost, PreflightError
from metalfoundry.model.resources import Hardware
from metalfoundry.site.bmc import Bmc
from metalfoundry.transport.clock import Deadline
from tests.site.place import MAC, Bench, Shell
from tests.waiting import until

JOB, JOBS = "metalfoundry-anvil-1", "jobs.bmc.tinkerbell.org"
HARDWARE: Object = {
    "metadata": {"name": "anvil"},
    "spec": {"bmcRef": {"kind": "Machine", "name": "bmc-anvil"}, "interfaces": [{"dhcp": {"mac": MAC, "uefi": True}}]},
}
MACHINE: Object = {
    "metadata": {"name": "bmc-anvil"},
    "spec": {"connection": {"host": "192.0.2.250", "insecureTLS": True}},
    "status": {"powerState": "on", "conditions": [{"type": "Contactable", "status": "True"}]},
}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path, HARDWARE) as bench:
        bench.store.create("machines", MACHINE)
        yield bench


def made(bench: Bench) -> Bmc:
    return Bmc(bench.site(), Hardware.of(bench.hardware))


def create(bench: Bench) -> None:
    one = made(bench)
    one.create(JOB, bmc.netboot_once(one.hardware), Deadline.after(bench.clock, 60.0))


def test_a_job_is_created_by_one_write(bench: Bench) -> None:
    create(bench)
    (job,) = bench.store.list(JOBS)
    assert job["metadata"]["name"] == JOB
    assert [command.effect for command in bench.shell.said] == [Effect.WRITE]


def test_without_its_machine_no_job_is_made_for_rufio_would_try_for_ever(bench: Bench) -> None:
    bench.store.delete("machines", "bmc-anvil")
    with pytest.raises(PreflightError, match="there is no Machine bmc-anvil") as caught:
        create(bench)
    assert "get machines.v1alpha1.bmc.tinkerbell.org" in caught.value.next
    assert bench.store.list(JOBS) == []


@pytest.mark.parametrize("arrived", [True, False])
def test_a_job_whose_reply_is_lost_is_looked_for_and_never_sent_again(bench: Bench, arrived: bool) -> None:
    def cut(command: Command) -> None:
        if command.effect is Effect.WRITE:
            raise LinkLost("cut", where="jump", sent=True)

    if arrived:
        bench.shell.after = cut
        create(bench)
    else:
        bench.shell.before = cut
        with pytest.raises(LinkLost):
            create(bench)
    assert len(bench.store.list(JOBS)) == arrived
    assert len(bench.shell.writes) == 1


def test_a_job_that_is_still_on_its_way_when_the_link_is_cut_is_waited_for(bench: Bench, tmp_path: Path) -> None:
    gate, under_way = tmp_path / "gate", list[threading.Thread]()

    def hold(command: Command) -> None:
        slow = f'kubectl() {{ until [ -e {gate} ]; do sleep 0.02; done; command kubectl "$@"; }}\n'
        bench.shell.before = lambda later: gate.touch()
        there = replace(command, effect=Effect.READ, stdin=slow + command.stdin)
        deadline = Deadline.after(bench.clock, 60.0)
        under_way.append(threading.Thread(target=lambda: quiet.run(bench.site().jump, there, deadline)))
        under_way[0].start()
        until((Path("/tmp") / command.argv[-1]).exists)
        raise LinkLost("cut", where="jump", sent=True)

    quiet = Shell(tmp_path / "bin", bench.clock)
    bench.shell.before = hold
    create(bench)
    under_way[0].join()
    assert len(bench.store.list(JOBS)) == 1


def test_what_failed_is_what_the_task_says_else_the_job(bench: Bench) -> None:
    job = BmcJob("Job", JOB, "bmc-anvil", "", "Failed", f"task tink-system/{JOB}-task-0 failed")
    error = made(bench).failure(job)
    assert error.what == f"the BMC's Job failed: task tink-system/{JOB}-task-0 failed"
    assert f"get jobs.v1alpha1.bmc.tinkerbell.org/{JOB} -o yaml" in error.next
    failed = {"type": "Failed", "status": "True", "message": "bmc task timeout: 10m0s"}
    task = {"metadata": {"name": f"{JOB}-task-0"}, "spec": {"task": {}}, "status": {"conditions": [failed]}}
    bench.store.create("tasks", task)
    error = made(bench).failure(job)
    assert error.what == "the BMC did not do it in the time that Rufio gives it: bmc task timeout: 10m0s"
    assert f"{JOB}-task-0 -o yaml" in error.next


def test_what_a_bmc_says_is_one_line_without_secrets(bench: Bench) -> None:
    said = "Failed to connect to BMC:\n  login failed, password: hunter2\n\x1b[31m"
    error = made(bench).failure(BmcJob("Job", JOB, "bmc-anvil", "", "Failed", said))
    assert error.what.startswith("Rufio does not reach the BMC: Failed to connect to BMC: login failed")
    assert "hunter2" not in f"{error.what}{error.evidence}" and "\n" not in error.what


def test_the_power_is_what_rufio_wrote_down(bench: Bench) -> None:
    seen = made(bench).look(Deadline.after(bench.clock, 30.0))
    assert (seen.name, seen.power, seen.contactable) == ("bmc-anvil", "on", True)
    assert bench.shell.writes == []

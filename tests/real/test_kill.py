"""SIGKILL of the client in each phase, on OpenSSH and a real kube-apiserver: the guard closes, the server installs."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from metalfoundry.lab.lab import Lab
from metalfoundry.lab.scenarios import scenario
from tests.lab.bench import start
from tests.real.kube import Kube
from tests.real.place import Seen, is_open, lease_over, real_lab, until, watched

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]
PHASES = ("preflight", "claim", "clean-up", "apply", "open", "boot", "close", "install", "verify", "release")
BEGUN = PHASES[PHASES.index("boot") :]
SPEED = 2.0


@dataclass
class Killed:
    """All ten, and what was seen of them."""

    lab: Lab
    seen: Seen
    opened: dict[str, bool]
    left: list[str]
    later: dict[str, bool]


def kill(lab: Lab, phase: str) -> None:
    """Provision the server of that name, and kill the client when the phase begins; in Boot, when it has rebooted."""
    process = start(lab, "provision", phase, "--yes", "--json", stdout=subprocess.DEVNULL)
    assert process.stderr is not None
    with process.stderr as lines:
        said = []
        for line in lines:
            said.append(line)
            if f"  {phase.replace('-', ' ').capitalize()} …" in line:
                break
        else:
            raise AssertionError(f"{phase} never began: {said}")
        if phase == "boot":
            assert lab.machine(phase).wait(lambda: lab.machine(phase).state != "old")
        process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL


def of(phase: str, command: str) -> bool:
    """Whether a process on the jump host is there for the server of that name."""
    return f"-{phase}-" in command or f"={phase}" in command


@pytest.fixture(scope="module")
def killed(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    story = scenario("shadowed", shadow=0.0, action_factor=4.0)
    with real_lab(kube, tmp_path_factory.mktemp("kill"), story, SPEED, PHASES) as lab, watched(lab.store) as seen:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda phase: kill(lab, phase), PHASES))
        for phase in BEGUN:
            assert lab.machine(phase).wait(lambda phase=phase: lab.machine(phase).state == "new", 120), phase  # type: ignore[misc]
        opened = {phase: is_open(lab.store, phase) for phase in PHASES}
        until(lambda: not any(of(phase, process.command) for phase in BEGUN for process in lab.processes.alive()))
        left = [process.command for process in lab.processes.alive()]
        for phase in PHASES:
            lease_over(lab.store, phase)
        until(lambda: not any(is_open(lab.store, phase) for phase in PHASES), what="closed when the lease is over")
        yield Killed(lab, seen, opened, left, {phase: is_open(lab.store, phase) for phase in PHASES})


@pytest.mark.parametrize("phase", BEGUN)
def test_the_installation_goes_on_once(killed: Killed, phase: str) -> None:
    machine = killed.lab.machine(phase)
    assert [boot.what for boot in machine.boots] == ["old", "hook", "new"]
    assert machine.wiped == 1


@pytest.mark.parametrize("phase", BEGUN)
def test_closed_after_the_first_running_and_before_the_boot_action(killed: Killed, phase: str) -> None:
    seen = killed.seen
    assert seen.running[phase] < seen.boot_action[phase]
    assert seen.closed[phase] < seen.boot_action[phase]
    assert not killed.opened[phase]


@pytest.mark.parametrize("phase", BEGUN)
def test_after_the_installation_no_process_of_ours_is_left(killed: Killed, phase: str) -> None:
    assert [command for command in killed.left if of(phase, command)] == []


@pytest.mark.parametrize("phase", [phase for phase in PHASES if phase not in BEGUN])
def test_a_server_that_was_not_rebooted_is_not_wiped_and_closed_when_the_lease_is_over(
    killed: Killed, phase: str
) -> None:
    assert [boot.what for boot in killed.lab.machine(phase).boots] == ["old"]
    assert killed.later[phase] is False


def test_one_guard_is_left_of_all_of_them(killed: Killed) -> None:
    guards = [command for command in killed.left if "/metalfoundry/guard/" in command]
    assert len(guards) == 1
    watches = [command for command in killed.left if " -w " in command and command.startswith("kubectl")]
    assert [command for command in watches if "go-template=" not in command] == []  # the clients' own say -o json
    assert len(watches) <= 1

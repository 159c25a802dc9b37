"""Every story of a machine that hangs: the right finding comes first, with its proof, and its remedy helps."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from metalfoundry import Foundry, HostKeyError
from metalfoundry.diagnosis.facts import Seen
from metalfoundry.lab.lab import Lab
from metalfoundry.lab.scenarios import BEGUN, scenario
from metalfoundry.model.events import CommandStarted
from metalfoundry.runs.troubleshoot import Diagnosis
from tests.lab.bench import NAME, Ran, call, is_open, need_ssh, tune, workflow

PATIENCE = 90.0
AGENT_LOG = "nerdctl -n services.linuxkit exec hook-docker docker logs tink-worker --tail=50"


@dataclass(frozen=True)
class Story:
    """What comes of one scenario: the first finding, words of its proof, the exit code where no trap is armed."""

    finding: str
    proof: str
    code: int


STORIES = {
    "template-missing": Story("template-missing", "template not found", 31),
    "map-key-missing": Story("map-key-missing", 'map has no entry for key "device_1"', 31),
    "pxe-closed": Story("pxe-closed", "does not allow it to pxe", 30),
    "mac-mismatch": Story("mac-mismatch", "00:00:5e:00:53:a2", 30),
    "never-netbooted": Story("never-netbooted", "Debian GNU/Linux 11", 30),
    "no-image-on-cmdline": Story("no-agent-image", "'tink_worker_image' NOT specified", 30),
    "image-pull-failure": Story("agent-image-pull", "pull access denied", 30),
    "grpc-unreachable": Story("grpc-unreachable", "connect: connection refused", 30),
    "tls-mismatch": Story("tls-mismatch", "first record does not look like a TLS handshake", 30),
    "waits-for-nobody": Story("wrong-agent-id", "status.agentID: 00:00:5e:00:53:ad", 30),
    "stays-shadowed": Story("shadowed", "Workflow not in pending or running state", 30),
    "two-live-workflows": Story("two-live-workflows", "state RUNNING", 30),
    "rebooted-mid-action": Story("rebooted-mid-action", "current Action not in success state", 31),
    "action-timeout": Story("action-timeout", "context deadline exceeded", 32),
    "exit-code": Story("exit-code", "chown: invalid user", 31),
    "bad-compression": Story("image-write", "unknown compression suffix [.rawgz]", 31),
    "no-space": Story("no-space", "No such image", 31),
    "boot-action-running": Story("boot-action-running", "Ubuntu 24.04", 0),
    "kexec-hang": Story("kexec-hang", "at kexec-into-os", 33),
    "success-old-system": Story("old-system", "Debian GNU/Linux 11", 33),
    "still-streaming": Story("in-progress", "received action stream-ubuntu-image", 0),
    "stray-window": Story("stray-window", "allowPXE: true", 40),
}


@dataclass
class Place:
    """One lab with a machine for each story, and what was found of each."""

    lab: Lab
    foundry: Foundry
    found: dict[str, Diagnosis]

    def diagnose(self, name: str, wanted: Callable[[Diagnosis], bool]) -> Diagnosis:
        """Look until it is as wanted; a machine takes its time to get stuck."""
        ends = time.monotonic() + PATIENCE
        while True:
            seen = self.foundry.troubleshoot(name)
            if wanted(seen) or time.monotonic() > ends:
                return seen
            time.sleep(0.2)

    def of(self, name: str) -> Diagnosis:
        if name not in self.found:
            self.found[name] = self.diagnose(name, lambda seen: proven(seen, STORIES[name]))
        return self.found[name]


def proven(seen: Diagnosis, story: Story) -> bool:
    return seen.findings[0].id == story.finding and story.proof in proof(seen)


def proof(seen: Diagnosis) -> str:
    return "\n".join(item.line for item in seen.findings[0].evidence)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    names = tuple(BEGUN)
    folder = tmp_path_factory.mktemp("stuck")
    # They are asked one after the other: no Workflow's limit may come before its turn.
    each = {name: scenario(name, global_timeout=1_000_000) for name in names}
    lab = Lab(folder, speed=20, servers=names, each=each)
    with lab, Foundry.load(lab.inventory) as foundry:
        yield Place(lab, foundry, {})


def test_every_story_is_told_here() -> None:
    assert set(STORIES) == set(BEGUN)


@pytest.mark.parametrize("name", STORIES)
def test_the_right_finding_comes_first_with_its_proof(place: Place, name: str) -> None:
    story, seen = STORIES[name], place.of(name)
    assert seen.findings[0].id == story.finding, [finding.what for finding in seen.findings]
    assert story.proof in proof(seen)
    assert all(item.source for item in seen.findings[0].evidence)
    assert seen.exit_code == (40 if is_open(place.lab, name) else story.code)
    assert seen.summary.tinkerbell
    assert seen.summary.machine


@pytest.mark.parametrize("name", STORIES)
def test_the_remedy_is_a_command_that_runs(place: Place, name: str) -> None:
    remedy = place.of(name).findings[0].remedy
    assert remedy
    for line in remedy.splitlines():
        if line.startswith("fab provision"):
            line += " --plan"  # what it does for real is tried below, where it helps by itself
        if "kubectl delete" in line or line.startswith("fab netboot"):
            continue  # below
        done = run(place.lab, line)
        if line.startswith("fab provision"):
            assert done.returncode in (0, 10, 11, 20), done  # 10 and 20: what the advice says is to be mended first
        elif "kubectl" in line:
            assert done.returncode == 0, (line, done)


def run(lab: Lab, line: str) -> subprocess.CompletedProcess[str]:
    """As a person would, here: kubectl goes to the jump host by ssh."""
    if line.startswith("fab "):
        words = line.split()[1:]
        return call(lab, *words)
    if line.startswith("ssh "):
        need_ssh()
    path = f"{lab.folder}/bin{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HOME": str(lab.folder / "home")}
    return subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, timeout=60, env=environment, stdin=subprocess.DEVNULL
    )


def test_an_ssh_remedy_leads_to_the_machine(place: Place) -> None:
    remedy = place.of("no-space").findings[0].remedy
    done = run(place.lab, remedy)
    assert "tmpfs" in done.stdout, done


def test_a_finished_workflow_removed_lets_the_next_one_begin(place: Place) -> None:
    name = "stays-shadowed"
    (line,) = place.of(name).findings[0].remedy.splitlines()
    assert run(place.lab, line).returncode == 0
    seen = place.diagnose(name, lambda seen: seen.findings[0].id != "shadowed")
    assert seen.exit_code in (0, 40), seen.findings
    assert seen.facts.workflow.value.has_run  # type: ignore[union-attr]


def test_of_two_live_workflows_the_one_that_runs_is_left(place: Place) -> None:
    name = "two-live-workflows"
    (line,) = place.of(name).findings[0].remedy.splitlines()
    assert run(place.lab, line).returncode == 0
    assert workflow(place.lab, f"{name}-ubuntu") is None
    seen = place.foundry.troubleshoot(name)
    assert seen.findings[0].id == "in-progress"
    assert f"{name}-debian" in seen.summary.tinkerbell


def test_a_stray_window_is_closed(place: Place) -> None:
    name = "stray-window"
    remedy = place.of(name).findings[0].remedy
    assert is_open(place.lab, name)
    assert run(place.lab, remedy).returncode == 0
    assert not is_open(place.lab, name)
    assert place.foundry.troubleshoot(name).exit_code == 0


@pytest.mark.parametrize("name", ["pxe-closed", "rebooted-mid-action"])
def test_the_remedy_installs_it(place: Place, name: str) -> None:
    for line in place.of(name).findings[0].remedy.splitlines():
        done = run(place.lab, f"{line} --yes" if line.startswith("fab") else line)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
    assert place.lab.machine(name).state == "new"
    assert not is_open(place.lab, name)


def test_what_is_over_is_left_out_of_all_and_what_hangs_is_in_it(place: Place) -> None:
    named = {seen.server for seen in place.foundry.troubleshoot_all()}
    assert {"template-missing", "grpc-unreachable", "exit-code"} <= named
    assert "stray-window" not in named or is_open(place.lab, "stray-window")


def test_a_workflow_may_be_named_instead(place: Place) -> None:
    seen = place.foundry.troubleshoot("template-missing-ubuntu")
    assert (seen.server, seen.findings[0].id) == ("template-missing", "template-missing")


def test_it_costs_one_command_and_one_handshake_a_host(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", "grpc-unreachable", speed=20, servers=(NAME,)) as lab:
        machine = lab.machine(NAME)
        assert machine.wait(lambda: machine.state == "hook")
        ran = Ran()
        before = (lab.jump.accepted, machine.accepted)
        with Foundry.load(lab.inventory, sinks=[ran]) as foundry:
            assert isinstance(foundry.troubleshoot(NAME).facts.machine, Seen)
        after = (lab.jump.accepted, machine.accepted)
        assert len(ran.each(CommandStarted)) == 2
        assert {event.effect for event in ran.each(CommandStarted)} == {"read"}  # type: ignore[attr-defined]
        assert (after[0] - before[0], after[1] - before[1]) == (1, 1)


def test_the_missions_own_command_goes_over_ssh(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", "grpc-unreachable", speed=20, servers=(NAME,)) as lab:
        machine = lab.machine(NAME)
        assert machine.wait(lambda: machine.state == "hook")
        done = call(lab, "logs", NAME, "--source", "hook")
        assert done.returncode == 0, done.stderr
        assert "error reading/retrieving action" in done.stdout
        assert machine.log == [AGENT_LOG]


def test_a_changed_host_key_is_doubted_and_the_machine_is_looked_at_all_the_same(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", "wrong-host-key", speed=20, servers=(NAME,)) as lab:
        with Foundry.load(lab.inventory) as foundry:
            seen = foundry.troubleshoot(NAME)
            assert seen.facts.machine_facts is not None
            assert [finding.id for finding in seen.findings] == ["host-key-changed"]
            assert seen.summary.machine.endswith(
                " It shows another host key than the known one, so this may be another machine."
            )
            assert "They agree" not in seen.summary.verdict
            refused = foundry.provision(NAME).error
        assert isinstance(refused, HostKeyError)
        assert refused.next == f"if the host was re-installed: {seen.findings[0].remedy}"
        assert seen.exit_code == 33


def test_a_dead_machine_costs_its_deadline_and_no_more(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", speed=20, servers=(NAME,)) as lab, socket.create_server(("127.0.0.1", 0)) as mute:
        tune(lab, server={"port": mute.getsockname()[1]})
        with Foundry.load(lab.inventory) as foundry:
            begun = time.monotonic()
            seen = foundry.troubleshoot(NAME)
            took = time.monotonic() - begun
        assert seen.facts.ssh == Seen("silent", "ssh")
        assert 2.5 < took < 15.0  # the limit of one look, and not that of the whole

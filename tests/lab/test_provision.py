"""Every scenario from end to end: the exit code, the report, and what is left in the cluster."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import yaml

from metalfoundry import Foundry
from metalfoundry.lab.kubernetes.store import Object
from metalfoundry.lab.lab import Lab
from metalfoundry.lab.scenarios import BEGUN
from metalfoundry.lab.scenarios import SCENARIOS as ALL
from metalfoundry.model.errors import (
    HostKeyError,
    IdentityError,
    NeverInstalled,
    VerificationFailed,
    WorkflowFailed,
    WorkflowTimedOut,
)
from metalfoundry.model.events import (
    ActionEnded,
    ActionStarted,
    CommandEnded,
    CommandStarted,
    Notice,
    Retried,
    WindowChanged,
)
from tests.lab.bench import SPEED, Ran, clean, hardware, is_open, old_systems, workflow

PHASES = ["Preflight", "Claim", "Clean up", "Apply", "Open", "Boot", "Close", "Install", "Verify", "Release"]
GOOD = (
    "installs", "reboot-last", "kexec-last", "already-in-hook", "already-in-hook-ssh", "hook-ssh", "shadowed", "slow",
    "no-netboot-block", "no-toggle",
)  # fmt: skip
BAD: dict[str, tuple[type[Exception], int, str, str]] = {
    "action-fails": (WorkflowFailed, 31, "Install", "failed at action write-netplan"),
    "action-times-out": (WorkflowTimedOut, 32, "Install", "ran out of time at action write-netplan"),
    "image-missing": (WorkflowFailed, 31, "Install", "failed at action stream-ubuntu-image"),
    "never-netboots": (NeverInstalled, 30, "Boot", "rebooted into Debian GNU/Linux 11 (bullseye) instead of"),
    "dead": (NeverInstalled, 30, "Boot", "nothing was heard of it"),
    "wrong-agent-id": (IdentityError, 11, "Preflight", "it gives task 'os-installation' to 00:00:5e:00:53:ad"),
    "agent-silent": (NeverInstalled, 30, "Boot", "did not reach the installer within 3 s"),
    "old-system-returns": (VerificationFailed, 33, "Verify", "came back with the old system"),
    "cloud-init-fails": (VerificationFailed, 33, "Verify", "cloud-init: status: error"),
    "mute-ssh": (VerificationFailed, 33, "Verify", "was not seen within 3 s"),
    "no-marker": (VerificationFailed, 33, "Verify", "there is no /var/lib/tinkerbell-provisioned"),
    "wrong-host-key": (HostKeyError, 10, "Preflight", "the host key has changed"),
}
SCENARIOS = [name for name in ALL if name not in BEGUN]  # the others have begun already: test_troubleshoot.py
SHORT = {name: {"netboot": "3s"} for name in ("dead", "wrong-agent-id", "agent-silent")}
SHORT |= {"mute-ssh": {"boot": "3s"}} | {name: {"verify": "2s"} for name in ("cloud-init-fails", "no-marker")}
"""Who ends by a timeout is given a short one; everybody else has all the time that a busy computer may need."""
KEPT = {name for name, (_, code, _, _) in BAD.items() if code in (31, 32, 33)}


@dataclass
class Rack:
    """One lab with a server for each scenario, and what came of each."""

    lab: Lab
    before: dict[str, Object]
    ran: dict[str, Ran]


def provision(lab: Lab, name: str) -> Ran:
    """With an inventory of its own; what is to end well may take as long as it takes."""
    known = yaml.safe_load(lab.inventory.read_text())
    known["timeouts"].update(dict.fromkeys(known["timeouts"], "90s") if name in GOOD else SHORT.get(name, {}))
    mine = lab.folder / f"inventory-{name}.yaml"
    mine.write_text(yaml.safe_dump(known))
    ran = Ran()
    with Foundry.load(mine, sinks=[ran]) as foundry:
        ran.report = foundry.provision(name)
    return ran


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    names = (*GOOD, *BAD)
    with Lab(tmp_path_factory.mktemp("rack"), speed=SPEED, servers=names, each={name: name for name in names}) as lab:
        before = {name: hardware(lab, name) for name in names}
        with ThreadPoolExecutor(4) as pool:
            ran = dict(zip(names, pool.map(lambda name: provision(lab, name), names), strict=True))
        yield Rack(lab, before, ran)


def test_every_scenario_here_is_one_of_the_labs() -> None:
    assert set(GOOD) | set(BAD) <= set(SCENARIOS)


@pytest.mark.parametrize("name", GOOD)
def test_a_server_is_provisioned(rack: Rack, name: str) -> None:
    ran, machine = rack.ran[name], rack.lab.machine(name)
    report = ran.json
    assert (report["verdict"], report["exit_code"], report["error"]) == ("provisioned", 0, None), ran.events
    assert [phase["title"] for phase in report["phases"]] == PHASES
    assert report["netboot"]["closed"] is True
    proof = report["netboot"]["proof"]
    assert proof["hardware"].startswith("allowPXE false at resourceVersion ")
    assert set(proof["smee"].values()) == {404}
    assert len(proof["smee"]) == 2
    assert machine.state == "new"
    assert [boot.what for boot in machine.boots][-2:] == ["hook", "new"]
    assert machine.wiped == 1
    assert workflow(rack.lab, f"{name}-ubuntu") is None
    assert clean(rack.lab, rack.before[name], name)
    assert old_systems(rack.lab, name) == []


@pytest.mark.parametrize("name", [name for name, (_, _, phase, _) in BAD.items() if phase != "Preflight"])
def test_what_told_the_old_system_apart_stays_over_a_failed_run(rack: Rack, name: str) -> None:
    before = rack.ran[name].json["machine"]["before"]
    (left,) = old_systems(rack.lab, name)
    assert (left["machine_id"], left["host_key"], left["serial"]) == (
        before["machine_id"], before["host_key"], before["serial"],
    )  # fmt: skip
    assert left["root"]


@pytest.mark.parametrize("name", [name for name, (_, code, _, _) in BAD.items() if code in (31, 32)])
def test_what_is_on_the_disk_is_said(rack: Rack, name: str) -> None:
    report = rack.ran[name].json
    assert "the disk " in report["disk"]
    assert report["disk"] in report["error"]["what"]
    assert report["actions"][-1]["name"] in report["disk"]


@pytest.mark.parametrize("name", GOOD)
def test_every_action_is_in_the_report(rack: Rack, name: str) -> None:
    actions = rack.ran[name].json["actions"]
    last = {"reboot-last": "LEFT", "kexec-last": "LEFT"}.get(name, "SUCCESS")
    assert [action["index"] for action in actions] == [1, 2, 3]
    assert [action["state"] for action in actions] == ["SUCCESS", "SUCCESS", last]
    assert all(action["total"] == 3 and action["seconds"] >= 0 for action in actions)


def test_the_window_closes_before_the_boot_action(rack: Rack) -> None:
    """Where the actions take about as long as our close does on a busy computer; in life they take minutes."""
    events = rack.ran["slow"].each(WindowChanged, ActionStarted)
    closed = next(index for index, event in enumerate(events) if getattr(event, "state", "") == "closed")
    last = next(index for index, event in enumerate(events) if getattr(event, "index", 0) == 3)
    assert closed < last, events


@pytest.mark.parametrize("name", [name for name in GOOD if not name.startswith("already")])
def test_the_window_is_opened_once_and_a_healthy_run_is_frugal(rack: Rack, name: str) -> None:
    ran = rack.ran[name]
    assert [event.state for event in ran.each(WindowChanged)] == ["open", "closed"]  # type: ignore[attr-defined]
    assert ran.json["remote_commands"] <= 12


@pytest.mark.parametrize("name", ["already-in-hook", "already-in-hook-ssh"])
def test_for_a_machine_in_the_installer_only_tinkerbell_opens_and_nobody_reboots(rack: Rack, name: str) -> None:
    ran, machine = rack.ran[name], rack.lab.machine(name)
    assert ran.phases["Open"] == "skipped"  # Boot may still have to wait for the agent's first word
    assert "reboot" not in [event.text for event in ran.each(CommandStarted)]  # type: ignore[attr-defined]
    assert [event.state for event in ran.each(WindowChanged)] == ["open", "closed"]  # type: ignore[attr-defined]
    assert [boot.what for boot in machine.boots] == ["hook", "new"]
    assert ran.json["remote_commands"] <= 12


def test_a_finished_workflow_of_the_same_agent_is_removed_first(rack: Rack) -> None:
    assert rack.ran["shadowed"].phases["Clean up"] == "done"
    assert workflow(rack.lab, "shadowed-last-year") is None


@pytest.mark.parametrize("name", BAD)
def test_a_server_is_not_provisioned_and_the_report_says_why(rack: Rack, name: str) -> None:
    kind, code, phase, words = BAD[name]
    ran = rack.ran[name]
    report = ran.json
    assert ran.report is not None
    assert isinstance(ran.report.error, kind), report["error"]
    refused = phase == "Preflight" and code in (10, 11, 12, 20)
    assert (report["verdict"], report["exit_code"]) == ("refused" if refused else "failed", code)
    assert words in report["error"]["what"]
    assert report["error"]["next"]
    assert report["phases"][-1]["title"] == phase
    assert report["phases"][-1]["outcome"] == "failed"
    assert report["netboot"]["closed"] is True
    assert clean(rack.lab, rack.before[name], name)


@pytest.mark.parametrize("name", BAD)
def test_the_workflow_is_kept_once_it_has_run(rack: Rack, name: str) -> None:
    assert (workflow(rack.lab, f"{name}-ubuntu") is not None) is (name in KEPT)


def test_a_failed_workflow_is_the_failed_one(rack: Rack) -> None:
    left = workflow(rack.lab, "action-fails-ubuntu")
    assert left is not None
    assert left["status"]["state"] == "FAILED"
    assert [action["state"] for action in rack.ran["action-fails"].json["actions"]] == ["SUCCESS", "FAILED"]


def test_a_wrong_host_key_ends_before_anything_was_written(rack: Rack) -> None:
    ran = rack.ran["wrong-host-key"]
    assert hardware(rack.lab, "wrong-host-key") == rack.before["wrong-host-key"]
    said = [event for event in ran.events if isinstance(event, CommandStarted)]
    assert {event.effect for event in said} == {"read"}
    netboot = ran.json["netboot"]
    assert (netboot["closed"], netboot["closed_at"]) == (True, None)
    assert netboot["proof"]["hardware"].startswith("allowPXE false at resourceVersion ")
    error = ran.json["error"]
    assert f"{rack.lab.folder}/known_hosts:" in error["where"]
    assert "ssh" in error["next"]


def test_a_machine_that_boots_its_disk_is_not_wiped_and_said_at_once(rack: Rack) -> None:
    machine = rack.lab.machine("never-netboots")
    assert machine.wiped == 0
    assert [boot.what for boot in machine.boots] == ["old", "old"]
    assert "network first" in rack.ran["never-netboots"].json["error"]["next"]


@pytest.mark.parametrize("name", [*GOOD, *BAD])
def test_every_start_has_its_end(rack: Rack, name: str) -> None:
    ran = rack.ran[name]
    assert len(ran.each(CommandStarted)) == len(ran.each(CommandEnded))
    assert len(ran.each(ActionStarted)) == len(ran.each(ActionEnded))
    own = [record for record in ran.records if record.run]
    after = [type(record.event).__name__ for record in own]
    assert after[0] == "RunStarted"
    assert set(after[after.index("RunEnded") + 1 :]) <= {"CommandEnded"}  # a look at the machine that was under way
    assert {record.server for record in ran.records} == {name}
    assert len({record.run for record in own}) == 1
    left = [record for record in ran.records if not record.run]
    assert all(isinstance(record.event, Retried) for record in left)  # the look's link, when no run was left


def test_nobody_elses_netboot_is_open_at_the_end(rack: Rack) -> None:
    assert [name for name in rack.lab.machines if is_open(rack.lab, name)] == []


def test_the_new_host_keys_are_in_known_hosts(rack: Rack) -> None:
    lines = (rack.lab.folder / "known_hosts").read_text().splitlines()
    for name in GOOD:
        machine = rack.lab.machine(name)
        own = [line.split(" ", 1)[1] for line in lines if line.startswith(f"[127.0.0.1]:{machine.port} ")]
        assert own == [machine.host_key()]
        notices = [event.text for event in rack.ran[name].events if isinstance(event, Notice)]
        assert any("recorded in place of the old one" in text for text in notices)

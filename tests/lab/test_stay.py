"""What the inventory may ask for beyond one sight of the new system: one more reboot, and some time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metalfoundry import Foundry
from metalfoundry.lab.lab import Lab
from metalfoundry.lab.machine.machine import LabMachine
from metalfoundry.model.bus import Sink
from metalfoundry.model.events import CommandStarted, PhaseStarted, Record
from tests.lab.bench import NAME, SPEED, Ran, clean, hardware, provision, tune

VERIFY = {"user": "ubuntu", "os": "Ubuntu 24.04"}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path / "lab", speed=SPEED) as lab:
        yield lab


def when_it_stays(deed: Callable[[], object]) -> Sink:
    def heard(record: Record) -> None:
        if record.event == PhaseStarted("Stay"):
            deed()

    return heard


def nothing(machine: LabMachine) -> None:
    """What happens to most machines."""


def asked(lab: Lab, at: Callable[[LabMachine], object] = nothing, boot: str = "60s", **verify: object) -> Ran:
    tune(lab, server={"verify": VERIFY | verify}, timeouts={"boot": boot, "facts": "5s"})
    machine = lab.machine(NAME)
    return provision(lab, at=when_it_stays(lambda: at(machine)))


def boots(lab: Lab) -> list[str]:
    return [boot.what for boot in lab.machine(NAME).boots]


@pytest.mark.parametrize("user", ["ubuntu", "root"])
def test_it_comes_back_from_its_disk_and_stays(lab: Lab, user: str) -> None:
    before = hardware(lab)
    ran = asked(lab, user=user, reboot=True, stable="1s")
    assert ran.json["exit_code"] == 0, ran.json["error"]
    assert boots(lab) == ["old", "hook", "new", "new"]
    assert list(ran.phases)[-2:] == ["Stay", "Release"]
    said = next(phase["said"] for phase in ran.json["phases"] if phase["title"] == "Stay")
    assert said == "it came back from its disk; it stayed up for 1 s"
    assert clean(lab, before)


def test_it_is_rebooted_only_after_netboot_was_seen_closed_once_more(lab: Lab) -> None:
    ran = asked(lab, reboot=True)
    assert ran.json["exit_code"] == 0, ran.json["error"]
    said = [each.event for each in ran.records if each.phase == "Stay" and isinstance(each.event, CommandStarted)]
    assert "get hardware" in said[0].text
    assert said[1].text == "sudo -n reboot"


def failed(ran: Ran, *words: str) -> None:
    error = ran.json["error"]
    assert ran.json["exit_code"] == 33, error
    assert all(word in error["what"] for word in words), error
    assert ran.json["netboot"]["closed"] is True


def test_no_system_comes_back(lab: Lab) -> None:
    ran = asked(lab, LabMachine.wipe, boot="3s", reboot=True)
    failed(ran, "did not come back within 3 s after one more reboot")
    assert boots(lab) == ["old", "hook", "new"]


def test_another_system_comes_back(lab: Lab) -> None:
    ran = asked(lab, LabMachine.install, boot="3s", reboot=True)
    failed(ran, "did not come back within 3 s", "what answers is another system: machine id")


def test_a_system_that_refuses_to_reboot(lab: Lab) -> None:
    ran = asked(lab, LabMachine.refuse_reboot, reboot=True)
    failed(ran, "the new system of colo-server-01 refused to reboot")
    assert "let ubuntu run `sudo -n reboot` there without a password" in ran.json["error"]["next"]


def test_a_system_that_reboots_by_itself_does_not_stay(lab: Lab) -> None:
    ran = asked(lab, LabMachine.reboot, stable="3s")
    failed(ran, "did not stay up for 3 s: it has rebooted by itself")


def test_a_system_that_is_gone_at_the_end_does_not_stay(lab: Lab) -> None:
    def gone(machine: LabMachine) -> None:
        machine.wipe()
        machine.reboot()

    failed(asked(lab, gone, stable="1s"), "did not stay up for 1 s")


def test_the_plan_shows_the_reboot(lab: Lab) -> None:
    tune(lab, server={"verify": VERIFY | {"reboot": True}})
    with Foundry.load(lab.inventory) as foundry:
        steps = foundry.plan(NAME).steps
    assert [step.command for step in steps if step.phase == "Stay"] == ["sudo -n reboot"]

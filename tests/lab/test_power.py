"""`fab power` and `fab reboot`: what they do to a machine of the lab, and to which they do nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from metalfoundry import ClaimedError, Declined, Foundry, PreflightError
from metalfoundry.commands.claims import RUN, WINDOW
from metalfoundry.commands.command import Effect
from metalfoundry.lab.kubernetes.store import Object
from metalfoundry.lab.lab import Lab
from metalfoundry.lab.scenarios import BmcFault, Firmware, scenario
from metalfoundry.model.errors import AuthError, IdentityError, MetalfoundryError, VerificationFailed
from metalfoundry.model.events import CommandStarted, Record
from metalfoundry.model.resources import PROTECTED
from tests.lab.bench import NAME, SPEED, Ran, call, tune
from tests.lab.test_json import check

JOBS, MACHINE = "jobs.bmc.tinkerbell.org", f"bmc-{NAME}"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path / "lab", scenario("installs", bmc=BmcFault.NONE), SPEED, (NAME,)) as lab:
        tune(lab, timeouts={"boot": "20s"})
        yield lab


@pytest.fixture
def foundry(lab: Lab) -> Iterator[Foundry]:
    with Foundry.load(lab.inventory) as foundry:
        yield foundry


def said(lab: Lab, *words: str) -> str:
    done = call(lab, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def asked(lab: Lab) -> list[list[Object]]:
    return [job["spec"]["tasks"] for job in lab.store.list(JOBS)]


def test_power_is_one_job_and_status_none(lab: Lab) -> None:
    machine = lab.machine(NAME)
    assert said(lab, "power", NAME, "status") == f"{NAME}: on (BMC {MACHINE}; Rufio reaches it)"
    assert asked(lab) == []
    assert said(lab, "power", NAME, "off", "--yes").startswith(f"{NAME}: switched off (Job metalfoundry-{NAME}-")
    assert machine.wait(lambda: machine.state == "off")
    assert said(lab, "power", NAME, "status").startswith(f"{NAME}: off ")
    assert said(lab, "power", NAME, "on", "--yes").startswith(f"{NAME}: switched on ")
    assert machine.wait(lambda: [boot.what for boot in machine.boots] == ["old", "old"])
    assert said(lab, "power", NAME, "cycle", "--yes").startswith(f"{NAME}: power-cycled ")
    assert machine.wait(lambda: len(machine.boots) == 3)
    assert sorted(map(str, asked(lab))) == [f"[{{'powerAction': '{word}'}}]" for word in ("cycle", "off", "on")]


def test_nobody_is_there_to_confirm(lab: Lab) -> None:
    for words in (("power", NAME, "off"), ("power", NAME, "cycle"), ("reboot", NAME)):
        done = call(lab, *words)
        assert (done.returncode, "this needs a confirmation" in done.stderr) == (12, True)
        assert f"metalfoundry {' '.join(words)} --yes" in done.stderr
    assert asked(lab) == [] and len(lab.machine(NAME).boots) == 1


def test_words_that_power_does_not_know(lab: Lab) -> None:
    for words in (("power", NAME, "up"), ("power", NAME), ("power", NAME, "off", "--yes", "--json")):
        assert call(lab, *words).returncode == 2
    assert asked(lab) == []


def test_the_power_as_json(lab: Lab) -> None:
    shown = json.loads(call(lab, "power", NAME, "status", "--json").stdout)
    assert shown == {"servers": [{"server": NAME, "bmc": MACHINE, "power": "on", "contactable": True, "message": ""}]}
    check("power", shown)


def test_a_reboot_goes_over_ssh_and_what_comes_back_is_told(lab: Lab) -> None:
    line = said(lab, "reboot", NAME, "--yes")
    boots = lab.machine(NAME).boots
    assert [boot.what for boot in boots] == ["old", "old"] and asked(lab) == []
    assert line.startswith(f"{NAME}: rebooted over SSH; Debian") and line.endswith(f"boot id {boots[1].boot_id}")


def test_a_system_that_refuses_is_switched_off_and_on_by_its_bmc(lab: Lab, foundry: Foundry) -> None:
    lab.machine(NAME).refuse_reboot()
    done = foundry.reboot(NAME)
    assert (done.by, done.boot_id) == ("bmc", lab.machine(NAME).boots[1].boot_id)
    assert asked(lab) == [[{"powerAction": "off"}, {"powerAction": "on"}]]


def test_a_system_that_lets_nobody_in_keeps_its_power(lab: Lab, foundry: Foundry) -> None:
    lab.machine(NAME).refuses_keys = True
    with pytest.raises(AuthError, match="refuses our keys"):
        foundry.reboot(NAME)
    assert asked(lab) == []


def test_a_system_that_does_not_come_back_keeps_its_power(lab: Lab) -> None:
    tune(lab, timeouts={"boot": "1s"})
    lab.machine(NAME).scenario = scenario("installs", firmware=Firmware.DEAD)
    with Foundry.load(lab.inventory) as foundry, pytest.raises(PreflightError, match="did not come back within 1 s"):
        foundry.reboot(NAME)
    assert asked(lab) == []


def test_by_a_bmc_alone_the_job_is_the_end_of_it(lab: Lab) -> None:
    tune(lab, server={"reboot": ["bmc"]})
    assert said(lab, "reboot", NAME, "--netboot-once", "--yes") == f"{NAME}: rebooted by its BMC"
    (once,) = [task for task in asked(lab)[0] if "oneTimeBootDeviceAction" in task]
    assert once["oneTimeBootDeviceAction"] == {"device": ["pxe"], "efiBoot": True}


def test_once_from_the_network_is_said_to_the_firmware_before_the_reboot(lab: Lab) -> None:
    machine, ran = lab.machine(NAME), Ran()
    machine.scenario = scenario("installs", firmware=Firmware.DISK)
    with Foundry.load(lab.inventory, sinks=[ran]) as foundry:
        assert foundry.reboot(NAME, netboot_once=True).by == "ssh"
    lines = [event.text for event in ran.events if isinstance(event, CommandStarted)]
    assert lines.index("efibootmgr -n 0003") < lines.index("reboot")
    assert [line for line in lab.journal.lines("auto.ipxe") if machine.metal.mac in line]


def test_where_nothing_can_reboot_it_the_last_way_says_why(lab: Lab, foundry: Foundry) -> None:
    tune(lab, server={"reboot": ["person"]})
    with Foundry.load(lab.inventory) as other, pytest.raises(PreflightError, match="but by a person"):
        other.reboot(NAME)
    obj = lab.store.get("hardware", NAME)
    del obj["spec"]["bmcRef"]
    lab.store.replace("hardware", obj)
    lab.machine(NAME).refuse_reboot()
    with pytest.raises(MetalfoundryError, match="refused to reboot"):
        foundry.reboot(NAME)
    for deed in (lambda: foundry.power(NAME, "on"), lambda: foundry.power_status(NAME)):
        with pytest.raises(PreflightError, match="names no BMC") as caught:
            deed()
        assert "get machines.v1alpha1.bmc.tinkerbell.org" in caught.value.next


def protected(obj: Object) -> None:
    obj["metadata"]["annotations"] = {PROTECTED: "holds the backups"}


def held(obj: Object) -> None:
    note = {"holder": "ann@desk", "expires": "2099-01-01T00:00:00Z", "phase": "boot"}
    obj["metadata"]["annotations"] = {RUN: "run-1", WINDOW: json.dumps(note)}


def opened(obj: Object) -> None:
    obj["spec"]["interfaces"][0]["netboot"] = {"allowPXE": True}


DEEDS: dict[str, Callable[[Foundry], object]] = {
    "on": lambda foundry: foundry.power(NAME, "on"),
    "off": lambda foundry: foundry.power(NAME, "off"),
    "cycle": lambda foundry: foundry.power(NAME, "cycle"),
    "reboot": lambda foundry: foundry.reboot(NAME),
    "netboot": lambda foundry: foundry.reboot(NAME, netboot_once=True),
}


@pytest.mark.parametrize(
    ("change", "error", "words", "but"),
    [(protected, Declined, "holds the backups", ()), (held, ClaimedError, "ann@desk", ()),
     (opened, PreflightError, f"netboot of {NAME} is open: this boot would wipe it", ("off",))],
)  # fmt: skip
def test_a_server_that_is_protected_held_or_open_is_left_alone(
    lab: Lab, change: Callable[[Object], None], error: type[MetalfoundryError], words: str, but: tuple[str, ...]
) -> None:
    obj, ran = lab.store.get("hardware", NAME), Ran()
    change(obj)
    lab.store.replace("hardware", obj)
    with Foundry.load(lab.inventory, sinks=[ran]) as foundry:
        for name, deed in DEEDS.items():
            if name not in but:
                with pytest.raises(error, match=words) as caught:
                    deed(foundry)
                assert caught.value.next
        assert {event.effect for event in ran.events if isinstance(event, CommandStarted)} == {Effect.READ.value}
        assert asked(lab) == [] and len(lab.machine(NAME).boots) == 1
        for name in but:
            DEEDS[name](foundry)
        assert len(asked(lab)) == len(but)
        assert foundry.power_status(NAME).power == ("off" if but else "on")


def test_another_machine_at_its_address_is_not_rebooted_and_nothing_else_is_tried(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", scenario("installs", bmc=BmcFault.NONE), SPEED, (NAME, "anvil")) as lab:
        known, ran = yaml.safe_load(lab.inventory.read_text()), Ran()
        known["servers"][NAME]["port"] = known["servers"].pop("anvil")["port"]
        lab.inventory.write_text(yaml.safe_dump(known))
        with Foundry.load(lab.inventory, sinks=[ran]) as foundry, pytest.raises(IdentityError) as caught:
            foundry.reboot(NAME)
        assert caught.value.exit_code == 11
        for one in (NAME, "anvil"):
            assert lab.machine(one).metal.mac in caught.value.what
            assert len(lab.machine(one).boots) == 1
        assert {event.effect for event in ran.events if isinstance(event, CommandStarted)} == {Effect.READ.value}
        assert asked(lab) == []


def test_another_machine_that_comes_back_is_no_reboot(lab: Lab) -> None:
    def change(record: Record) -> None:
        if isinstance(record.event, CommandStarted) and record.event.text == "reboot":
            (lab.machine(NAME).files() / "sys/class/net/eno1/address").write_text("00:00:5e:00:53:77\n")

    with Foundry.load(lab.inventory, sinks=[change]) as foundry, pytest.raises(IdentityError, match="5e:00:53:77"):
        foundry.reboot(NAME)


def test_the_installer_is_not_what_a_reboot_was_to_bring(lab: Lab) -> None:
    def open_it(record: Record) -> None:
        if isinstance(record.event, CommandStarted) and record.event.text == "reboot":
            obj = lab.store.get("hardware", NAME)
            opened(obj)
            lab.store.replace("hardware", obj)

    lab.machine(NAME).scenario = scenario("installs", hook_ssh=True)
    words = "went into the installer: its netboot was opened"
    with Foundry.load(lab.inventory, sinks=[open_it]) as foundry, pytest.raises(VerificationFailed, match=words) as one:
        foundry.reboot(NAME)
    assert one.value.next.endswith(f"status {NAME}")
    assert [boot.what for boot in lab.machine(NAME).boots] == ["old", "hook"]

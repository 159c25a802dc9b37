"""A machine that its BMC reboots, through a Rufio that is played: the ladder of a provision, and what fails on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from metalfoundry import Foundry, Options, Policy
from metalfoundry.lab.kubernetes.store import Object
from metalfoundry.lab.lab import Lab
from metalfoundry.lab.scenarios import BmcFault, Firmware, Scenario, scenario
from metalfoundry.model.events import CommandStarted, Notice, Record
from metalfoundry.runs.options import Identity
from metalfoundry.ui.tasks.confirm import described
from tests.lab.bench import NAME, SPEED, Ran, clean, hardware, is_open, provision, tune, version

JOBS, MACHINE = "jobs.bmc.tinkerbell.org", f"bmc-{NAME}"


@contextmanager
def rack(folder: Path, story: Scenario, reboot: Sequence[str] | None = None, **timeouts: str) -> Iterator[Lab]:
    with Lab(folder / "lab", story, SPEED, (NAME,)) as lab:
        tune(lab, server={"reboot": list(reboot) if reboot else None}, timeouts=timeouts)
        yield lab


def with_bmc(fault: BmcFault = BmcFault.NONE, **more: Any) -> Scenario:
    return scenario("installs", bmc=fault, **more)


def notices(ran: Ran) -> str:
    return "\n".join(event.text for event in ran.events if isinstance(event, Notice))


def jobs(lab: Lab) -> list[Object]:
    return lab.store.list(JOBS)


def conditions(obj: Object) -> list[str]:
    return [one["type"] for one in obj.get("status", {}).get("conditions", [])]


def boots(lab: Lab) -> list[str]:
    return [boot.what for boot in lab.machine(NAME).boots]


def reboots_over_ssh(ran: Ran) -> int:
    return sum(isinstance(event, CommandStarted) and event.text.startswith("reboot") for event in ran.events)


def test_a_machine_that_is_switched_off_is_installed_through_its_bmc(tmp_path: Path) -> None:
    shown: list[Identity] = []
    with rack(tmp_path, scenario("dead-with-bmc", off=True)) as lab:
        before = hardware(lab)
        ran = provision(lab, options=Options(confirm=shown.append))
        assert ran.json["exit_code"] == 0, ran.json["error"]
        assert boots(lab) == ["hook", "new"]
        (job,) = jobs(lab)
        assert conditions(job) == ["Running", "Completed"]
        assert job["metadata"]["name"].startswith(f"metalfoundry-{NAME}-") and len(job["metadata"]["name"]) <= 63
        assert job["spec"]["machineRef"] == {"name": MACHINE, "namespace": lab.namespace}
        assert job["spec"]["tasks"] == [
            {"powerAction": "off"},
            {"oneTimeBootDeviceAction": {"device": ["pxe"], "efiBoot": True}},
            {"powerAction": "on"},
        ]
        assert clean(lab, before)
    assert shown[0].system.startswith("silent")
    assert f"reboot    power-cycled by its BMC {MACHINE}" in described(shown[0])


def test_a_system_that_refuses_to_reboot_is_power_cycled(tmp_path: Path) -> None:
    with rack(tmp_path, with_bmc()) as lab:
        lab.machine(NAME).refuse_reboot()
        ran = provision(lab)
        assert ran.json["exit_code"] == 0, ran.json["error"]
        assert boots(lab) == ["old", "hook", "new"]
    assert reboots_over_ssh(ran) == 1
    assert "refused to reboot (exit status 1)" in notices(ran) and "next: by its BMC" in notices(ran)


def test_by_its_bmc_alone_a_machine_netboots_whatever_its_firmware_does_first(tmp_path: Path) -> None:
    with rack(tmp_path, with_bmc(firmware=Firmware.DISK), ["bmc"]) as lab:
        ran = provision(lab)
        assert ran.json["exit_code"] == 0, ran.json["error"]
        assert boots(lab) == ["old", "hook", "new"]
    assert reboots_over_ssh(ran) == 0


@pytest.mark.parametrize(
    ("fault", "said", "then"),
    [
        (BmcFault.UNREACHABLE, "Rufio does not reach the BMC: Failed to connect to BMC: ", f"/{MACHINE} -o yaml"),
        (
            BmcFault.TIMEOUT,
            "the BMC did not do it in the time that Rufio gives it: bmc task timeout",
            "-task-0 -o yaml",
        ),
        (BmcFault.REFUSES, "the BMC refused to switch the power: failed to perform PowerAction: ", "-task-0 -o yaml"),
        (BmcFault.NO_MACHINE, f"there is no Machine {MACHINE}", "get machines.v1alpha1.bmc.tinkerbell.org -n"),
    ],
)
def test_each_failure_is_told_in_a_sentence_with_the_next_command(
    tmp_path: Path, fault: BmcFault, said: str, then: str
) -> None:
    with rack(tmp_path, with_bmc(fault), ["bmc"]) as lab:
        before = hardware(lab)
        ran = provision(lab)
        assert clean(lab, before)
        assert (ran.json["exit_code"], boots(lab)) == (30, ["old"])
    error = ran.json["error"]
    assert error["what"].startswith(said)
    assert error["next"].startswith("ssh ") and then in error["next"]


def test_a_person_is_the_last_rung(tmp_path: Path) -> None:
    with rack(tmp_path, with_bmc(BmcFault.UNREACHABLE), ["bmc", "person"]) as lab:

        def press(record: Record) -> None:
            if isinstance(record.event, Notice) and record.event.text.startswith(f"reboot {NAME} now"):
                assert is_open(lab)
                lab.machine(NAME).power_cut()

        ran = provision(lab, at=press)
        assert ran.json["exit_code"] == 0, ran.json["error"]
    assert "Rufio does not reach the BMC" in notices(ran) and "next: a person reboots it" in notices(ran)
    assert f"get machines.v1alpha1.bmc.tinkerbell.org/{MACHINE} -o yaml" in notices(ran)


def test_a_job_that_runs_at_a_cancel_is_left_to_its_end(tmp_path: Path) -> None:
    with rack(tmp_path, with_bmc(BmcFault.STUCK), ["bmc"]) as lab:
        before, ran = hardware(lab), Ran()

        def cancel(record: Record) -> None:
            if isinstance(record.event, Notice) and "is power-cycled by its BMC" in record.event.text:
                foundry.cancel_runs("wrong image")

        with Foundry.load(lab.inventory, sinks=[cancel, ran]) as foundry:
            report = foundry.provision(NAME)
        assert report.exit_code == 130
        assert clean(lab, before)
        (job,) = jobs(lab)
        assert set(conditions(job)) <= {"Running"}
    told = [line for line in notices(ran).splitlines() if "is left to its end" in line]
    assert told == [f"the BMC's Job {job['metadata']['name']} is left to its end, and switches {NAME} on again"]


def test_a_job_that_runs_at_the_deadline_is_left_to_its_end(tmp_path: Path) -> None:
    with rack(tmp_path, with_bmc(BmcFault.STUCK), ["bmc"], netboot="2s") as lab:
        before, ran = hardware(lab), provision(lab)
        assert ran.json["exit_code"] == 30
        assert clean(lab, before)
    assert notices(ran).count("is left to its end") == 1


def test_at_the_deadline_it_is_said_what_was_tried(tmp_path: Path) -> None:
    with rack(tmp_path, with_bmc(firmware=Firmware.DEAD), netboot="3s") as lab:
        lab.machine(NAME).refuse_reboot()
        ran = provision(lab)
    error = ran.json["error"]
    assert ran.json["exit_code"] == 30 and "did not reach the installer within 3 s" in error["what"]
    assert error["evidence"].startswith(
        f"tried ssh: {NAME} refused to reboot (exit status 1); bmc: the Job metalfoundry-"
    )
    assert error["evidence"].endswith("is Completed")


def test_without_a_bmc_there_is_no_such_rung(tmp_path: Path) -> None:
    with rack(tmp_path, scenario("installs"), ["bmc"]) as lab:
        before = version(lab)
        ran = provision(lab)
        assert (ran.json["exit_code"], version(lab)) == (10, before)
        assert "its Hardware names none (spec.bmcRef)" in ran.json["error"]["what"]
        tune(lab, server={"reboot": ["bmc", "ssh"]})
        ran = provision(lab)
        assert (ran.json["exit_code"], reboots_over_ssh(ran)) == (0, 1)
        assert jobs(lab) == []


def test_the_plan_shows_the_job_and_makes_none(tmp_path: Path) -> None:
    with rack(tmp_path, with_bmc()) as lab:
        with Foundry.load(lab.inventory) as foundry:
            plan = foundry.plan(NAME)
            steps = [step for step in plan.steps if step.phase == "Boot"]
        assert jobs(lab) == []
    assert plan.to_json()["facts"]["reboot"] == f"over SSH, else power-cycled by its BMC {MACHINE}"
    assert [step.command.split()[0] for step in steps] == ["reboot", "kubectl"]
    assert '"oneTimeBootDeviceAction"' in steps[1].command and steps[1].effect == "write"


def test_the_plan_for_a_machine_that_is_switched_off_does_not_show_ssh(tmp_path: Path) -> None:
    with rack(tmp_path, with_bmc(off=True)) as lab, Foundry.load(lab.inventory) as foundry:
        plan = foundry.plan(NAME)
    assert plan.to_json()["facts"]["reboot"] == f"power-cycled by its BMC {MACHINE}"
    assert [step.command.split()[0] for step in plan.steps if step.phase == "Boot"] == ["kubectl"]


def test_a_disk_first_server_is_told_to_boot_from_the_network_once(tmp_path: Path) -> None:
    with rack(tmp_path, scenario("installs", firmware=Firmware.DISK)) as lab:
        tune(lab, server={"boot_next": "network"})
        with Foundry.load(lab.inventory) as foundry:
            steps = [step.command for step in foundry.plan(NAME).steps if step.phase == "Boot"]
        ran = provision(lab)
        assert ran.json["exit_code"] == 0, ran.json["error"]
        assert boots(lab) == ["old", "hook", "new"]
    said = [event.text for event in ran.each(CommandStarted) if isinstance(event, CommandStarted)]
    assert said.index("efibootmgr -n 0003") < said.index("reboot")
    assert steps == [f"efibootmgr -n (the network entry of {lab.machine(NAME).metal.mac})", "reboot"]


def test_without_such_an_entry_it_is_warned_and_rebooted_all_the_same(tmp_path: Path) -> None:
    with rack(tmp_path, scenario("installs")) as lab:
        tune(lab, server={"boot_next": "network"})
        (lab.folder / "machines" / NAME / "bin" / "old" / "efibootmgr").unlink()
        ran = provision(lab)
        assert ran.json["exit_code"] == 0, ran.json["error"]
    assert "efibootmgr tells no boot order: not UEFI, or it is not installed" in notices(ran)


def test_the_runs_of_a_fleet_share_their_watch_of_jobs(tmp_path: Path) -> None:
    names = (NAME, "anvil")
    with Lab(tmp_path / "lab", with_bmc(), SPEED, names) as lab:
        for name in names:
            tune(lab, server={"reboot": ["bmc"]}, name=name)
        ran = Ran()
        with Foundry.load(lab.inventory, sinks=[ran]) as foundry:
            reports = list(foundry.provision_many(names, policy=Policy(canary=0)))
        assert [report.exit_code for report in reports] == [0, 0], [report.error for report in reports]
        assert [conditions(job) for job in jobs(lab)] == [["Running", "Completed"]] * 2
    watches = [event.text for event in ran.events if isinstance(event, CommandStarted) and " -w " in event.text]
    of_jobs = [text for text in watches if "get jobs." in text]
    assert of_jobs and not any("--field-selector" in text for text in of_jobs)


@pytest.mark.parametrize("off", [True, False])
def test_a_machine_that_tinkerbell_power_cycles_is_not_rebooted_by_us(tmp_path: Path, off: bool) -> None:
    with rack(tmp_path, with_bmc(off=off)) as lab:
        path = lab.inventory.parent / "workflows.yaml"
        path.write_text(
            path.read_text().replace("toggleAllowNetboot: true", "toggleAllowNetboot: true\n    bootMode: netboot")
        )
        shown: list[Identity] = []
        ran = provision(lab, options=Options(confirm=shown.append))
        assert ran.json["exit_code"] == 0, ran.json["error"]
        assert [job["metadata"]["name"] for job in jobs(lab)] == [f"netboot-{NAME}-ubuntu"]
        assert reboots_over_ssh(ran) == 0
        assert boots(lab)[-2:] == ["hook", "new"] and lab.machine(NAME).wiped == 1
        assert not is_open(lab)
    assert "power-cycled by Tinkerbell, as its bootMode says" in described(shown[0])

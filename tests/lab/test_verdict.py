"""Who came up, and what: strangers, old systems on all their ways back, and good new systems in the same places."""

from __future__ import annotations

import json
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from metalfoundry import Options
from metalfoundry.lab.lab import Lab
from metalfoundry.lab.machine.operating_systems import SystemKind
from metalfoundry.lab.scenarios import SCENARIOS, ActionFault, Scenario
from metalfoundry.model.events import Notice, PhaseStarted, Record
from tests.lab.bench import NAME, WORKFLOW, Ran, call, clean, hardware, old_systems, provision, start, tune, workflow
from tests.waiting import until

STREAM = "stream-ubuntu-image"
SHORT = {"netboot": "6s", "install": "8s", "boot": "6s", "verify": "4s"}


def lab_of(folder: Path, story: Scenario, **changes: object) -> Lab:
    return Lab(folder, scenario=replace(story, **changes), speed=20.0)  # type: ignore[arg-type]


def loose(lab: Lab) -> None:
    """An inventory that asks for nothing: the verdict has nothing but the machine to hold on to."""
    tune(lab, timeouts=SHORT, server={"verify": None})


def outcome(ran: Ran) -> tuple[int, str]:
    error = ran.json["error"]
    return ran.json["exit_code"], error["what"] if error else ""


@pytest.mark.parametrize("sshd", [True, False], ids=["in HookOS", "silent"])
@pytest.mark.parametrize("good", [True, False], ids=["new", "old"])
def test_after_a_failed_run_the_old_system_is_known_and_a_new_one_is_good(
    tmp_path: Path, sshd: bool, good: bool
) -> None:
    faults = {STREAM: ActionFault.EXIT_CODE}
    with lab_of(tmp_path, SCENARIOS["installs"], faults=faults, hook_ssh=sshd, disk_takes=good) as lab:
        loose(lab)
        before = hardware(lab)
        first = provision(lab)
        assert outcome(first)[0] == 31
        assert lab.machine(NAME).state == "hook"
        assert len(old_systems(lab)) == 1
        faults.clear()
        code, what = outcome(provision(lab))
        assert (code, "old system" in what) == ((0, False) if good else (33, True)), what
        assert len(old_systems(lab)) == (0 if good else 1)
        assert clean(lab, before)


@pytest.mark.parametrize("good", [True, False], ids=["new", "old"])
def test_in_the_same_run(tmp_path: Path, good: bool) -> None:
    with lab_of(tmp_path, SCENARIOS["reboot-last"], disk_takes=good) as lab:
        loose(lab)
        code, what = outcome(provision(lab))
        assert (code, "old system" in what) == ((0, False) if good else (33, True)), what


@pytest.mark.parametrize("good", [True, False], ids=["new", "old"])
@pytest.mark.parametrize("how", ["--resume", "--replace"])
def test_after_the_first_client_was_killed(tmp_path: Path, good: bool, how: str) -> None:
    replaces = how == "--replace"
    faults = (
        {"write-netplan": ActionFault.EXIT_CODE} if replaces else {}
    )  # so that it stays in HookOS until the next run
    with lab_of(tmp_path, SCENARIOS["installs"], faults=faults, disk_takes=good, action_factor=4.0) as lab:
        loose(lab)
        process = start(lab, "provision", NAME, "--yes")
        assert process.stdout is not None
        next(line for line in process.stdout if "  Install …" in line)
        process.kill()
        process.communicate(timeout=30)
        assert process.returncode == -signal.SIGKILL
        run = hardware(lab)["metadata"]["annotations"]["metalfoundry.dev/run"]
        if replaces:
            until(lambda: (workflow(lab) or {})["status"]["state"] == "FAILED")
            faults.clear()
            broken = call(lab, "netboot.break", NAME, "--run", run, "--yes")
            assert broken.returncode == 0, broken.stderr
        ended = call(lab, "provision", NAME, how, "--yes", "--json")
        report = json.loads(ended.stdout)
        assert report["exit_code"] == (0 if good else 33), ended.stderr
        assert good or "old system" in report["error"]["what"]


@pytest.mark.parametrize("sshd", [True, False], ids=["in HookOS", "silent"])
@pytest.mark.parametrize("good", [True, False], ids=["new", "old"])
def test_a_machine_of_which_nothing_was_ever_known(tmp_path: Path, sshd: bool, good: bool) -> None:
    with lab_of(tmp_path, SCENARIOS["already-in-hook"], hook_ssh=sshd, disk_takes=good) as lab:
        loose(lab)
        code, what = outcome(provision(lab))
        assert (code, "nothing proves that it is the new one" in what) == ((0, False) if good else (33, True)), what


def test_what_was_baked_into_the_image_does_not_make_a_good_server_bad(tmp_path: Path) -> None:
    with lab_of(tmp_path, SCENARIOS["installs"], baked=True) as lab:
        tune(lab, timeouts=SHORT)
        assert outcome(provision(lab)) == (0, "")


def other_metal(lab: Lab, **changes: str) -> None:
    """After HookOS, another machine boots at this address."""
    machine = lab.machine(NAME)

    def swap() -> None:
        if machine.wait(lambda: machine.state == "hook"):
            machine.metal = replace(machine.metal, **changes)

    threading.Thread(target=swap, daemon=True).start()


@pytest.mark.parametrize(
    "changes",
    [{"mac": "00:0c:29:12:34:56"}, {"serial": "8AAAAA1"}, {"mac": "00:0c:29:12:34:56", "serial": "8AAAAA1"}],
    ids=lambda changes: " and ".join(changes),
)
def test_a_stranger_at_the_address_is_no_new_system_and_its_key_is_recorded_nowhere(
    tmp_path: Path, changes: dict[str, str]
) -> None:
    with lab_of(tmp_path, SCENARIOS["installs"]) as lab:
        tune(lab, timeouts=SHORT)
        known = (lab.folder / "known_hosts").read_text()
        other_metal(lab, **changes)
        ran = provision(lab)
        code, what = outcome(ran)
        assert code == 11, what
        assert next(iter(changes.values())) in what
        assert lab.machine(NAME).metal.mac == changes.get("mac", lab.machine(NAME).metal.mac)
        assert (lab.folder / "known_hosts").read_text() == known
        assert len(old_systems(lab)) == 1
        assert not [event for event in ran.each(Notice) if "recorded" in event.text]  # type: ignore[attr-defined]


def test_another_serial_number_than_an_earlier_run_wrote_down_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    with lab_of(tmp_path, SCENARIOS["installs"]) as lab:
        path = "/metadata/annotations"
        text = json.dumps([{"serial": "8AAAAA1", "machine_id": "x"}])
        lab.store.patch("hardware", NAME, [{"op": "add", "path": path, "value": {"metalfoundry.dev/old-system": text}}])
        before = hardware(lab)
        code, what = outcome(provision(lab))
        assert code == 11
        assert "8AAAAA1" in what and lab.machine(NAME).metal.serial in what
        assert hardware(lab) == before


def test_a_workflow_for_another_machines_agent_is_refused_and_that_machine_is_not_wiped(tmp_path: Path) -> None:
    with Lab(tmp_path, each={"anvil": "already-in-hook"}, speed=20.0) as lab:
        documents = list(yaml.safe_load_all((lab.folder / "workflows.yaml").read_text()))
        ours = next(one for one in documents if one["spec"]["hardwareRef"] == NAME)
        ours["spec"]["hardwareMap"]["device_1"] = lab.machine("anvil").metal.mac.upper()
        (lab.folder / "workflows.yaml").write_text(yaml.safe_dump_all(documents))
        before = hardware(lab)
        asked: list[object] = []
        code, what = outcome(provision(lab, options=Options(confirm=asked.append, trust_template=True)))
        assert code == 11
        assert lab.machine("anvil").metal.mac.upper() in what and lab.machine(NAME).metal.mac in what
        assert (asked, hardware(lab), workflow(lab)) == ([], before, None)
        shown = call(lab, "provision", NAME, "--plan")
        assert shown.returncode == 11
        assert lab.machine("anvil").wiped == 0


def test_the_plan_shows_to_whom_the_work_is_given(tmp_path: Path) -> None:
    with Lab(tmp_path, speed=20.0) as lab:
        text = call(lab, "provision", NAME, "--plan")
        assert f"agent     {lab.machine(NAME).metal.mac}" in text.stdout
        plan = json.loads(call(lab, "provision", NAME, "--plan", "--json").stdout)
        assert plan["facts"]["worker"] == lab.machine(NAME).metal.mac


def change_template(lab: Lab, worker: str) -> None:
    name = lab.store.list("templates")[0]["metadata"]["name"]
    data = lab.store.get("templates", name)["spec"]["data"].replace("'{{.device_1}}'", worker)
    lab.store.patch("templates", name, [{"op": "replace", "path": "/spec/data", "value": data}])


def test_what_only_tinkerbell_can_render_is_asked_for(tmp_path: Path) -> None:
    with lab_of(tmp_path, SCENARIOS["installs"]) as lab:
        change_template(lab, "'{{ formatPartition .device_1 1 }}'")
        ran = provision(lab)
        assert outcome(ran)[0] == 11
        assert "formatPartition" in outcome(ran)[1]
        assert "--trust-template" in ran.json["error"]["next"]
        assert workflow(lab) is None


def test_a_workflow_that_tinkerbell_gives_to_another_agent_is_deleted_at_once(tmp_path: Path) -> None:
    with Lab(tmp_path, each={"anvil": "already-in-hook"}, speed=5.0) as lab:
        before = hardware(lab)

        def overtake(record: Record) -> None:
            if isinstance(record.event, PhaseStarted) and record.event.title == "Claim":
                change_template(lab, "00:00:5e:00:53:ad")

        ran = provision(lab, at=overtake)
        code, what = outcome(ran)
        assert code == 11, what
        assert "00:00:5e:00:53:ad" in what and lab.machine(NAME).metal.mac in what
        assert workflow(lab) is None
        assert clean(lab, before)
        assert lab.machine(NAME).boots[-1].what == SystemKind.OLD.value


def test_an_error_of_cloud_init_is_an_error_of_the_diagnosis_too(tmp_path: Path) -> None:
    with lab_of(tmp_path, SCENARIOS["cloud-init-fails"]) as lab:
        tune(lab, timeouts=SHORT)
        ended = call(lab, "provision", NAME, "--yes")
        assert ended.returncode == 33
        assert "nothing wrong" not in ended.stdout + ended.stderr
        assert "cloud-init: status: error" in ended.stderr
        after = call(lab, "troubleshoot", NAME)
        assert after.returncode == 33, after.stdout
        assert "nothing wrong" not in after.stdout
        assert "cloud-init: status: error" in after.stdout


def test_a_command_of_the_operator_that_fails_is_an_error_of_the_diagnosis_too(tmp_path: Path) -> None:
    with lab_of(tmp_path, SCENARIOS["installs"]) as lab:
        tune(lab, timeouts=SHORT, server={"verify": {"user": "ubuntu", "commands": ["echo no such; exit 3"]}})
        ended = call(lab, "provision", NAME, "--yes")
        assert ended.returncode == 33
        assert "nothing wrong" not in ended.stdout + ended.stderr
        assert call(lab, "troubleshoot", NAME).returncode == 33


def test_an_interrupt_in_install_says_what_is_on_the_disk(tmp_path: Path) -> None:
    with lab_of(tmp_path, SCENARIOS["still-streaming"], begun=False) as lab:
        tune(lab, timeouts={"install": "60s"})
        process = start(lab, "provision", NAME, "--yes")
        assert process.stdout is not None
        next(line for line in process.stdout if "  Install …" in line)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert f"the disk may have been written: '{STREAM}' had it last (RUNNING)" in err
        assert "HookOS may go on without us: it writes on, and reboots by itself" in err
        assert "it goes on from what is there" not in err
        assert WORKFLOW in lab.store.get("workflows", WORKFLOW)["metadata"]["name"]

"""What may be asked of a provision, whose objects it meets, and who else is there."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from metalfoundry import Foundry, Options
from metalfoundry.commands.claims import RUN, WINDOW
from metalfoundry.commands.history import HISTORY
from metalfoundry.commands.published_keys import HOST_KEYS
from metalfoundry.lab.kubernetes.store import Object
from metalfoundry.lab.lab import Lab
from metalfoundry.model.errors import ClaimedError
from metalfoundry.model.events import (
    ActionStarted,
    ClaimChanged,
    CommandStarted,
    Notice,
    PhaseStarted,
    Record,
    WindowChanged,
)
from metalfoundry.model.resources import FLUX_NAME, FLUX_RECONCILE
from tests.lab.bench import (
    NAME,
    SPEED,
    WORKFLOW,
    Ran,
    clean,
    hardware,
    is_open,
    kept,
    netboots,
    provision,
    tune,
    version,
    workflow,
)  # fmt: skip
from tests.lab.client import until

CLOSED = [{"allowPXE": False, "allowWorkflow": False}]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path / "lab", speed=SPEED) as lab:
        yield lab


def good(ran: Ran) -> Ran:
    assert ran.report is not None
    assert ran.report.error is None, ran.report.error
    return ran


def test_hardware_without_allow_workflow_and_the_neighbour_that_is_left_alone(lab: Lab) -> None:
    """anvil's Hardware has no allowWorkflow and no annotations; the other server's document toggles netboot, too."""
    tune(lab, name="anvil", server={"mac": "00:00:5E:00:53:C0"})
    before, other = hardware(lab, "anvil"), hardware(lab)
    assert before["spec"]["interfaces"][0]["netboot"] == {"allowPXE": False}
    assert before["metadata"].get("annotations") is None
    opened: list[bool] = []

    def look(record: Record) -> None:
        opened.append(is_open(lab))

    good(provision(lab, "anvil", at=look))
    assert clean(lab, before, "anvil")
    assert netboots(lab, "anvil") == CLOSED
    assert hardware(lab) == other
    assert not any(opened)
    assert lab.store.list("workflows") == []


def test_what_flux_manages_is_paused_and_put_back(lab: Lab) -> None:
    mine = {"team": "metal", FLUX_RECONCILE: "enabled"}

    def change(obj: Object) -> Object:
        obj["metadata"] |= {"labels": {FLUX_NAME: "cluster"}, "annotations": mine}
        return obj

    lab.store.change("hardware", NAME, change)  # type: ignore[attr-defined]
    before = hardware(lab)
    during: dict[str, dict[str, str]] = {}

    def look(record: Record) -> None:
        if isinstance(record.event, PhaseStarted):
            during[record.event.title] = hardware(lab)["metadata"].get("annotations", {})

    good(provision(lab, options=Options(reason="new disk"), at=look))
    for phase in ("Apply", "Open", "Install", "Verify"):
        assert during[phase][FLUX_RECONCILE] == "disabled"
        assert during[phase]["team"] == "metal"
        note = json.loads(during[phase][WINDOW])
        assert (note["reason"], note["before"]) == ("new disk", {FLUX_RECONCILE: "enabled"})
    assert during["Claim"] == mine
    assert kept(hardware(lab))["metadata"]["annotations"] == mine
    assert clean(lab, before)


PART = re.compile(r"^part (?P<name>\w+) (?P<words>.*?)(?: <<'(?P<end>\w+)'\n(?P<text>.*?)\n(?P=end))?$", re.M | re.S)
READS = {"object", "objects", "rights", "smee0", "smee1"}
UID = (r'(workflow-uid", "value": ")[^"]*', r"\1UID")
CHANGES = (r"\d{8}T\d{6}Z-[\w-]+?-[0-9a-f]{8}", "RUN"), (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"), UID


def plain(text: str) -> str:
    """Without run id, times, and the way it is laid out."""
    for pattern, word in CHANGES:
        text = re.sub(pattern, word, text)
    return text.replace("</dev/null", "").strip()


def parts(text: str) -> list[str]:
    """The parts of a shown script that change something; the line itself where it is no script of parts."""
    if "\nscript() {\n" not in text:
        return [plain(text)]
    body = text.split("\nscript() {\n", 1)[1]
    found = [match for match in PART.finditer(body) if match["name"] not in READS]
    return [
        plain(f"{match['words']} <<'EOF'\n{match['text']}\nEOF" if match["text"] else match["words"]) for match in found
    ]


def without_record(operations: list[dict[str, object]]) -> list[dict[str, object]]:
    """Without what only the end of a run can tell: its line in the history, and the new system's host keys."""
    told = [key.replace("/", "~1") for key in (HISTORY, HOST_KEYS)]
    return [each for each in operations if not any(key in str(each["path"]) for key in told)]


def laid_out(steps: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """(phase, command) with words split and JSON read, so that only what is said counts."""
    found = []
    for phase, command in steps:
        line, _, text = command.partition(" <<'EOF'\n")
        text = text.removesuffix("\nEOF")
        with_json = json.dumps(without_record(json.loads(text))) if text.startswith("[") else text.strip()
        found.append((phase, f"{shlex.join(shlex.split(line))} {with_json}".strip()))
    return found


def test_a_plan_writes_nothing_and_says_what_a_run_then_says(lab: Lab) -> None:
    before = version(lab)
    with Foundry.load(lab.inventory) as foundry:
        plan = foundry.plan(NAME, Options(reason="r"))
    assert version(lab) == before
    assert plan.identity.address == "127.0.0.1"
    assert plan.identity.system.startswith("Debian GNU/Linux 11")
    assert plan.identity.macs == ("00:00:5e:00:53:4b",)
    assert json.loads(json.dumps(plan.to_json()))["steps"][0]["phase"] == "Claim"
    ran = good(provision(lab, options=Options(reason="r")))
    said = [
        (record.phase, part)
        for record in ran.records
        if isinstance(record.event, CommandStarted) and record.event.effect != "read"
        for part in parts(record.event.text)
    ]
    planned = [(step.phase, plain(step.command)) for step in plan.steps]
    guard, event = "guard_text", "create -f -"
    assert [phase for phase, text in planned if event in text] == [phase for phase, text in said if event in text]
    alike = [[one for one in steps if guard not in one[1] and event not in one[1]] for steps in (planned, said)]
    assert laid_out(alike[0]) == laid_out(alike[1])
    asked = {phase for phase, text in said if guard in text}
    assert {"Claim"} <= asked <= {"Claim", "Apply"}  # not again where the guard's word was there already


def test_keep_the_workflow(lab: Lab) -> None:
    good(provision(lab, options=Options(keep_workflow=True)))
    left = workflow(lab)
    assert left is not None
    assert left["status"]["state"] == "SUCCESS"
    before = hardware(lab)
    assert not is_open(lab)
    again = good(provision(lab, options=Options(keep_workflow=True)))
    assert again.phases["Clean up"] == "done"
    assert lab.machine(NAME).wiped == 2
    assert clean(lab, before)


def test_a_person_reboots(lab: Lab) -> None:
    machine = lab.machine(NAME)

    def press(record: Record) -> None:
        if isinstance(record.event, Notice) and record.event.text.startswith(f"reboot {NAME} now"):
            assert is_open(lab)
            machine.power_cut()

    ran = good(provision(lab, options=Options(reboot=False), at=press))
    texts = [event.text for event in ran.events if isinstance(event, CommandStarted)]
    assert "reboot" not in texts
    assert machine.wiped == 1


def test_a_template_and_its_map(lab: Lab) -> None:
    mapped = {"device_1": "00:00:5e:00:53:4b", "hostname": NAME}
    tune(lab, server={"workflow": None, "template": "ubuntu-2404", "hardware_map": mapped})
    made: list[Object] = []

    def look(record: Record) -> None:
        if isinstance(record.event, PhaseStarted) and record.event.title == "Open":
            made.extend(lab.store.list("workflows"))

    good(provision(lab, at=look))
    assert [one["spec"]["hardwareMap"] for one in made] == [mapped]
    assert made[0]["spec"]["templateRef"] == "ubuntu-2404"
    assert lab.store.list("workflows") == []
    good(provision(lab, options=Options(template="ubuntu-2404")))
    assert lab.machine(NAME).wiped == 2


def foreign(lab: Lab, state: str) -> None:
    """A live Workflow of the same agent that somebody else made."""
    document = next(iter(yaml.safe_load_all((lab.folder / "workflows.yaml").read_text())))
    document["metadata"]["name"] = "night-shift"
    document["spec"]["disabled"] = False
    document["spec"].pop("bootOptions", None)
    lab.store.create("workflows", document)

    def ready() -> bool:
        return bool((workflow(lab, "night-shift") or {}).get("status", {}).get("state") == "PENDING")

    until(ready)
    if state != "PENDING":
        lab.store.patch("workflows", "night-shift", [{"op": "add", "path": "/status/state", "value": state}])


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_another_live_workflow_of_the_agent_is_a_refusal_that_names_it(lab: Lab, state: str) -> None:
    foreign(lab, state)
    before = version(lab)
    ran = provision(lab)
    report = ran.json
    assert report["exit_code"] == 20
    assert report["error"]["what"] == f"the Workflow night-shift of the same agent is {state}"
    assert "--replace" in report["error"]["next"]
    assert version(lab) == before


def test_replace_removes_it(lab: Lab) -> None:
    foreign(lab, "PENDING")
    good(provision(lab, options=Options(replace=True)))
    assert lab.store.list("workflows") == []


def test_of_two_runs_at_once_the_second_says_who_has_it(lab: Lab) -> None:
    second: list[Any] = []

    def other(record: Record) -> None:
        if isinstance(record.event, PhaseStarted) and record.event.title == "Boot":
            with Foundry.load(lab.inventory) as foundry:
                second.append(foundry.provision(NAME))

    before = hardware(lab)
    first = good(provision(lab, options=Options(reason="new disk"), at=other))
    (report,) = second
    assert isinstance(report.error, ClaimedError)
    assert report.exit_code == 20
    assert first.report is not None
    assert first.report.run in report.error.what
    assert "new disk" in report.error.what
    assert "--resume" in report.error.next
    assert lab.machine(NAME).wiped == 1
    assert clean(lab, before)


def test_an_expired_claim_is_taken_over_with_what_it_had_changed(lab: Lab) -> None:
    dead = {"holder": "gone@laptop", "opened": "2020-01-01T00:00:00Z", "expires": "2020-01-01T01:00:00Z"}

    def change(obj: Object) -> Object:
        obj["metadata"]["labels"] = {FLUX_NAME: "cluster"}
        note = json.dumps(dead | {"before": {FLUX_RECONCILE: None}})
        obj["metadata"]["annotations"] = {RUN: "old-run", WINDOW: note, FLUX_RECONCILE: "disabled"}
        obj["spec"]["interfaces"][0]["netboot"]["allowPXE"] = True
        return obj

    lab.store.change("hardware", NAME, change)  # type: ignore[attr-defined]
    ran = good(provision(lab))
    assert ClaimChanged("taken over", "gone@laptop") in ran.events
    assert "annotations" not in kept(hardware(lab))["metadata"]
    assert netboots(lab) == CLOSED


def test_netboot_that_somebody_opens_during_the_installation_is_closed_again(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", "slow", speed=SPEED) as lab:
        before = hardware(lab)

        def meddle(record: Record) -> None:
            if isinstance(record.event, PhaseStarted) and record.event.title == "Install":
                path = "/spec/interfaces/0/netboot/allowPXE"
                lab.store.patch("hardware", NAME, [{"op": "add", "path": path, "value": True}])

        ran = good(provision(lab, at=meddle))
        states = [event.state for event in ran.events if isinstance(event, WindowChanged)]
        assert states == ["open", "closed", "opened by somebody else", "closed"]
        assert lab.machine(NAME).wiped == 1
        assert clean(lab, before)


def test_a_workflow_deleted_under_us_is_a_failure_with_the_window_closed(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", "slow", speed=SPEED) as lab:
        before = hardware(lab)

        def meddle(record: Record) -> None:
            if isinstance(record.event, ActionStarted) and record.event.index == 1:
                lab.store.delete("workflows", WORKFLOW)

        report = provision(lab, at=meddle).json
        assert report["exit_code"] == 31
        assert "was deleted" in report["error"]["what"]
        assert kept(hardware(lab)) == kept(before)
        assert not is_open(lab)

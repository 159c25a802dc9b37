"""Tinkerbell's rules as docs and recordings of v0.21 have them, on the embedded store, without machines."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from metalfoundry.lab import fixtures
from metalfoundry.lab.clock import MachineClock
from metalfoundry.lab.kubernetes.api_server import MemoryStore
from metalfoundry.lab.kubernetes.store import Object
from metalfoundry.lab.scenarios import Last, Scenario, scenario
from metalfoundry.lab.tinkerbell.controller import Controller
from metalfoundry.lab.tinkerbell.log import ControlPlaneLog
from metalfoundry.lab.tinkerbell.tink_server import Assignment, NoWorkflow, Refused, TinkServer
from tests.lab.client import until

METAL = fixtures.metal("colo-server-01", 0)
NAME = "colo-server-01-ubuntu"


class Tinkerbell:
    """Controller and server on a store with one Hardware, and short ways to look at it."""

    def __init__(self) -> None:
        pace = MachineClock(50)
        self.store = MemoryStore()
        self.journal = ControlPlaneLog()
        self.controller = Controller(self.store, pace, self.journal)
        self.server = TinkServer(self.store, pace, self.journal, patience=5.0)
        self.never = threading.Event()
        self.add(scenario("installs"))

    def add(self, story: Scenario, *, hardware: bool = True) -> None:
        if hardware:
            self.store.create("hardware", fixtures.hardware(METAL, story, allow_workflow=False))
        self.store.create("templates", fixtures.template(story))

    def apply(self, story: Scenario | None = None, **spec: Any) -> Object:
        document = fixtures.workflow(METAL, story or scenario("installs"))
        document["spec"].update(spec)
        return self.store.create("workflows", document)

    def status(self, name: str = NAME) -> Object:
        found: Object = self.store.get("workflows", name).get("status", {})
        return found

    def reach(self, state: str) -> Object:
        until(lambda: self.status().get("state") == state)
        return self.status()

    def netboot(self) -> Object | None:
        found: Object | None = self.store.get("hardware", METAL.name)["spec"]["interfaces"][0].get("netboot")
        return found

    def action(self) -> Assignment:
        """The next one; asked for again where it is refused, as the agent does."""
        given = []

        def asked() -> bool:
            with suppress(NoWorkflow, Refused):
                given.append(self.ask())
            return bool(given)

        until(asked)
        return given[0]

    def ask(self) -> Assignment:
        """The next one; raises NoWorkflow, Refused."""
        job = self.server.get_action(METAL.mac, self.never)
        assert job is not None
        return job

    def condition(self, kind: str) -> Object:
        found = [each for each in self.status().get("conditions", []) if each["type"] == kind]
        return found[0] if found else {}


@pytest.fixture
def tinkerbell() -> Iterator[Tinkerbell]:
    tinkerbell = Tinkerbell()
    tinkerbell.controller.start()
    tinkerbell.server.start()
    yield tinkerbell
    tinkerbell.controller.stop()
    tinkerbell.server.stop()


TIMES = {"executionStart": "2026-11-23T01:28:01Z", "executionStop": "2026-11-23T01:28:02Z", "executionDuration": "1s"}


def test_without_toggle_it_goes_to_pending_and_leaves_netboot_alone(tinkerbell: Tinkerbell) -> None:
    tinkerbell.apply(scenario("no-toggle"))
    status = tinkerbell.reach("PENDING")
    assert tinkerbell.netboot() == {"allowPXE": False}
    assert status["agentID"] == METAL.mac and status["globalTimeout"] == 1800
    assert status["templateRendering"] == "successful"
    assert [action["state"] for action in status["tasks"][0]["actions"]] == ["PENDING"] * 3
    stream, netplan, reboot = status["tasks"][0]["actions"]
    assert stream["environment"]["DEST_DISK"] == "/dev/sda" and netplan["environment"]["DEST_DISK"] == "/dev/sda1"
    assert reboot["image"].endswith("waitdaemon:latest") and reboot["environment"]["WAIT_SECONDS"] == "2"
    assert "currentState" not in status and "bootOptions" not in status


def test_toggle_opens_every_interface_and_adds_netboot_where_it_is_absent(tinkerbell: Tinkerbell) -> None:
    second = {"dhcp": {"mac": "00:00:5e:00:53:4c"}}
    tinkerbell.store.patch(
        "hardware",
        METAL.name,
        [
            {"op": "remove", "path": "/spec/interfaces/0/netboot"},
            {"op": "add", "path": "/spec/interfaces/1", "value": second},
        ],
    )
    tinkerbell.apply()
    status = tinkerbell.reach("PENDING")
    interfaces = tinkerbell.store.get("hardware", METAL.name)["spec"]["interfaces"]
    assert [interface["netboot"]["allowPXE"] for interface in interfaces] == [True, True]
    assert status["bootOptions"] == {"allowNetboot": {"toggledTrue": True}}
    assert tinkerbell.condition("AllowNetbootTrue")["message"] == "set allowPXE to true"


def test_a_whole_run_from_pending_to_success(tinkerbell: Tinkerbell) -> None:
    tinkerbell.apply()
    tinkerbell.reach("PENDING")
    for number in range(3):
        job = tinkerbell.action()
        assert tinkerbell.status()["currentState"]["state"] == "PENDING"
        assert tinkerbell.status()["state"] == ("PENDING" if number == 0 else "RUNNING")
        tinkerbell.server.report(job, "RUNNING")
        running = tinkerbell.status()
        assert running["state"] == "RUNNING" and running["currentState"]["actionID"] == job.action["id"]
        assert running["tasks"][0]["actions"][number]["message"] == "running action"
        assert "executionStart" not in running["tasks"][0]["actions"][number]
        tinkerbell.server.report(job, "SUCCESS", **TIMES)
        if number == 0:
            until(lambda: "globalExecutionStop" in tinkerbell.status())
        done = tinkerbell.status()["tasks"][0]["actions"][number]
        assert done["message"] == "action completed" and done["executionStop"] == TIMES["executionStop"]
    status = tinkerbell.reach("SUCCESS")
    assert tinkerbell.netboot() == {"allowPXE": False}
    assert status["bootOptions"] == {"allowNetboot": {"toggledTrue": True, "toggledFalse": True}}


def test_netboot_is_closed_before_success_shows(tinkerbell: Tinkerbell) -> None:
    stop, seen = threading.Event(), list[tuple[str, bool]]()
    ready = threading.Event()

    def look() -> None:
        for _, workflow in tinkerbell.store.watch("workflows", stop):
            ready.set()
            netboot = tinkerbell.netboot() or {}
            seen.append((workflow.get("status", {}).get("state", ""), netboot.get("allowPXE", False)))

    watcher = threading.Thread(target=look)
    watcher.start()
    tinkerbell.apply()
    for _ in range(3):
        job = tinkerbell.action()
        tinkerbell.server.report(job, "SUCCESS", **TIMES)
    tinkerbell.reach("SUCCESS")
    until(lambda: bool(seen) and seen[-1][0] == "SUCCESS")
    stop.set()
    tinkerbell.store.wake()
    watcher.join(5)
    assert ("SUCCESS", True) not in seen and ("PENDING", True) in seen
    assert "POST" in [state for state, _ in seen]


@pytest.mark.parametrize("state", ["FAILED", "TIMEOUT"])
def test_a_failed_action_ends_the_workflow_and_leaves_netboot_open(tinkerbell: Tinkerbell, state: str) -> None:
    tinkerbell.apply()
    tinkerbell.reach("PENDING")
    job = tinkerbell.action()
    tinkerbell.server.report(job, "RUNNING")
    tinkerbell.server.report(job, state, **TIMES)
    status = tinkerbell.reach(state)
    assert status["currentState"]["state"] == state
    assert status["tasks"][0]["actions"][0]["message"] == "action completed"  # the reason is never in the Workflow
    assert tinkerbell.netboot() == {"allowPXE": True}
    tinkerbell.store.delete("workflows", NAME)
    until(lambda: not tinkerbell.store.list("workflows"))
    assert tinkerbell.netboot() == {"allowPXE": True}


def test_missing_template_and_hardware(tinkerbell: Tinkerbell) -> None:
    tinkerbell.apply(templateRef="nosuch")
    until(lambda: bool(tinkerbell.condition("TemplateRenderedSuccess")))
    condition = tinkerbell.condition("TemplateRenderedSuccess")
    assert (condition["status"], condition["reason"]) == ("False", "Error")
    assert condition["message"] == "template not found"
    assert tinkerbell.status().get("templateRendering") == "failed" and "state" not in tinkerbell.status()
    tinkerbell.store.delete("workflows", NAME)
    tinkerbell.apply(hardwareRef="nosuch")
    until(lambda: bool(tinkerbell.condition("TemplateRenderedSuccess")))
    message = tinkerbell.condition("TemplateRenderedSuccess")["message"]
    assert message == 'hardware not found: Hardware.tinkerbell.org "nosuch" not found'
    assert tinkerbell.journal.lines("no template found: name=nosuch")


def _broken(change: tuple[str, str]) -> str:
    data: str = fixtures.template(scenario("installs"))["spec"]["data"]
    assert change[0] in data
    return data.replace(*change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("{{.device_1}}", "{{.nosuchkey}}"), 'at <.nosuchkey>: map has no entry for key "nosuchkey"'),
        (("name: write-netplan", "name: stream-ubuntu-image"), "two actions in a task cannot have same name"),
        (("quay.io/tinkerbell/actions/writefile", "Quay.io//x"), "invalid action image (Quay.io//x:latest): invalid"),
        (("tasks:", " tasks: [:"), "error rendering template: parsing yaml data: err: yaml: line"),
    ],
)
def test_templates_that_cannot_be_rendered(tinkerbell: Tinkerbell, change: tuple[str, str], said: str) -> None:
    operations = [{"op": "replace", "path": "/spec/data", "value": _broken(change)}]
    tinkerbell.store.patch("templates", "ubuntu-2404", operations)
    tinkerbell.apply()
    until(lambda: bool(tinkerbell.condition("TemplateRenderedSuccess")))
    message = tinkerbell.condition("TemplateRenderedSuccess")["message"]
    assert message.startswith("error rendering template: ") and said in message
    assert "state" not in tinkerbell.status()


def test_disabled_has_an_agent_and_no_state(tinkerbell: Tinkerbell) -> None:
    tinkerbell.apply(disabled=True)
    until(lambda: bool(tinkerbell.status()))
    assert tinkerbell.status() == {"agentID": METAL.mac}
    with pytest.raises(Refused):
        tinkerbell.ask()


def test_boot_mode_without_a_bmc_fails(tinkerbell: Tinkerbell) -> None:
    tinkerbell.apply(bootOptions={"bootMode": "netboot"})
    tinkerbell.reach("FAILED")
    condition = tinkerbell.condition("BootJobSetupFailed")
    assert condition["message"] == 'error creating job: hardware "colo-server-01" does not have a BMC'
    assert condition["status"] == "True"


def test_no_workflow_for_the_agent_is_not_found_and_a_finished_one_is_refused(tinkerbell: Tinkerbell) -> None:
    with pytest.raises(NoWorkflow):
        tinkerbell.ask()
    tinkerbell.store.create("workflows", fixtures.finished_workflow(METAL, scenario("installs")))
    with pytest.raises(Refused, match="Workflow not in pending or running state"):
        tinkerbell.ask()
    assert tinkerbell.journal.lines("Workflow not in pending or running state")


def test_a_finished_workflow_holds_up_the_next_one_for_a_while(tinkerbell: Tinkerbell) -> None:
    tinkerbell.server.shadow[METAL.mac] = 20.0  # machine seconds, longer than the server's patience
    tinkerbell.store.create("workflows", fixtures.finished_workflow(METAL, scenario("installs")))
    tinkerbell.apply()
    tinkerbell.reach("PENDING")
    with pytest.raises(Refused):
        tinkerbell.ask()
    served: list[Assignment] = []

    def ask() -> bool:
        try:
            served.append(tinkerbell.action())
        except Refused:
            return False
        return True

    until(ask)
    assert served[0].workflow == NAME


def test_deleting_the_finished_workflow_ends_the_shadow(tinkerbell: Tinkerbell) -> None:
    tinkerbell.server.shadow[METAL.mac] = 1e6
    tinkerbell.store.create("workflows", fixtures.finished_workflow(METAL, scenario("installs")))
    tinkerbell.apply()
    tinkerbell.reach("PENDING")
    with pytest.raises(Refused):
        tinkerbell.ask()
    tinkerbell.store.delete("workflows", f"{METAL.name}-last-year")
    assert tinkerbell.action().workflow == NAME


def test_of_two_live_workflows_the_one_that_runs_goes_on(tinkerbell: Tinkerbell) -> None:
    tinkerbell.apply()
    other = fixtures.workflow(METAL, scenario("installs"))
    other["metadata"]["name"] = "another"
    tinkerbell.store.create("workflows", other)
    until(lambda: all(tinkerbell.status(name).get("state") == "PENDING" for name in (NAME, "another")))
    first = tinkerbell.action()
    tinkerbell.server.report(first, "RUNNING")
    tinkerbell.server.report(first, "SUCCESS", **TIMES)
    until(lambda: tinkerbell.action().workflow == first.workflow)


def test_an_interrupted_action_is_served_again_only_if_it_never_began(tinkerbell: Tinkerbell) -> None:
    tinkerbell.apply()
    first = tinkerbell.action()
    assert tinkerbell.action().action["id"] == first.action["id"]  # sent before, never begun
    tinkerbell.server.report(first, "RUNNING")
    until(lambda: tinkerbell.store.get("workflows", NAME)["status"]["state"] == "RUNNING")
    with pytest.raises(Refused, match="current Action not in success state"):
        tinkerbell.ask()
    assert tinkerbell.status()["state"] == "RUNNING"


def test_reports_on_a_deleted_or_recreated_workflow_are_refused(tinkerbell: Tinkerbell) -> None:
    tinkerbell.apply()
    job = tinkerbell.action()
    tinkerbell.store.delete("workflows", NAME)
    with pytest.raises(NoWorkflow):
        tinkerbell.server.report(job, "RUNNING")
    tinkerbell.apply()
    tinkerbell.reach("PENDING")
    with pytest.raises(NoWorkflow, match="action not found"):
        tinkerbell.server.report(job, "RUNNING")
    assert tinkerbell.status()["state"] == "PENDING"


def test_global_timeout_is_armed_by_the_first_action_and_strikes(tinkerbell: Tinkerbell) -> None:
    story = Scenario("short", "", global_timeout=10)
    tinkerbell.add(story, hardware=False)
    tinkerbell.apply(story)
    job = tinkerbell.action()
    tinkerbell.server.report(job, "RUNNING")
    tinkerbell.server.report(job, "SUCCESS", **TIMES)
    until(lambda: "globalExecutionStop" in tinkerbell.status())
    tinkerbell.reach("TIMEOUT")
    assert tinkerbell.netboot() == {"allowPXE": True}


def test_global_timeout_is_never_armed_when_the_machine_dies_in_the_first_action(tinkerbell: Tinkerbell) -> None:
    story = Scenario("short", "", global_timeout=1)
    tinkerbell.add(story, hardware=False)
    tinkerbell.apply(story)
    tinkerbell.server.report(tinkerbell.action(), "RUNNING")
    until(lambda: len(tinkerbell.journal.lines("process running workflow")) >= 1)
    assert "globalExecutionStop" not in tinkerbell.status()


def test_applying_again_what_has_finished_does_nothing(tinkerbell: Tinkerbell) -> None:
    tinkerbell.apply(Scenario("stay", "", last=Last.WAITDAEMON, toggle=False))
    for _ in range(3):
        tinkerbell.server.report(tinkerbell.action(), "SUCCESS", **TIMES)
    tinkerbell.reach("SUCCESS")
    before = tinkerbell.store.get("workflows", NAME)
    tinkerbell.store.replace("workflows", before)
    assert tinkerbell.store.get("workflows", NAME) == before

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from metalfoundry.model.actions import boots
from metalfoundry.model.errors import PreflightError
from metalfoundry.model.resources import FLUX_NAME, FLUX_RECONCILE, Current, Hardware, Template, Workflow

DATA = Path(__file__).parent / "data"
RECORDED = Path(__file__).parents[3] / "shared/data/recorded/objects"
recorded_only = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded objects are not beside this repository")


def read(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def sample(version: str) -> Workflow:
    return Workflow.of(read(DATA / f"workflow-{version}.json"))


def hardware(*interfaces: Mapping[str, Any], **metadata: Any) -> Hardware:
    return Hardware.of({"metadata": {"name": "h", "namespace": "n", **metadata}, "spec": {"interfaces": interfaces}})


MAC = "00:0c:29:73:04:03"
DONE = (1.002, 1.002, 1.002)
# file: state, agent, current action, seconds of each action, live, has run
SEEN: dict[str, tuple[str, str | None, Current | None, tuple[float | None, ...], bool, bool]] = {
    "FAILED": ("FAILED", MAC, Current("write-netplan", 1, "FAILED"), (1.002, 1.002, None), False, True),
    "PENDING": ("PENDING", MAC, None, (None,) * 3, True, False),
    "PENDING-action-sent": ("PENDING", MAC, Current("stream-ubuntu-image", 0, "PENDING"), (None,) * 3, True, False),
    "RUNNING": ("RUNNING", MAC, Current("write-netplan", 1, "RUNNING"), (1.002, None, None), True, True),
    "RUNNING-between-actions": (
        "RUNNING",
        MAC,
        Current("stream-ubuntu-image", 0, "SUCCESS"),
        (1.002, None, None),
        True,
        True,
    ),
    "RUNNING-first-action": (
        "RUNNING",
        MAC,
        Current("stream-ubuntu-image", 0, "RUNNING"),
        (None,) * 3,
        True,
        True,
    ),
    "RUNNING-last-action": (
        "RUNNING",
        MAC,
        Current("reboot-into-os", 2, "RUNNING"),
        (1.002, 1.002, None),
        True,
        True,
    ),
    "SUCCESS": ("SUCCESS", MAC, Current("reboot-into-os", 2, "SUCCESS"), DONE, False, True),
    "after-last-report": ("SUCCESS", MAC, Current("reboot-into-os", 2, "SUCCESS"), DONE, False, True),
    "TIMEOUT": ("TIMEOUT", MAC, Current("write-netplan", 1, "TIMEOUT"), (1.002, 1.002, None), False, True),
    "no-bmc": ("FAILED", "00:0c:29:99:99:02", None, (None,), False, False),
    "disabled": ("", "00:0c:29:99:99:02", None, (), False, False),
    "bad-yaml": ("", None, None, (), True, False),
    "hardware-missing": ("", None, None, (), True, False),
    "invalid-image": ("", None, None, (), True, False),
    "map-key-missing": ("", None, None, (), True, False),
    "template-missing": ("", None, None, (), True, False),
    "two-actions-same-name": ("", None, None, (), True, False),
}


@recorded_only
def test_every_recorded_workflow_has_an_expectation() -> None:
    assert {path.stem.removeprefix("workflow-") for path in RECORDED.glob("workflow-*.json")} == set(SEEN)


@recorded_only
@pytest.mark.parametrize("name", SEEN)
def test_a_recorded_workflow(name: str) -> None:
    obj = read(RECORDED / f"workflow-{name}.json")
    before = deepcopy(obj)
    workflow = Workflow.of(obj)
    seconds = tuple(action.seconds for action in workflow.actions)
    seen = (workflow.state, workflow.agent_id, workflow.current, seconds, workflow.live, workflow.has_run)
    assert seen == SEEN[name]
    assert workflow.finished == (workflow.state in {"SUCCESS", "FAILED", "TIMEOUT"})
    assert workflow.boot_action() == ("reboot-into-os" if len(workflow.actions) == 3 else None)
    assert workflow.disabled == (name == "disabled")
    assert workflow.toggles_netboot == (len(workflow.actions) == 3)
    assert workflow.raw is obj and obj == before
    assert (workflow.name, workflow.uid) == (obj["metadata"]["name"], obj["metadata"]["uid"])
    assert (workflow.template_ref, workflow.hardware_ref) == (obj["spec"]["templateRef"], obj["spec"]["hardwareRef"])
    if not workflow.state and not workflow.disabled:
        (condition,) = workflow.conditions
        assert (condition.type, condition.status) == ("TemplateRenderedSuccess", "False")
        assert condition.message == obj["status"]["conditions"][0]["message"]


@recorded_only
@pytest.mark.parametrize(
    ("name", "mac", "allow_workflow"),
    [("colo-server-01", "00:0c:29:73:03:4b", False), ("anvil", "00:21:9b:a1:dc:c0", None)],
)
def test_recorded_hardware(name: str, mac: str, allow_workflow: bool | None) -> None:
    seen = Hardware.of(read(RECORDED / f"hardware-{name}.json"))
    (interface,) = seen.interfaces
    assert (seen.name, interface.mac, interface.hostname) == (name, mac, name)
    assert (interface.has_netboot, interface.allow_pxe, interface.allow_workflow) == (True, False, allow_workflow)
    assert seen.address == interface.address is not None
    assert seen.open_interfaces() == ()
    assert not seen.flux_managed


def test_tink_0_8_has_no_ids_and_no_current_state() -> None:
    workflow = sample("tink-0.8")
    assert (workflow.state, workflow.agent_id) == ("RUNNING", "08:00:27:00:00:01")
    assert workflow.current == Current("write-netplan", 1, "RUNNING")
    assert [action.state for action in workflow.actions] == ["SUCCESS", "RUNNING", "PENDING"]
    assert [action.seconds for action in workflow.actions] == [42, None, None]
    assert [action.started for action in workflow.actions] == ["2023-03-01T10:01:00Z", "2023-03-01T10:01:42Z", None]
    assert [action.timeout for action in workflow.actions] == [600, 90, 90]
    assert workflow.boot_action() == "boot-disk"


def test_tink_0_12_names_the_current_action() -> None:
    workflow = sample("tink-0.12")
    assert (workflow.state, workflow.boot_mode, workflow.toggles_netboot) == ("PREPARING", "netboot", True)
    assert workflow.current == Current("write-netplan", 1, "RUNNING")
    assert workflow.conditions[0].type == "NetbootJobRunning"
    assert workflow.boot_action() is None


def test_v0_17_calls_the_agent_worker_and_keeps_what_is_unknown() -> None:
    workflow = sample("v0.17")
    assert workflow.agent_id == "08:00:27:00:00:01"
    assert workflow.current == Current("same", 1, "RUNNING")
    assert [action.seconds for action in workflow.actions] == [62, None]
    assert workflow.actions[1].started is None
    assert workflow.raw["spec"]["newKnob"] == {"kept": True}


@pytest.mark.parametrize("kind", [Hardware, Template, Workflow])
@pytest.mark.parametrize("obj", [{}, {"metadata": None, "spec": None, "status": None}, {"spec": [], "status": "x"}])
def test_strange_objects_read_as_empty(
    kind: type[Hardware] | type[Template] | type[Workflow], obj: dict[str, Any]
) -> None:
    seen = kind.of(obj)
    assert (seen.name, seen.uid, dict(seen.labels)) == ("", "", {})


def test_a_workflow_without_status_is_live_and_an_unknown_state_too() -> None:
    assert Workflow.of({"spec": {}}).live
    assert Workflow.of({"status": {"state": "AWAITING_CHECK_IN"}}).live
    assert Workflow.of({"spec": {"disabled": True}, "status": {"state": "RUNNING"}}).live
    assert not Workflow.of({"spec": {"disabled": True}}).live


def test_the_interface_is_chosen_by_mac_whatever_its_case() -> None:
    seen = hardware({"dhcp": {"mac": "AA:00:00:00:00:01"}}, {"dhcp": {"mac": "aa:00:00:00:00:02"}})
    assert seen.interface_for("AA:00:00:00:00:02") == 1
    assert seen.interface_for("aa:00:00:00:00:01") == 0
    assert seen.interface_for("aa:00:00:00:00:09") == 0
    assert seen.interface_for(None) == 0


def test_hardware_without_interfaces_is_told() -> None:
    with pytest.raises(PreflightError, match="no interfaces") as caught:
        hardware().interface_for("aa:00:00:00:00:02")
    assert caught.value.where == "Hardware n/h"


def test_netboot_absent_is_not_netboot_closed_but_neither_is_open() -> None:
    seen = hardware({}, {"netboot": {}}, {"netboot": {"allowPXE": True}}, {"netboot": {"allowPXE": False}})
    assert [one.has_netboot for one in seen.interfaces] == [False, True, True, True]
    assert [one.allow_pxe for one in seen.interfaces] == [None, None, True, False]
    assert [one.index for one in seen.open_interfaces()] == [2]


def test_flux_is_known_by_its_label_and_its_pause_by_the_annotation() -> None:
    managed = hardware(labels={FLUX_NAME: "infra"})
    assert managed.flux_managed and not managed.flux_paused
    paused = hardware(labels={FLUX_NAME: "infra"}, annotations={FLUX_RECONCILE: "disabled"})
    assert paused.flux_paused
    assert not hardware(labels={"app": "x"}).flux_managed


@pytest.mark.parametrize(
    "action",
    [
        {"name": "reboot"},
        {"name": "Reboot-into-OS"},
        {"name": "boot", "image": "quay.io/tinkerbell-actions/kexec:v1.0.0"},
        {"name": "end", "image": "alpine", "command": ["/bin/sh", "-c", "sync && reboot -f"]},
        {"name": "end", "image": "alpine", "command": ["sh", "-c", "echo b > /proc/sysrq-trigger"]},
        {"name": "end", "image": "alpine", "command": ["nsenter", "-t", "1", "-m", "--", "shutdown", "-r", "now"]},
        {"name": "end", "image": "alpine", "command": ["systemctl", "--force", "reboot"]},
        {"name": "end", "image": "alpine", "command": ["touch", "/worker/reboot"]},
        {"name": "end", "image": "alpine", "command": "/sbin/reboot"},
        {"name": "end", "image": "waitdaemon:1", "environment": {"IMAGE": "quay.io/x/reboot:1"}},
        {"name": "end", "image": "waitdaemon:1", "environment": {"IMAGE": "x"}, "command": ["reboot"]},
        {"name": "end", "image": "cexec:1", "environment": {"CMD_LINE": "sync; reboot"}},
    ],
)
def test_these_boot(action: Mapping[str, Any]) -> None:
    assert boots(action)


@pytest.mark.parametrize(
    "action",
    [
        {"name": "stream-image", "image": "image2disk"},
        {"name": "finish-no-reboot", "image": "x"},
        {"name": "cleanup-before-reboot", "image": "x"},
        {"name": "grub", "image": "cexec", "environment": {"CMD_LINE": "apt-get install -y kexec-tools reboot"}},
        {"name": "packages", "image": "x", "command": ["sh", "-c", "apt install kexec"]},
        {"name": "note", "image": "writefile", "environment": {"CONTENTS": "power_state: {mode: reboot}"}},
        {"name": "off", "image": "x", "command": ["shutdown", "-h", "now"]},
        {"name": "wait", "image": "waitdaemon", "environment": {"IMAGE": "quay.io/x/report:1"}},
        {},
    ],
)
def test_these_do_not_boot(action: Mapping[str, Any]) -> None:
    assert not boots(action)


def template(data: str) -> Template:
    return Template.of({"metadata": {"name": "t"}, "spec": {"data": data}})


PLAIN = """\
version: "0.1"
name: ubuntu
global_timeout: 1800
tasks:
  - name: "os"
    worker: "{{.device_1}}"
    volumes: [/dev:/dev]
    actions:
      - name: stream
        image: quay.io/tinkerbell/actions/image2disk:latest
        timeout: 600
        environment:
          DEST_DISK: {{ index .Hardware.Disks 0 }}
          IMG_URL: {{ .url }}/x.raw.gz
      - name: {{ .last }}
        image: "{{ .registry }}/reboot:1"
        timeout: 90
"""


def test_braces_do_not_break_the_reading() -> None:
    actions = template(PLAIN).actions
    assert [(action.name, action.task, action.image, action.timeout) for action in actions] == [
        ("stream", "os", "quay.io/tinkerbell/actions/image2disk:latest", 600),
        ("{{ .last }}", "os", "{{ .registry }}/reboot:1", 90),
    ]
    assert template(PLAIN).boot_action() == "{{ .last }}"


def test_lines_that_only_steer_are_passed_over() -> None:
    data = (
        PLAIN.replace("      - name: {{ .last }}", "      {{- if .efi }}\n      - name: {{ .last }}")
        + "      {{ end }}\n"
    )
    assert template(data).boot_action() == "{{ .last }}"


def test_what_is_no_yaml_is_read_by_its_lines() -> None:
    data = PLAIN.replace("version:", " version: [\nversion:") + "        command:\n          - reboot\n"
    actions = template(data).actions
    assert [action.name for action in actions] == ["stream", "{{ .last }}"]
    assert [action.timeout for action in actions] == [600, 90]
    assert template(data).boot_action() == "{{ .last }}"


def test_only_the_last_action_counts() -> None:
    data = PLAIN + "      - name: after\n        image: x\n        timeout: 1\n"
    assert [action.boots for action in template(data).actions] == [False, True, False]
    assert template(data).boot_action() is None


@pytest.mark.parametrize("data", ["", "tasks:", "tasks: 1", "- a", "{{", "tasks: [{actions: {}}]", "x: [\n"])
def test_templates_without_actions(data: str) -> None:
    assert template(data).actions == ()
    assert template(data).boot_action() is None

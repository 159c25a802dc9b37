"""The rules against what a real Tinkerbell v0.21.0 and its agent wrote."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from metalfoundry.commands.log_parser import AGENT, CONTROLLER, SERVER, SMEE, read_log
from metalfoundry.diagnosis.engine import judge
from metalfoundry.diagnosis.facts import Seen, about, split
from tests.diagnosis.cases import RECORDED, facts

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recordings are not here")

MAC, REC = "00:0c:29:73:03:4b", "00:0c:29:99:99:01"  # as recorded
HOOK = {"system": "hook", "cmdline": f"worker_id={REC} grpc_authority=10.77.0.2:42113 tink_worker_image=x"}
ENDED: dict[str, Any] = {"state": "FAILED", "actions": [["stream-image", "FAILED", {"ended": 3}]]}

AGENT_LOGS: list[tuple[str, dict[str, Any], str, str]] = [
    ("exit-code", ENDED, "exit-code", "got non 0 exit status"),
    (
        "action-timeout",
        ENDED | {"state": "TIMEOUT", "actions": [["stream-image", "TIMEOUT"]]},
        "action-timeout",
        "deadline",
    ),
    ("image-pull-denied", ENDED, "action-image", "pull access denied"),
    ("image-no-manifest", ENDED, "action-image", "manifest unknown"),
    ("image-no-space", ENDED, "no-space", "No such image"),
    ("no-docker", ENDED, "no-docker", "Cannot connect to the Docker daemon"),
    ("grpc-refused", {}, "grpc-unreachable", "connection refused"),
    ("grpc-no-such-host", {}, "grpc-unreachable", "zero addresses"),
    ("grpc-tls-mismatch", {}, "tls-mismatch", "first record does not look like a TLS handshake"),
    ("grpc-not-grpc", {}, "tls-mismatch", "error reading server preface"),
    ("no-workflow", {"agent": "00:0c:29:99:99:77"}, "wrong-agent-id", "No workflow found"),
    ("wrong-id", {}, "wrong-agent-id", "No workflow found"),
]


def recorded_agent(name: str, workflow: dict[str, Any] | str, **more: Any) -> Any:
    """The quiet world with a recorded agent log, seen two seconds after its last line."""
    lines = read_log(AGENT, (RECORDED / "agent" / f"{name}.log").read_text())
    last = lines[-1].time
    assert last is not None
    said = {
        "now": (last + timedelta(seconds=2)).isoformat(),
        "workflow": workflow,
        "logs": {AGENT: f"agent/{name}.log"},
    }
    return facts(said | {"configured": {"mac": REC}, "hardware": {"mac": REC}} | more)


@pytest.mark.parametrize(("name", "workflow", "expected", "line"), AGENT_LOGS, ids=[item[0] for item in AGENT_LOGS])
def test_an_agents_log_tells_its_failure(name: str, workflow: dict[str, Any], expected: str, line: str) -> None:
    other = {"mac": "00:0c:29:99:99:77"} if name == "wrong-id" else {"mac": REC}  # that run had another id
    found = judge(recorded_agent(name, {"agent": REC, **workflow}, configured=other, hardware=other))
    assert found[0].id == expected, [(item.id, item.what) for item in found]
    assert any(line in item.line for item in found[0].evidence)
    assert [item.id for item in found if item.certainty is found[0].certainty] == [expected]


def test_a_workflow_deleted_in_mid_run() -> None:
    found = judge(recorded_agent("deleted-mid-run", "absent", machine={"system": "hook", "uptime": 900}))
    assert [item.id for item in found] == ["workflow-replaced"]


def test_a_second_boot_with_a_finished_workflow_is_silence() -> None:
    old = {"name": "rec-twice", "state": "SUCCESS", "agent": REC, "actions": [["stream-image", "SUCCESS"]]}
    found = judge(recorded_agent("second-boot-after-success", {"agent": REC}, others=[old], machine=HOOK))
    assert found[0].id == "shadowed"
    assert "rec-twice" in found[0].remedy


def test_a_healthy_run_has_nothing_wrong() -> None:
    workflow = {"state": "SUCCESS", "agent": REC, "actions": [["stream-image", "SUCCESS", {"ended": 300}]]}
    found = judge(
        recorded_agent("healthy", workflow, machine={"system": "new", "uptime": 200, "macs": [REC]}, before="old")
    )
    assert [item.id for item in found] == ["installed"]


OBJECTS = [
    ("template-missing", "template-missing"),
    ("hardware-missing", "hardware-missing"),
    ("map-key-missing", "map-key-missing"),
    ("bad-yaml", "template-broken"),
    ("invalid-image", "template-broken"),
    ("two-actions-same-name", "template-broken"),
    ("no-bmc", "no-bmc"),
    ("disabled", "workflow-disabled"),
    ("TIMEOUT", "action-timeout"),
    ("FAILED", "action-failed"),
    ("PENDING", "pxe-closed"),
    ("PENDING-action-sent", "pxe-closed"),
    ("RUNNING-first-action", "in-progress"),
    ("RUNNING-between-actions", "in-progress"),
    ("RUNNING-last-action", "boot-action-running"),
]


@pytest.mark.parametrize(("name", "expected"), OBJECTS)
def test_an_object_in_each_state(name: str, expected: str) -> None:
    now = facts({"workflow": f"workflow-{name}"})
    workflow = now.workflow
    assert isinstance(workflow, Seen) and workflow.value
    created = datetime.fromisoformat(workflow.value.meta.created)
    agent = workflow.value.agent_id
    world = replace(
        facts({"workflow": f"workflow-{name}", "hardware": {"mac": agent or MAC}}), now=created + timedelta(seconds=20)
    )
    assert judge(world)[0].id == expected


def test_the_control_planes_log_falls_apart_into_its_sources() -> None:
    lines = read_log(SMEE, (RECORDED / "tinkerbell" / "one-provision.jsonl").read_text())
    by_source = split(about(lines, [MAC, "10.77.0.11", "colo-server-01-ubuntu"]))
    assert {SERVER, CONTROLLER, SMEE, "action"} <= set(by_source)
    assert all(line.host == MAC for line in by_source[SERVER])
    assert {line.host for line in by_source["action"]} == {"10.77.0.11"}
    assert not any("anvil" in line.raw for line in by_source[CONTROLLER])


def test_smees_denial_is_found_by_the_base64_of_the_mac() -> None:
    lines = read_log(SMEE, (RECORDED / "tinkerbell" / "every-kind-of-line.jsonl").read_text())
    denials = [line for line in about(lines, [MAC]) if "does not allow it to pxe" in line.text]
    assert [line.host for line in denials] == [MAC]
    world = facts({"now": "2026-11-23T01:21:00+00:00", "hardware": {"mac": MAC}, "workflow": {"agent": MAC}})
    found = judge(replace(world, logs={**world.logs, SMEE: Seen(tuple(denials))}))
    assert [item.id for item in found] == ["pxe-closed"]
    assert '"client":"AAwpcwNL"' in found[0].evidence[0].raw

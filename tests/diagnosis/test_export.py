"""A diagnosis as JSON: a stable schema, and no secret in it."""

from __future__ import annotations

import json
from dataclasses import replace

from metalfoundry.commands.loglines import AGENT, read_log
from metalfoundry.diagnosis import export
from metalfoundry.diagnosis.facts import FIELDS, Seen
from metalfoundry.diagnosis.judge import judge
from tests.diagnosis.cases import facts, load

SECRET = "hunter2"


def test_the_schema_of_what_was_found() -> None:
    world = facts({})
    value = json.loads(json.dumps(export.found(world, judge(world))))
    assert set(value) == {"schema", "server", "time", "exit_code", "findings", "witnesses", "not_seen"}
    assert set(value["witnesses"]) == {"tinkerbell", "machine", "agree", "verdict"}
    assert set(value["findings"][0]) == {
        *("id", "certainty", "stage", "what", "evidence", "remedy", "advice", "exit_code", "numbers", "link"),
    }
    assert set(value["findings"][0]["evidence"][0]) == {"source", "time", "line", "raw"}
    assert (value["schema"], value["exit_code"], value["findings"][0]["id"]) == (1, 30, "pxe-closed")
    assert value["not_seen"]["machine"] == "SSH is silent"


def test_every_case_can_be_told_in_json() -> None:
    for case in load():
        assert set(FIELDS) < set(json.loads(json.dumps(export.gathered(case.facts))))


def test_a_planted_secret_is_in_no_part_of_a_bundle() -> None:
    actions = [["stream-image", "FAILED", {"environment": {"REGISTRY_PASSWORD": SECRET}}]]
    world = facts(
        {
            "workflow": {"state": "FAILED", "actions": actions, "spec": {"hardwareMap": {"root_password": SECRET}}},
            "template": f"name: t\nusers:\n- passwd: {SECRET}\n",
            "machine": {"system": "hook", "cmdline": f"worker_id=x grpc_authority=y registry_password={SECRET}"},
            "hardware": {"spec": {"userData": f"#cloud-config\npassword: {SECRET}\n", "metadata": {"token": SECRET}}},
        }
    )
    text = f'{{"msg":"error executing action","error":"login with password={SECRET}: got non 0 exit status"}}'
    world = replace(world, logs={**world.logs, AGENT: Seen(read_log(AGENT, text))})
    parts = [export.found(world, judge(world, all=True)), export.gathered(world), export.logs(world)]
    assert "got non 0 exit status" in json.dumps(parts[0])
    for part in parts:
        assert SECRET not in json.dumps(part)
        assert "[hidden]" in json.dumps(part)

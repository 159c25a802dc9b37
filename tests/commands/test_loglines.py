"""Lines of every release of Tinkerbell read alike, however that release names its fields."""

from __future__ import annotations

import json
from typing import Any

import pytest

from metalfoundry.commands.log_parser import ACTION, AGENT, SMEE, WEB, LogLine, read_line

MAC, ADDRESS = "52:54:00:a1:b2:c3", "192.0.2.21"


def line(**fields: Any) -> LogLine:
    return read_line(WEB, json.dumps({"time": "2026-11-23T02:00:00Z", **fields}))


@pytest.mark.parametrize("name", ["logEntry", "syslog"])
def test_a_machines_syslog_is_read_under_either_name(name: str) -> None:
    entry = {"app-name": "tinkerbell_write-files", "host": ADDRESS, "msg": "no such disk"}
    found = line(logger="smee", msg="syslog message received", **{name: entry})
    assert (found.source, found.host, found.text) == (ACTION, ADDRESS, "tinkerbell_write-files: no such disk")


@pytest.mark.parametrize("name", ["logEntry", "syslog"])
@pytest.mark.parametrize("nested", [True, False])
def test_an_agents_own_json_is_read_as_text_and_as_an_object(name: str, nested: bool) -> None:
    own = {"msg": "received action", "agentID": MAC, "action": {"id": "a-1", "name": "write-files"}}
    entry = {"app-name": "0a1b2c3d4e5f", "host": ADDRESS, "msg": own if nested else json.dumps(own)}
    found = line(logger="smee", msg="syslog message received", **{name: entry})
    assert (found.source, found.get("action", "id")) == (AGENT, "a-1")


@pytest.mark.parametrize(
    "fields",
    [
        {"logger": "smee", "uri": f"/{MAC}/auto.ipxe", "status": 404},
        {"logger": "smee", "uri": f"/ipxe/script/{MAC}/auto.ipxe", "status": 404},
        {"logger": "http", "uri": "/ipxe/script/52%3A54%3A00%3Aa1%3Ab2%3Ac3/auto.ipxe", "code": 404},
        {"logger": "http", "uri": "/ipxe/script/52%3a54%3a00%3aA1%3aB2%3aC3/auto.ipxe", "code": 404},
    ],
)
def test_an_answer_of_smee_names_the_machine_and_its_status(fields: dict[str, Any]) -> None:
    found = line(msg="response", method="GET", client=ADDRESS, **fields)
    assert (found.source, found.host, found.get("status")) == (SMEE, MAC, "404")
    assert found.text.lower().endswith(f"{MAC}/auto.ipxe from {ADDRESS}: 404")


def test_a_code_that_is_no_http_status_stays_what_it_is() -> None:
    assert line(logger="tink-server", msg="failed", code="Unavailable").get("status") == ""

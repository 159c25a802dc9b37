"""What tasks print with --json, as they print it, against its schema under docs/schema."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from jsonschema import Draft202012Validator

from metalfoundry import Foundry
from metalfoundry.lab.lab import Lab
from metalfoundry.model.inventory import Server
from metalfoundry.runs.attach import Followed
from metalfoundry.ui.output.live import PlainLines
from metalfoundry.ui.tasks.runs import attach
from tests.lab.bench import NAME, SPEED, call
from tests.waiting import until

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schema"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab"), speed=SPEED, each={"anvil": "action-fails"}) as lab:
        yield lab


def closed(schema: Any) -> Any:
    """The schema without room for fields that it does not name."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "anyOf" not in schema:
        schema.setdefault("additionalProperties", False)
    return schema


def check(name: str, document: Any) -> None:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    Draft202012Validator(schema if name == "event" else closed(schema)).validate(document)


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_run_from_plan_to_report(lab: Lab) -> None:
    events = lab.folder / "events.jsonl"
    check("plan", json.loads(call(lab, "provision", NAME, "--plan", "--json").stdout))
    check("plan", json.loads(call(lab, "provision", "all", "--plan", "--json").stdout))
    done = json.loads(call(lab, "provision", NAME, "--yes", "--json", "--events", str(events)).stdout)
    assert done["verdict"] == "provisioned"
    check("report", done)
    check("report", json.loads(call(lab, "report", NAME, "--json").stdout))
    check("runs", json.loads(call(lab, "runs", "--json").stdout))
    for record in lines(events.read_text()):
        check("event", record)


def test_a_failure_and_its_diagnosis(lab: Lab) -> None:
    failed = call(lab, "provision", "anvil", "--yes", "--json")
    assert failed.returncode == 31, failed.stderr
    check("report", json.loads(failed.stdout))
    several = json.loads(call(lab, "provision", f"anvil,{NAME}", "--yes", "--json").stdout)
    assert several["not_begun"] == [NAME]
    check("report", several)
    check("diagnosis", json.loads(call(lab, "troubleshoot", "anvil", "--json").stdout))
    check("diagnosis", json.loads(call(lab, "troubleshoot", "all", "--json").stdout))
    printed = lines(call(lab, "logs", "anvil", "--json").stdout)
    assert printed
    for line in printed:
        check("line", line)


def test_what_stands_where(lab: Lab) -> None:
    assert call(lab, "netboot.open", NAME, "--yes").returncode == 0
    for words in (["status"], ["status", "--probe", NAME]):
        shown = json.loads(call(lab, *words, "--json").stdout)
        check("status", shown)
        for row in shown["servers"]:
            check("server", row)
    check("netboot", json.loads(call(lab, "netboot.status", "--json").stdout))
    audit = json.loads(call(lab, "netboot.audit", "--json").stdout)
    assert audit["windows"]
    check("audit", audit)

    def told() -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(call(lab, "guard.status", "--json").stdout)
        return answer

    until(lambda: all(one["guard"] for one in told()["claims"]))  # it acknowledges what the opening has renewed
    guard = told()
    assert guard["guard"]["state"] == "guarding"
    assert [one["guard"] for one in guard["claims"]] == [guard["guard"]["guard"]]
    check("guard", guard)
    assert call(lab, "netboot.close", NAME).returncode == 0
    assert call(lab, "guard.stop").returncode == 0
    check("guard", json.loads(call(lab, "guard.status", "--json").stdout))


def test_the_end_of_a_run_that_was_followed(capsys: pytest.CaptureFixture[str]) -> None:
    ended = Followed("20260102T030405Z-anvil-7f3a9c01", "kevin@laptop", "SUCCESS", True)
    foundry = cast(Foundry, SimpleNamespace(attach=lambda name: ended))
    assert attach(foundry, [Server(name="anvil", hardware="anvil")], PlainLines(), json=True) == 0
    check("end", json.loads(capsys.readouterr().out))


def test_an_error(lab: Lab) -> None:
    check("error", json.loads(call(lab, "status", "nobody", "--json").stdout))


def test_a_field_that_is_missing_or_not_listed_is_found(lab: Lab) -> None:
    shown = json.loads(call(lab, "netboot.status", "--json").stdout)
    spoils: list[Callable[[dict[str, Any]], object]] = [
        lambda row: row.pop("run"),
        lambda row: row.update(more=1),
        lambda row: row.update(expired="no"),
    ]
    for spoil in spoils:
        spoilt = copy.deepcopy(shown)
        spoil(spoilt["servers"][0])
        with pytest.raises(Exception, match=r"run|more|expired"):
            check("netboot", spoilt)

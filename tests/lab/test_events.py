"""The events of every scenario of the lab: valid, paired, in the order of time, and without secrets."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from metalfoundry import Foundry
from metalfoundry.lab.lab import Lab
from metalfoundry.lab.scenarios import SCENARIOS
from metalfoundry.model import events
from metalfoundry.model.events import (
    SCHEMA,
    ActionEnded,
    ActionStarted,
    CommandEnded,
    CommandStarted,
    Event,
    HookEnded,
    HookStarted,
    PhaseEnded,
    PhaseSkipped,
    PhaseStarted,
    Record,
    Retried,
    RunEnded,
    RunStarted,
)
from tests.lab.bench import NAME, SPEED, Ran, clean, hardware, provision
from tests.lab.client import until

SECRET = "hunter2-is-no-password"
TYPES: Mapping[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (float, int), "bool": (bool,)}
PAIRS: Sequence[tuple[type[Event], type[Event], tuple[str, ...]]] = (
    (RunStarted, RunEnded, ()),
    (PhaseStarted, PhaseEnded, ("title",)),
    (CommandStarted, CommandEnded, ("host",)),
    (ActionStarted, ActionEnded, ("action", "index")),
    (HookStarted, HookEnded, ("hook",)),
)

pytestmark = pytest.mark.timeout(400)  # all scenarios run before the first test


def run(lab: Lab, name: str) -> Ran:
    ran = Ran()
    with Foundry.load(lab.inventory, sinks=[ran]) as foundry:
        ran.report = foundry.provision(name)
        # A look at a machine may be under way when the run ends; it is over within its own seconds.
        until(lambda: len(ran.each(CommandStarted)) == len(ran.each(CommandEnded)), 70)
    return ran


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Ran]]:
    names = tuple(SCENARIOS)
    with Lab(tmp_path_factory.mktemp("rack"), speed=SPEED, servers=names, each={name: name for name in names}) as lab:
        known = yaml.safe_load(lab.inventory.read_text())
        known["timeouts"] = {"netboot": "4s", "install": "8s", "boot": "4s", "verify": "2s"}
        known["hooks"] = {"opened": "true", "failed": "exit 3"}
        lab.inventory.write_text(yaml.safe_dump(known))
        path = lab.folder / "workflows.yaml"
        documents = list(yaml.safe_load_all(path.read_text()))
        for document in documents:
            document["spec"]["hardwareMap"]["root_password"] = SECRET
        path.write_text(yaml.safe_dump_all(documents))
        with ThreadPoolExecutor(8) as pool:
            yield dict(zip(names, pool.map(lambda name: run(lab, name), names), strict=True))


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_start_has_its_end_after_it(told: dict[str, Ran], name: str) -> None:
    for start, end, fields in PAIRS:
        under_way: list[tuple[Any, ...]] = []
        for event in told[name].events:
            if isinstance(event, start):
                under_way.append(tuple(getattr(event, field) for field in fields))
            elif isinstance(event, end):
                under_way.remove(tuple(getattr(event, field) for field in fields))  # ValueError: without a start
        assert under_way == [], start


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_record_is_valid_json_of_the_schema_and_in_the_order_of_time(told: dict[str, Ran], name: str) -> None:
    records = told[name].records
    lines = [json.loads(json.dumps(record.to_json())) for record in records]
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    for line in lines:
        assert line["schema"] == SCHEMA
        assert datetime.fromisoformat(line["time"]).tzinfo is not None
        kind = getattr(events, line["event"])
        hints = {field.name: str(field.type) for field in dataclasses.fields(kind)}
        own = {"schema", "time", "run", "server", "phase", "event"}
        assert set(line) == own | set(hints)
        for field, hint in hints.items():
            assert (line[field] is None and "None" in hint) or isinstance(line[field], TYPES[hint.split(" ")[0]]), line
    seconds = [value for line in lines for key, value in line.items() if key == "seconds"]
    assert all(0 <= value < 300 for value in seconds)
    (run_id,) = {line["run"] for line in lines}
    assert f"-{name}-" in run_id
    assert {line["server"] for line in lines} == {name}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_run_begins_and_ends_with_its_own_events_and_phases_carry_their_name(told: dict[str, Ran], name: str) -> None:
    ran = told[name]
    assert isinstance(ran.events[0], RunStarted)
    end = next(at for at, event in enumerate(ran.events) if isinstance(event, RunEnded))
    assert {type(event) for event in ran.events[end + 1 :]} <= {CommandEnded}
    assert ran.each(RunEnded) == [ran.events[end]]
    assert ran.json["exit_code"] == ran.events[end].exit_code  # type: ignore[attr-defined]
    for record in ran.records:
        if isinstance(record.event, PhaseStarted | PhaseEnded | PhaseSkipped):
            assert record.phase == record.event.title


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_secret_is_told(told: dict[str, Ran], name: str) -> None:
    text = json.dumps([record.to_json() for record in told[name].records])
    assert SECRET not in text
    assert "PRIVATE KEY" not in text


def test_the_document_with_the_secret_was_shown_without_it(told: dict[str, Ran]) -> None:
    said = [event.text for event in told["installs"].each(CommandStarted)]  # type: ignore[attr-defined]
    assert [text for text in said if "root_password: '[hidden]'" in text or "root_password: [hidden]" in text]


def test_a_line_that_is_lost_is_told_as_a_retry_of_its_run(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", speed=SPEED) as lab:
        before = hardware(lab)

        def scissors(record: Record) -> None:
            if isinstance(record.event, CommandStarted) and record.phase == "Preflight" and not cut:
                cut.append(1)
                threading.Timer(0.3, lab.jump.cut_links).start()

        cut: list[int] = []
        assert lab.door is not None
        lab.door.faults.delay = 1.0
        ran = provision(lab, at=scissors)
        assert ran.json["exit_code"] == 0, ran.json["error"]
        retries = [record for record in ran.records if isinstance(record.event, Retried)]
        assert retries
        assert {(record.run, record.server, record.phase) for record in retries} == {
            (ran.json["run"], NAME, "Preflight")
        }
        assert clean(lab, before)


def test_a_sink_that_raises_does_not_end_a_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken(record: Record) -> None:
        raise RuntimeError("a fault of its own")

    with Lab(tmp_path / "lab", speed=SPEED) as lab:
        before = hardware(lab)
        ran = provision(lab, at=broken)
        assert ran.json["exit_code"] == 0, ran.json["error"]
        assert clean(lab, before)
    assert [entry.getMessage() for entry in caplog.records].count(
        "a sink of events failed and is dropped: RuntimeError('a fault of its own')"
    ) == 1

"""The bus and its promises; and docs/events.md against the events."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import runpy
import typing
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from metalfoundry.model import events
from metalfoundry.model.bus import Bus, Sink
from metalfoundry.model.errors import Terminated
from metalfoundry.model.events import SCHEMA, Event, Notice, PhaseStarted, Record, Retried

ROOT = Path(__file__).parents[2]
PAGE = (Path(__file__).parents[2] / "docs/events.md").read_text(encoding="utf-8")
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
KINDS = [
    kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
]


def written(kind: typing.Any) -> str:
    return ", ".join(TYPES[one] for one in typing.get_args(kind) or (kind,))


def rows() -> list[list[str]]:
    table = PAGE.split("| event | field | type | what it says |\n|---|---|---|---|\n")[1]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_the_page_lists_every_event_and_every_field_with_its_type_and_meaning() -> None:
    listed: dict[str, dict[str, str]] = {}
    for event, field, kind, meaning in rows():
        assert meaning, (event, field)
        if event:
            assert event not in listed
            listed[event] = {}
        else:
            listed[list(listed)[-1]][field] = kind
    assert listed == {
        kind.__name__: {name: written(hint) for name, hint in typing.get_type_hints(kind).items()} for kind in KINDS
    }


@pytest.mark.parametrize("page", ["events.md", "lab.md"])
def test_the_page_is_as_make_docs_writes_it(page: str) -> None:
    script = runpy.run_path(str(ROOT / "scripts/docs.py"))
    assert script["written"](page) == (ROOT / "docs" / page).read_text(encoding="utf-8")


def test_the_page_lists_what_every_record_has() -> None:
    head = PAGE.split("| event | field |")[0]
    listed = re.findall(r"^\| `(\w+)` \| (\w+) \|", head, re.MULTILINE)
    record = Record(NOW, Notice("x"), "r", "s", "p").to_json()
    own = {field.name for field in dataclasses.fields(Notice)}
    assert listed == [(name, TYPES[type(value)]) for name, value in record.items() if name not in own]
    assert f"`schema` | integer | {SCHEMA} |" in head


def test_the_pages_example_is_a_record() -> None:
    (text,) = re.findall(r"^    (\{.*?\})$", PAGE, re.MULTILINE | re.DOTALL)
    line = json.loads(text)
    kind = getattr(events, line["event"])
    event = kind(**{field.name: line[field.name] for field in dataclasses.fields(kind)})
    record = Record(datetime.fromisoformat(line["time"]), event, line["run"], line["server"], line["phase"])
    assert record.to_json() == line


@pytest.mark.parametrize("kind", KINDS)
def test_no_event_has_a_field_of_the_records_own(kind: type[Event]) -> None:
    own = {"schema", "time", "run", "server", "phase", "event"}
    assert {field.name for field in dataclasses.fields(kind)} & own == set()


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), SystemExit("No space left"), GeneratorExit("No space left")]
)
def test_a_sink_that_raises_is_dropped_and_logged_once(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Record] = []

    def broken(record: Record) -> None:
        raise error

    bus = Bus(lambda: NOW, [broken, lambda record: heard.append(record)])
    with caplog.at_level(logging.WARNING):
        for text in ("one", "two", "three"):
            bus.emit(Notice(text))
    assert [record.event for record in heard] == [Notice("one"), Notice("two"), Notice("three")]
    assert len(caplog.records) == 1
    assert "No space left" in caplog.records[0].getMessage()


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), Terminated(15)])
def test_an_interrupt_in_a_sink_comes_out_when_all_have_heard(interrupt: KeyboardInterrupt) -> None:
    heard: list[Record] = []

    def interrupted(record: Record) -> None:
        raise interrupt

    bus = Bus(lambda: NOW, [interrupted, lambda record: heard.append(record)])
    with pytest.raises(KeyboardInterrupt) as caught:
        bus.emit(Notice("x"))
    assert caught.value is interrupt
    assert [record.event for record in heard] == [Notice("x")]
    assert len(bus.sinks) == 2


def test_sinks_come_and_go_in_turn_so_that_no_run_loses_anothers() -> None:
    class Turn:
        held = False

        def __enter__(self) -> None:
            self.held = True

        def __exit__(self, *error: object) -> None:
            self.held = False

    class Sinks(list[Sink]):
        def extend(self, more: Iterable[Sink]) -> None:
            assert turn.held
            super().extend(more)

    heard: list[Record] = []

    def hear(record: Record) -> None:
        heard.append(record)

    turn = Turn()
    bus = Bus(lambda: NOW, Sinks(), turn=turn)
    bus.add(hear)
    bus.emit(Notice("hello"))
    assert len(heard) == 1


def test_a_record_is_of_the_phase_that_its_run_has_entered_whichever_bus_it_comes_by() -> None:
    heard: list[Record] = []
    bus = Bus(lambda: NOW, [lambda record: heard.append(record)])
    one, other = bus.scoped(run="r1", server="anvil"), bus.scoped(run="r2", server="forge")
    one.enter("Boot")
    for each in (bus.scoped(run="r1"), other, bus):
        each.emit(Notice("x"))
    one.enter("")
    one.emit(PhaseStarted("Close"))
    assert [record.phase for record in heard] == ["Boot", "", "", ""]


def test_what_befalls_a_line_is_told_to_every_run_that_goes_over_it() -> None:
    heard: list[Record] = []
    bus = Bus(lambda: NOW + timedelta(seconds=len(heard)), [lambda record: heard.append(record)])
    bus.broadcast(Retried("jump", "cut", 0.2))
    for run, server in (("r1", "anvil"), ("r2", "forge"), ("r3", "hammer")):
        bus.scoped(run=run, server=server).enter("Install")
    bus.scoped(run="r3", server="hammer").enter("")
    bus.broadcast(Retried("jump", "cut", 0.4))
    bus.broadcast(Retried("forge", "cut", 0.4), "forge")
    told = [(record.run, record.server, record.phase) for record in heard]
    assert told == [("", "", ""), ("r1", "anvil", "Install"), ("r2", "forge", "Install"), ("r2", "forge", "Install")]

"""Recorded runs: read back, drawn on the terminal, and as the history that tells the time left."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metalfoundry.model import events
from metalfoundry.model.errors import UsageError
from metalfoundry.model.events import CommandStarted, Event, Resumed, RunEnded
from metalfoundry.model.foreign import FIRST_YEAR, LAST_YEAR
from metalfoundry.records.estimate import KeptHistory, PastRun
from metalfoundry.records.recorded_run import recorded
from metalfoundry.records.run_state import record_of, told
from metalfoundry.records.run_store import Journal
from metalfoundry.ui.output.report_text import lines_of
from metalfoundry.ui.output.timeline import clock, joined, span, strips, timeline
from tests.ui.tale import Tale, failed, last, provisioned

TIMES = st.datetimes(timezones=st.just(UTC)).filter(lambda time: FIRST_YEAR <= time.year < LAST_YEAR)


def keep(base: Path, tale: Tale, **report: object) -> None:
    """As a run leaves it behind; without a report it was killed."""
    journal = Journal(base)
    for record in tale.records:
        journal(record)
    if report:
        steps = [(step.title, step.seconds(tale.now)) for step in told(tale.records).phases]
        phases = [{"title": title, "outcome": "done", "said": "", "seconds": seconds} for title, seconds in steps]
        actions = [{"name": "stream-image", "seconds": 85.0}, {"name": "write-netplan", "seconds": 20.0}]
        kept = {"server": tale.server, "phases": phases, "actions": actions}
        journal.save(tale.records[0].run, kept | report)
    journal.close()


def text(base: Path, wanted: str, width: int = 100) -> str:
    return "\n".join(joined(lines_of(part, width)) for part in recorded(base, wanted))


def test_a_run_is_found_by_its_id_and_by_its_servers_name(tmp_path: Path) -> None:
    keep(tmp_path, provisioned("anvil"), verdict="provisioned")
    assert "anvil  provisioned after 5:00" in text(tmp_path, "anvil")
    assert text(tmp_path, provisioned("anvil").run) == text(tmp_path, "anvil")
    with pytest.raises(UsageError, match="there is no run bellows"):
        recorded(tmp_path, "bellows")


def test_the_report_has_the_picture_the_error_and_the_commands(tmp_path: Path) -> None:
    error = {"what": "the Workflow failed", "where": "Workflow w", "next": "fab troubleshoot anvil", "evidence": "a\nb"}
    machine = {"before": {"os_name": "Debian 11", "boot_id": "b-1"}, "after": {"os_name": "Ubuntu", "boot_id": "b-2"}}
    keep(tmp_path, failed(), verdict="failed", error=error, netboot={"closed": True}, machine=machine)
    shown = text(tmp_path, "anvil")
    for words in (
        "anvil  failed after 1:41",
        "new disk",
        "netboot is closed; it was open for 1:31",
        "error: the Workflow failed",
        "where: Workflow w",
        "proof: b",
        "now:   fab troubleshoot anvil",
        "✗ Install",
        "✗ 1/2 stream-image",
        "Debian 11 → Ubuntu",
        "1 commands",
        "read    jump: kubectl get",
    ):
        assert words in shown, words


def test_a_client_that_was_killed_leaves_a_report_without_an_end(tmp_path: Path) -> None:
    keep(tmp_path, Tale().did("Preflight", 2).did("Claim", 1))
    shown = text(tmp_path, "anvil")
    assert "anvil  no end after 3.0 s" in shown and "✓ Claim" in shown and "netboot: not recorded" in shown


def test_a_run_that_took_another_one_up_has_both_parts(tmp_path: Path) -> None:
    keep(tmp_path, Tale().did("Preflight", 2).did("Boot", 7))
    second = Tale()
    second.now += timedelta(seconds=60)
    second.did("Preflight", 1, Resumed(second.run, "kevin@laptop", "", "Boot")).said(RunEnded("provisioned", 0, 1.0))
    for place, record in enumerate(second.records):
        second.records[place] = type(record)(record.time, record.event, "20260102T030505Z-anvil-0badcafe", "anvil")
    keep(tmp_path, second, verdict="provisioned", resumes=second.run)
    assert [part.verdict for part in recorded(tmp_path, "anvil")] == ["no end", "provisioned"]
    assert text(tmp_path, "anvil").index("✓ Boot") < text(tmp_path, "anvil").index("anvil  provisioned")


def test_looks_that_are_repeated_are_listed_once(tmp_path: Path) -> None:
    look = CommandStarted("anvil", "cat /etc/os-release", "read", waiting=True)
    keep(tmp_path, Tale().did("Boot", 2, look, look, look, CommandStarted("anvil", "reboot", "write")))
    (part,) = recorded(tmp_path, "anvil")
    assert [event.text for _, event in part.commands()] == ["cat /etc/os-release", "reboot"]


@pytest.mark.parametrize("width", [40, 60, 100, 160])
def test_pictures_fit_their_terminal(width: int) -> None:
    story = told(failed("a-server-with-a-very-long-name").records)
    lines = [*timeline(story, last(failed().records), width), *strips([story, story], last(failed().records), width)]
    assert max(line.cell_len for line in lines) <= width


def test_the_timeline_puts_each_bar_where_its_time_was() -> None:
    tale = provisioned()
    lines = {line.plain[2:].split("  ")[0]: line.plain for line in timeline(told(tale.records), tale.now, 100)}
    bar = lines["Boot"].index("█"), lines["Boot"].count("█")
    start = 21  # where the bars' column begins, after the longest label
    assert abs(bar[0] - start - 60 * 5 / 300) <= 1 and bar[1] == 18
    assert lines["Clean up"].endswith("-") and "█" not in lines["Clean up"]
    assert lines["netboot open"].count("▒") == 18


@pytest.mark.parametrize(
    ("seconds", "said", "clocked"),
    [(0, "0.0 s", "0:00"), (59.94, "59.9 s", "0:59"), (59.96, "0:59", "0:59"), (3725, "1:02:05", "1:02:05")],
)
def test_spans_are_said_as_people_say_them(seconds: float, said: str, clocked: str) -> None:
    assert (span(seconds), clock(seconds)) == (said, clocked)


def test_history_is_of_the_template_and_of_the_server_first(tmp_path: Path) -> None:
    history = KeptHistory(tmp_path)
    assert history.runs("anvil", "ubuntu-2404") == []
    keep(tmp_path, provisioned("bellows"), verdict="provisioned")
    assert len(history.runs("anvil", "ubuntu-2404")) == 1
    keep(tmp_path, provisioned("anvil"), verdict="provisioned")
    (own,) = history.runs("anvil", "ubuntu-2404")
    assert own.phases["Install"] == 104.0 and own.actions["write-netplan"] == 20.0
    assert history.runs("anvil", "debian-12") == []


def test_a_run_that_failed_or_was_taken_up_is_no_history() -> None:
    assert PastRun.of({"verdict": "failed"}) is None
    assert PastRun.of({"verdict": "provisioned", "resumes": "r1"}) is None
    assert PastRun.of({"verdict": "provisioned", "phases": [{"title": "Boot", "seconds": 2}]}) == PastRun(
        {"Boot": 2}, {}
    )


def kinds() -> list[type[Event]]:
    return [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)]


@given(st.sampled_from(kinds()).flatmap(st.from_type), st.text(), TIMES)
def test_what_a_record_says_in_json_is_read_back(event: Event, phase: str, time: datetime) -> None:
    record = events.Record(time.replace(microsecond=0), event, "r1", "anvil", phase)
    line = json.loads(json.dumps(record.to_json() | {"a field of tomorrow": 1}))
    back = record_of(line)
    assert back is not None and json.dumps(back.to_json()) == json.dumps(record.to_json())


@pytest.mark.parametrize("line", [{}, {"event": "NoSuch"}, {"event": "Bus"}, {"event": "Notice"}, {"event": "SCHEMA"}])
def test_what_is_no_event_is_passed_over(line: dict[str, str]) -> None:
    assert record_of(line | {"time": "2026-01-02T03:04:05Z"}) is None

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from metalfoundry.model.errors import ClaimedError, Interrupted, NeverInstalled, PreflightError, UnsafeError
from metalfoundry.model.events import (
    ActionEnded,
    ActionStarted,
    CommandStarted,
    Event,
    PhaseEnded,
    PhaseSkipped,
    Record,
)
from metalfoundry.records.run_state import Story
from metalfoundry.runs.report import Netboot, Report, report_of, verdict_of
from metalfoundry.site.proof import Proof

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
PROOF = Proof("2026-01-02T03:04:05Z", "allowPXE false at resourceVersion 9", {"/m/auto.ipxe": 404})
CLOSED = Netboot(True, PROOF)
KEYS = {
    "machine",
    "resumes",
    "schema", "run", "server", "verdict", "exit_code", "error", "netboot", "phases", "actions", "remote_commands",
    "diagnosis", "disk",
    "seconds",
}  # fmt: skip


def recorded(*events: Event, run: str = "r1") -> Story:
    story = Story("r1", "anvil")
    for event in events:
        story(Record(NOW, event, run, "anvil", "Boot"))
    return story


def report(error: Exception | None = None, netboot: Netboot = CLOSED, *events: Event) -> Report:
    return report_of(recorded(*events), error, netboot, 1.23456)


def test_a_good_run() -> None:
    seen = report(
        None,
        CLOSED,
        PhaseEnded("Preflight", 0.2004, said="all is there"),
        PhaseSkipped("Clean up", "nothing old"),
        ActionStarted("a1", 1, 2, 300.0),
        ActionEnded("a1", 1, "SUCCESS", 7.00049),
        ActionStarted("a2", 2, 2, 90.0),
        CommandStarted("jump", "kubectl get", "read"),
        CommandStarted("jump", "kubectl get -w", "read", waiting=True),
        CommandStarted("jump", "kubectl patch", "write"),
    ).to_json()
    assert set(seen) == KEYS
    assert json.loads(json.dumps(seen)) == seen
    assert {key: seen[key] for key in ("schema", "run", "server", "verdict", "exit_code", "error")} == {
        "schema": 1, "run": "r1", "server": "anvil", "verdict": "provisioned", "exit_code": 0, "error": None,
    }  # fmt: skip
    assert seen["netboot"] == {
        "closed": True,
        "closed_at": PROOF.at,
        "proof": {"hardware": PROOF.hardware, "smee": {"/m/auto.ipxe": 404}},
    }
    assert seen["phases"] == [
        {"title": "Preflight", "outcome": "done", "said": "all is there", "seconds": 0.2},
        {"title": "Clean up", "outcome": "skipped", "said": "nothing old", "seconds": 0.0},
    ]
    started = "2026-01-02T03:04:05.678+00:00"
    assert seen["actions"] == [
        {"name": "a1", "index": 1, "total": 2, "timeout": 300.0, "state": "SUCCESS", "started": started, "seconds": 7},
        {"name": "a2", "index": 2, "total": 2, "timeout": 90.0, "state": "RUNNING", "started": started,
         "seconds": None},
    ]  # fmt: skip
    assert (seen["remote_commands"], seen["seconds"]) == (2, 1.235)


@pytest.mark.parametrize(
    ("error", "verdict", "code"),
    [
        (NeverInstalled("no", where="w", next="n", evidence="e"), "failed", 30),
        (Interrupted("interrupted"), "interrupted", 130),
        (Interrupted("terminated", signal=15), "interrupted", 143),
        (UnsafeError("open"), "unsafe", 40),
        (ZeroDivisionError("bug"), "failed", 1),
    ],
)
def test_verdict_and_exit_code_follow_the_error(error: Exception, verdict: str, code: int) -> None:
    seen = report(error, CLOSED, PhaseEnded("Boot", 1.0, error="no"))
    assert (seen.verdict, seen.exit_code) == (verdict, code)
    assert seen.phases[0]["outcome"] == "failed"
    assert set(seen.to_json()["error"]) == {"what", "where", "next", "evidence"}


@pytest.mark.parametrize(
    ("error", "claimed", "verdict"),
    [
        (PreflightError("no"), False, "refused"),
        (ClaimedError("held"), False, "refused"),
        (ClaimedError("lost"), True, "failed"),
        (NeverInstalled("no"), False, "failed"),
        (Interrupted("interrupted"), False, "interrupted"),
        (UnsafeError("open"), False, "unsafe"),
        (ZeroDivisionError("bug"), False, "failed"),
        (None, True, "provisioned"),
    ],
)
def test_a_run_that_never_held_the_server_was_refused(error: Exception | None, claimed: bool, verdict: str) -> None:
    assert verdict_of(error, claimed=claimed) == verdict


def test_what_is_none_of_ours_says_so() -> None:
    assert report(ZeroDivisionError("bug")).to_json()["error"]["what"] == "unexpected: ZeroDivisionError('bug')"


def test_an_error_of_ours_is_whole() -> None:
    error = NeverInstalled("no", where="w", next="n", evidence="e")
    assert report(error).to_json()["error"] == {"what": "no", "where": "w", "next": "n", "evidence": "e"}


@pytest.mark.parametrize(
    ("error", "netboot", "closed"),
    [
        (None, CLOSED, True),
        (NeverInstalled("x"), CLOSED, True),
        (NeverInstalled("x"), Netboot(False), False),
        (NeverInstalled("x"), Netboot(), None),
        (UnsafeError("x"), CLOSED, False),
        (UnsafeError("x"), Netboot(), False),
    ],
)
def test_netboot_is_called_closed_only_where_that_was_read(
    error: Exception | None, netboot: Netboot, closed: bool | None
) -> None:
    seen = report(error, netboot)
    assert seen.closed is closed
    assert seen.to_json()["netboot"]["closed"] is closed


def test_what_was_only_looked_at_has_no_time_of_a_close() -> None:
    seen = report(NeverInstalled("x"), Netboot(True, Proof("", PROOF.hardware))).to_json()["netboot"]
    assert seen == {"closed": True, "closed_at": None, "proof": {"hardware": PROOF.hardware, "smee": None}}


@pytest.mark.parametrize(
    ("cause", "interrupted"), [(None, False), (ValueError(), False), (KeyboardInterrupt(), True), (SystemExit(), True)]
)
def test_an_end_from_outside_says_that_nothing_else_is_to_be_begun(
    cause: BaseException | None, interrupted: bool
) -> None:
    error = UnsafeError("open")
    error.__cause__ = cause
    assert report(error).interrupted is interrupted


def test_records_of_other_runs_are_not_ours() -> None:
    story = recorded(PhaseEnded("Boot", 1.0), CommandStarted("jump", "x", "read"), run="r2")
    assert (story.phases, story.commands) == ([], [])

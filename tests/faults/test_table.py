"""A fault at every remote command of a provision: whatever happens, nothing is left that would wipe the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from metalfoundry.model.events import (
    ActionEnded,
    ActionStarted,
    CommandEnded,
    CommandStarted,
    PhaseEnded,
    PhaseStarted,
    RunEnded,
    RunStarted,
)
from tests.faults.spoil import Fault, Spoiled
from tests.faults.table import BESIDE, COMMANDS, DOC, Case, Row, bench, cases, markdown

pytestmark = [
    pytest.mark.timeout(600),
    # A link that is cut in the middle of a handshake leaves the lab's own SSH server with a transport it never closed.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
CASES = cases()
WAITING = dict.fromkeys(Spoiled.WAITING, 0)
CODES: dict[Fault, tuple[int, dict[int | str, int]]] = {  # the usual one, and where it differs
    Fault.BEFORE: (10, WAITING | {9: 0, 10: 0}),  # closing and giving back are tried again
    Fault.AFTER: (0, {1: 10, 5: 10, Spoiled.FACTS: 10}),  # the transport itself repeats a READ; here it is above that
    Fault.HANG: (10, WAITING | {8: 30, 9: 0, 10: 0}),
    Fault.CUT: (40, {1: 10, 2: 10, 3: 10, 10: 10, Spoiled.FACTS: 10, Spoiled.VERIFY: 33}),  # not armed, or proven
    Fault.INTERRUPT: (130, {}),
    Fault.KILL: (-9, {}),
}
PAIRS = (
    (RunStarted, RunEnded),
    (PhaseStarted, PhaseEnded),
    (CommandStarted, CommandEnded),
    (ActionStarted, ActionEnded),
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Row]]:
    with bench(tmp_path_factory.mktemp("faults"), CASES) as one:
        yield {row.case.name: row for row in one.run()}


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def row(request: pytest.FixtureRequest, rows: dict[str, Row]) -> Row:
    return rows[request.param.name]


def test_the_table_has_every_command_of_a_clean_run(rows: dict[str, Row]) -> None:
    clean = rows["clean"]
    assert clean.report is not None
    assert tuple(clean.said) == tuple(words for _, words in COMMANDS)
    assert clean.report.remote_commands == len(COMMANDS) + 1  # and Spoiled.FACTS, which is asked beside them
    places = [*range(1, len(COMMANDS) + 1), *(place for _, place in BESIDE)]
    wanted = {Case(at, fault) for at in places for fault in Fault if isinstance(at, int) or fault != Fault.INTERRUPT}
    assert {row.case for row in rows.values()} == wanted | {Case(0, None)}


def test_the_fault_came_and_the_exit_code_is_the_documented_one(row: Row) -> None:
    case = row.case
    assert row.struck is (case.fault is not None), row.said
    usual, others = CODES[case.fault] if case.fault else (0, {})
    assert row.code == others.get(case.at, usual), row.report and row.report.error


def test_netboot_is_closed_or_a_live_guard_holds_it(row: Row) -> None:
    assert row.after is not None
    assert not row.after.opened or row.after.guarded, row.after
    assert len(row.after.guards) <= 1
    if row.code in (0, 130):
        assert (row.after.opened, row.after.claim, row.after.guards, row.after.processes) == (False, "", [], [])


def test_when_the_lease_is_over_nothing_is_left(row: Row) -> None:
    assert row.settled is not None
    assert (row.settled.opened, row.settled.claim, row.settled.processes) == (False, "", [])
    assert {guard.state for guard in row.settled.guards} <= {"ended"}


def test_the_server_was_installed_once_at_most(row: Row) -> None:
    disk = [(0, ["old"]), (0, ["old", "old"])]  # the second where a reboot was sent, and netboot closed before it came
    assert (row.wiped, row.boots) in (*disk, (1, ["old", "hook", "new"]))
    assert row.code != 0 or row.wiped == 1


def test_the_report_says_closed_only_when_the_cluster_does(row: Row) -> None:
    if row.report is None:
        assert row.case.fault is Fault.KILL
        return
    assert row.after is not None
    assert row.report.exit_code == row.code
    assert row.report.closed is (row.code != 40)
    assert not (row.report.closed and row.after.opened)


def test_every_start_has_its_end(row: Row) -> None:
    for start, end in PAIRS:
        starts = [event for event in row.events if isinstance(event, start)]
        ends = [event for event in row.events if isinstance(event, end)]
        assert len(starts) == len(ends), start
    assert row.case.fault is Fault.KILL or any(isinstance(event, RunEnded) for event in row.events)


def test_the_table_in_the_docs_is_this_one(rows: dict[str, Row]) -> None:
    def first(text: str) -> list[list[str]]:
        return [line.split("|")[1:5] for line in text.splitlines() if line.startswith("|")]

    written = Path(DOC).read_text()
    assert first(written[written.index("| n |") :]) == first(markdown(list(rows.values())))

"""A fault at every remote command of every story: whatever happens, nothing is left that would wipe the server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from metalfoundry.model.events import (
    ActionEnded,
    ActionStarted,
    CommandEnded,
    CommandStarted,
    Notice,
    PhaseEnded,
    PhaseStarted,
    RunEnded,
    RunStarted,
)
from tests.faults.spoil import Fault
from tests.faults.table import Row, Story, closed_by, everything

pytestmark = pytest.mark.timeout(1200)
EACH = 11  # one fault in so many, prime to their number: `make faults` has all
ALIVE = (Fault.BEFORE, Fault.AFTER, Fault.HANG, Fault.INTERRUPT, Fault.API, None)
"""The client and its link are there to the end, so it closes by itself."""
PAIRS = (
    (RunStarted, RunEnded),
    (PhaseStarted, PhaseEnded),
    (CommandStarted, CommandEnded),
    (ActionStarted, ActionEnded),
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    return everything(tmp_path_factory.mktemp("faults"), each=EACH)


def broken(rows: list[Row], holds: Callable[[Row], bool]) -> list[str]:
    """The rows for which it does not hold, in words."""
    return [
        f"{row.case.name} ({row.case.command}): exit {row.code}, {row.after and row.after.words}, "
        f"closed by {row.closer}, wiped {row.wiped}, boots {row.boots}, "
        f"{row.report.error if row.report else row.said[-1:]}"
        for row in rows
        if not holds(row)
    ]


def test_every_fault_came(rows: list[Row]) -> None:
    assert not broken(rows, lambda row: row.struck is (row.case.fault is not None))


def test_a_run_without_a_fault_ends_well(rows: list[Row]) -> None:
    assert not broken([row for row in rows if row.case.fault is None], lambda row: row.code == 0)


def test_at_the_clients_end_it_is_closed_or_a_living_guard_holds_it(rows: list[Row]) -> None:
    def holds(row: Row) -> bool:
        assert row.after is not None
        return not row.after.opened or row.after.guarded or row.case.fault is Fault.DOWN

    assert not broken(rows, holds)


def test_who_ends_well_or_by_an_interrupt_leaves_nothing(rows: list[Row]) -> None:
    def holds(row: Row) -> bool:
        assert row.after is not None
        left = (row.after.opened, row.after.claim, row.after.guards, row.after.processes)
        earlier = row.case.story is Story.RESUME and row.code == 130  # before it had taken the claim over
        if row.code == 0 and row.case.fault is Fault.CUT and row.after.claim:  # verified; nothing is reached
            told = [event.text for event in row.events if isinstance(event, Notice)]
            return not row.after.opened and any("give it back with" in text for text in told)
        return row.code not in (0, 130) or left == (False, "", [], []) or row.case.fault is Fault.CLAIM or earlier

    assert not broken(rows, holds)


def test_a_lease_later_nothing_is_left(rows: list[Row]) -> None:
    def holds(row: Row) -> bool:
        assert row.settled is not None
        left = (row.settled.opened, row.settled.claim, row.settled.guards, row.settled.processes)
        return left == (False, "", [], [])

    assert not broken(rows, holds)


def test_who_closed(rows: list[Row]) -> None:
    def holds(row: Row) -> bool:
        assert row.after is not None
        if row.closer == "-":
            return True
        if row.after.opened:
            return row.closer == "guard" or (row.case.fault is Fault.DOWN and row.closer == "cluster")
        return row.closer in ("client", "guard") or row.case.fault not in ALIVE  # whoever sees it first

    assert not broken(rows, holds)


@pytest.mark.parametrize(
    ("opened", "left_open", "log", "elsewhere", "still", "who"),
    [
        (False, False, "", False, False, "-"),
        (True, False, "", False, False, "client"),
        (True, False, "T closed reason=running interfaces=0\n", False, False, "guard"),
        (True, False, "T started version=1\n", False, False, "client"),
        (True, True, "T started version=1\n", False, False, "guard"),
        (True, True, "T closed reason=expired interfaces=0\n", True, False, "cluster"),
        (True, True, "T closed reason=running interfaces=0\n", True, True, "nobody"),
    ],
)
def test_who_closed_is_told_by_what_each_left(
    opened: bool, left_open: bool, log: str, elsewhere: bool, still: bool, who: str
) -> None:
    assert closed_by(opened, left_open, log, elsewhere, still) == who


def test_the_server_was_installed_once_at_most(rows: list[Row]) -> None:
    disk = [(0, ["old"]), (0, ["old", "old"])]  # the second where a reboot was sent, and netboot closed before it came
    assert not broken(rows, lambda row: (row.wiped, row.boots) in (*disk, (1, ["old", "hook", "new"])))


def test_only_an_installed_server_is_a_success_and_only_an_untouched_one_was_refused(rows: list[Row]) -> None:
    provisions = [row for row in rows if row.case.story is not Story.BY_HAND]
    assert not broken(provisions, lambda row: row.code != 0 or row.wiped == 1)
    assert not broken(provisions, lambda row: row.code != 10 or (row.wiped, row.boots) == (0, ["old"]))


def test_the_report_says_closed_only_when_the_cluster_does(rows: list[Row]) -> None:
    def holds(row: Row) -> bool:
        assert row.after is not None
        if row.report is None:
            return row.case.fault is Fault.KILL or row.case.story is Story.BY_HAND
        if row.report.closed and row.after.opened:
            return False
        return (row.code == 40) is (row.report.closed is False)

    assert not broken(rows, holds)


def test_every_start_has_its_end(rows: list[Row]) -> None:
    def holds(row: Row) -> bool:
        return all(
            sum(isinstance(event, start) for event in row.events) == sum(isinstance(event, end) for event in row.events)
            for start, end in PAIRS
        )

    assert not broken(rows, holds)

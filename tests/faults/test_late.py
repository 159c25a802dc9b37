"""What was left on its way takes effect late: the taking back waits for it, or keeps it from beginning."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.spoil import Fault
from tests.faults.table import Case, Row, Story, bench

CASES = (
    Case(Story.PROVISION, 2, Fault.LATE, "Claim: patch+guard+object"),
    Case(Story.PROVISION, 3, Fault.LATE, "Clean up: delete"),
    Case(Story.PROVISION, 4, Fault.LATE, "Apply: apply+object"),
    Case(Story.BMC, 6, Fault.LATE, "Boot: machine+create"),
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    with bench(Path(tmp_path_factory.mktemp("late")), CASES) as one:
        return one.run()


def test_an_interrupted_run_leaves_nothing_that_comes_later(rows: list[Row]) -> None:
    for row in rows:
        assert row.after is not None and row.settled is not None
        assert (row.code, row.struck, row.wiped) == (130, True, 0), row
        for state in (row.after, row.settled):
            assert (state.opened, state.claim, state.processes) == (False, "", []), row


def test_a_job_that_came_late_finds_netboot_closed(rows: list[Row]) -> None:
    assert rows[-1].boots in (["old"], ["old", "old"])

"""Tables of what people copy."""

from __future__ import annotations

import io

import pytest

from metalfoundry.ui.output.tables import Paper, table_of

RUN = "20260102T030405Z-colo-server-01-7f3a9c01"
CELLS = ("anvil", "open", "kevin@laptop", "2026-01-02T03:14:05Z", "metalfoundry-guard@cluster", RUN)


def printed(*, terminal: bool) -> list[str]:
    text = io.StringIO()
    table = table_of("server", "netboot", "claim", "until", "guard", "run")
    table.add_row(*CELLS)
    Paper(text, width=80, force_terminal=terminal, no_color=True).table(table)
    return text.getvalue().splitlines()


def test_without_a_terminal_a_row_is_one_line() -> None:
    _, row = printed(terminal=False)
    assert row.split() == list(CELLS)


@pytest.mark.parametrize("name", ["anvil", RUN])
def test_on_a_narrow_terminal_names_stay_whole(name: str) -> None:
    lines = printed(terminal=True)
    assert sum(name in line for line in lines) == 1
    assert max(map(len, lines)) <= 80


def test_a_row_that_a_narrow_terminal_cannot_show_is_lines_of_its_own() -> None:
    lines = [line.split() for line in printed(terminal=True)]
    assert [words[-1] for words in lines] == list(CELLS)

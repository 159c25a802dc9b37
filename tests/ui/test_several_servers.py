"""Several servers in one `fab provision`: what is begun after one has failed, and what the program ends with."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import cast

import pytest

from metalfoundry.foundry import Foundry
from metalfoundry.model.errors import Interrupted, MetalfoundryError, UnsafeError, WorkflowFailed
from metalfoundry.model.inventory import Server
from metalfoundry.records.run_store import Journal
from metalfoundry.runs.options import Options
from metalfoundry.runs.report import Netboot, Report
from metalfoundry.ui.output.event_lines import PlainLines
from metalfoundry.ui.tasks.provision import provision

NAMES = ("anvil", "bellows", "crucible")
FAILED, UNSAFE = WorkflowFailed("it failed"), UnsafeError("it may be open")


class Scripted:
    """Stands for a Foundry: each server's run ends as was said beforehand."""

    def __init__(self, ends: dict[str, MetalfoundryError | KeyboardInterrupt]) -> None:
        self._ends = ends
        self.begun: list[str] = []

    def provision(self, name: str, options: Options) -> Report:
        self.begun.append(name)
        error = self._ends.get(name)
        if isinstance(error, KeyboardInterrupt):
            raise error
        code = error.exit_code if error else 0
        stopped = isinstance(error, Interrupted)
        return Report(name, name, "-", code, error, Netboot(), (), (), 0, 0.0, interrupted=stopped)


def run(
    home: Path, ends: dict[str, MetalfoundryError | KeyboardInterrupt], *, keep_going: bool = False, json: bool = False
) -> tuple[int, list[str]]:
    foundry = Scripted(ends)
    code = provision(
        cast(Foundry, foundry),
        [Server(name=name, hardware=name) for name in NAMES],
        Options(),
        Journal(home),
        PlainLines(sys.stdout),
        ask=False,
        json=json,
        keep_going=keep_going,
    )
    return code, foundry.begun


def test_after_a_failure_no_other_server_is_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, {"bellows": FAILED}) == (50, ["anvil", "bellows"])
    said = capsys.readouterr().err
    assert "bellows failed, so these were left alone: crucible (--keep-going goes on)" in said


def test_the_first_ones_failure_is_the_programs(tmp_path: Path) -> None:
    assert run(tmp_path, {"anvil": FAILED}) == (FAILED.exit_code, ["anvil"])


def test_keep_going_begins_them_all(tmp_path: Path) -> None:
    assert run(tmp_path, {"anvil": FAILED}, keep_going=True) == (50, list(NAMES))


def test_a_window_that_may_be_open_ends_it_in_any_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, {"anvil": UNSAFE}, keep_going=True) == (40, ["anvil"])
    assert "left alone: bellows, crucible (its netboot is not confirmed closed)" in capsys.readouterr().err


def test_so_does_an_interrupt(tmp_path: Path) -> None:
    assert run(tmp_path, {"bellows": Interrupted("at your word")}, keep_going=True) == (130, ["anvil", "bellows"])


def test_json_names_who_was_not_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, {"anvil": FAILED}, json=True)
    shown = json.loads(capsys.readouterr().out)
    assert [row["server"] for row in shown["servers"]] == ["anvil"]
    assert shown["not_begun"] == ["bellows", "crucible"]

"""Several servers in one `fab provision`: what is begun after one has failed, and what the program ends with."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, cast

import pytest

from metalfoundry.foundry import Foundry
from metalfoundry.model.errors import (
    Declined,
    Interrupted,
    MetalfoundryError,
    UnsafeError,
    UsageError,
    WorkflowFailed,
)
from metalfoundry.model.inventory import Server
from metalfoundry.records.run_store import Journal, kept
from metalfoundry.runs.fleet import Fleet, Policy
from metalfoundry.runs.options import Options
from metalfoundry.runs.report import Netboot, Report
from metalfoundry.runs.status import Row
from metalfoundry.transport.clock import Cancel
from metalfoundry.transport.threads import Threads
from metalfoundry.ui.output.event_lines import PlainLines
from metalfoundry.ui.tasks.provision import pairs, provision
from scripts.schemas import section

NAMES = ("anvil", "bellows", "crucible")
FAILED, UNSAFE = WorkflowFailed("it failed"), UnsafeError("it may be open")


class Scripted:
    """Stands for a Foundry: each server's run ends as was said beforehand."""

    def __init__(self, ends: dict[str, MetalfoundryError]) -> None:
        self._ends = ends
        self.begun: list[str] = []

    def status(self, servers: list[Server], *, probe: bool) -> list[Row]:
        return [Row(server.name, server.name, "closed", machine="Debian 11") for server in servers]

    def provision_many(self, servers: list[Server], options: Options, policy: Policy) -> Fleet:
        assert options.confirm is None
        return Fleet([server.name for server in servers], self._run, policy, threads=Threads())

    def _run(self, name: str, cancel: Cancel) -> Report:
        self.begun.append(name)
        error = self._ends.get(name)
        code = error.exit_code if error else 0
        stopped = isinstance(error, Interrupted)
        verdict = "failed" if error else "provisioned"
        return Report(name, name, verdict, code, error, Netboot(), (), (), 0, 0.0, interrupted=stopped)


def run(
    home: Path,
    ends: dict[str, MetalfoundryError],
    *,
    json: bool = False,
    ask: bool = False,
    view: PlainLines | None = None,
    kind: type[Scripted] = Scripted,
    **policy: Any,
) -> tuple[int, list[str]]:
    foundry = kind(ends)
    code = provision(
        cast(Foundry, foundry),
        [Server(name=name, hardware=name) for name in NAMES],
        Options(),
        Journal(home),
        view or PlainLines(sys.stdout),
        ask=ask,
        json=json,
        policy=Policy(**{"parallel": 1} | policy),
    )
    return code, foundry.begun


def test_after_a_failure_no_other_server_is_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, {"bellows": FAILED}) == (50, ["anvil", "bellows"])
    said = capsys.readouterr().err
    assert "1 of 3 failed, 1 left alone:" in said
    assert "left alone: crucible (use --keep-going to go on after a failure)" in said


def test_the_first_ones_failure_is_the_programs(tmp_path: Path) -> None:
    assert run(tmp_path, {"anvil": FAILED}) == (FAILED.exit_code, ["anvil"])


def test_keep_going_begins_them_all(tmp_path: Path) -> None:
    assert run(tmp_path, {"anvil": FAILED}, keep_going=True) == (50, list(NAMES))


def test_a_window_that_may_be_open_ends_it_in_any_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, {"anvil": UNSAFE}, keep_going=True) == (40, ["anvil"])
    assert "left alone: bellows, crucible (netboot of one is not confirmed closed)" in capsys.readouterr().err


def test_so_does_an_interrupt(tmp_path: Path) -> None:
    assert run(tmp_path, {"bellows": Interrupted("at your word")}, keep_going=True) == (130, ["anvil", "bellows"])


def test_nor_is_the_end_good_where_an_interrupt_came_after_a_good_one(tmp_path: Path) -> None:
    class Late(Scripted):
        def _run(self, name: str, cancel: Cancel) -> Report:
            return replace(super()._run(name, cancel), interrupted=True)

    assert run(tmp_path, {}, kind=Late) == (130, ["anvil"])


def test_json_names_who_was_not_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, {"anvil": FAILED}, json=True)
    shown = json.loads(capsys.readouterr().out)
    assert [row["server"] for row in shown["servers"]] == ["anvil"]
    assert shown["not_begun"] == ["bellows", "crucible"]


def test_what_did_not_end_well_is_recorded_and_its_next_step_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, {"bellows": FAILED}, json=True)
    shown, said = capsys.readouterr()
    (fleet,) = [one for one in kept(tmp_path) if one.fleet]
    assert said.splitlines()[-1].endswith(f"provision all --retry-failed {fleet.run}")
    assert (fleet.verdict, fleet.servers, fleet.unfinished) == ("failed", list(NAMES), ["bellows", "crucible"])
    assert fleet.report["causes"] == [{"cause": "it failed", "next": "", "servers": ["bellows"]}]
    mine, recorded = json.loads(shown), dict(fleet.report)
    for fields in (mine, recorded):
        del fields["servers"], fields["seconds"]
    assert mine == recorded
    assert set(fleet.report) == set(section("json.md", "fleet")["properties"])


def test_a_fleet_whose_client_is_killed_is_recorded_as_far_as_it_came(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    class View(PlainLines):
        def after(self, told: Any) -> None:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path, {}, view=View(sys.stdout))
    (fleet,) = [one for one in kept(tmp_path) if one.fleet]
    assert (fleet.verdict, fleet.report["exit_code"], sorted(fleet.unfinished)) == ("no end", None, sorted(NAMES))


def test_failures_are_grouped_by_their_cause(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ends = {name: WorkflowFailed(f"{name}: no disk", next="look") for name in ("anvil", "crucible")}
    assert run(tmp_path, {**ends, "bellows": FAILED}, keep_going=True) == (31, list(NAMES))
    told = capsys.readouterr().err.splitlines()
    assert told[told.index("3 of 3 failed:") : -1] == [
        "3 of 3 failed:",
        "  2 x NAME: no disk",
        "    anvil      31  anvil: no disk",
        "    crucible   31  crucible: no disk",
        "              now: look",
        "  1 x it failed",
        "    bellows    31  it failed",
    ]


@pytest.mark.parametrize(("typed", "goes_on"), [("3", True), ("anvil", False), ("", False)])
def test_the_number_of_servers_has_to_be_typed(
    typed: str, goes_on: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = StringIO(f"{typed}\n")
    monkeypatch.setattr(answer, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", answer)
    with nullcontext() if goes_on else pytest.raises(Declined):
        assert run(tmp_path, {}, ask=True) == (0, list(NAMES))
    shown = capsys.readouterr().err
    assert all(f"{name} " in shown for name in NAMES) and "Debian 11" in shown


def test_labels_are_pairs() -> None:
    assert pairs("rack=b, example.com/row=7,empty=") == {"rack": "b", "example.com/row": "7", "empty": ""}
    assert pairs("") == {}


@pytest.mark.parametrize("words", ["rack", "=b", "rack=b,row", ","])
def test_what_is_no_label_is_a_usage_error(words: str) -> None:
    with pytest.raises(UsageError, match="--labels"):
        pairs(words)

"""Whatever a cluster, a machine or a log holds, a question is answered, without a traceback or a control character."""

from __future__ import annotations

import io
import json
import tempfile
import unicodedata
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from invoke.exceptions import Exit

from metalfoundry import Foundry
from metalfoundry.model.events import Notice, Record
from metalfoundry.records.recorded_run import recorded
from metalfoundry.records.run_store import Journal
from metalfoundry.transport.clock import FakeClock
from metalfoundry.ui.output.event_lines import PlainLines
from metalfoundry.ui.output.report_text import show
from metalfoundry.ui.output.tables import Paper
from metalfoundry.ui.tasks import guard, netboot, status, troubleshoot
from metalfoundry.ui.tasks.errors import boundary
from tests.fuzz.place import EXAMPLES, INVENTORY, NAME, Answers, World, worlds
from tests.ui.tale import failed

UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


class Terminal:
    """What a question put on stdout and stderr; `codes` the exit codes, 0 where it just ended."""

    def __init__(self) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.codes: list[int] = []

    def asked(self, question: object) -> None:
        """As the program does: inside the boundary, with what is not ours to print captured."""
        assert callable(question)
        with redirect_stdout(self.out), redirect_stderr(self.err):
            try:
                with boundary():
                    question()
            except Exit as done:
                self.codes.append(done.code)
            else:
                self.codes.append(0)

    @property
    def text(self) -> str:
        return self.out.getvalue() + self.err.getvalue()


def unseen(text: str) -> list[str]:
    """The characters that a terminal might obey."""
    return [character for character in text if unicodedata.category(character) in UNSEEN and character not in "\n\t"]


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(worlds())
def ask_everything(world: World) -> None:
    terminal = Terminal()
    sinks = [PlainLines(terminal.err)]
    with Foundry(INVENTORY, sinks=sinks, clock=FakeClock(), transport=Answers(world)) as foundry:
        servers = list(INVENTORY.servers.values())
        for json_wanted in (False, True):
            ask = terminal.asked
            ask(lambda as_json=json_wanted: status.status(foundry, servers, watch=False, probe=True, json=as_json))
            ask(lambda as_json=json_wanted: netboot.audit(foundry, close=False, json=as_json))
            ask(lambda as_json=json_wanted: guard.status(foundry, as_json))
            ask(lambda as_json=json_wanted: troubleshoot.troubleshoot(
                foundry, NAME, all=True, bundle="", json=as_json))  # fmt: skip
        terminal.asked(lambda: _report(foundry, world))
    assert "unexpected" not in terminal.err.getvalue(), terminal.err.getvalue()
    assert 1 not in terminal.codes
    assert not unseen(terminal.text), [line for line in terminal.text.split("\n") if unseen(line)]


def _report(foundry: Foundry, world: World) -> None:
    """The report of a run that failed there, as it is kept and read back."""
    found = foundry.troubleshoot(NAME)
    said = next(iter(world.parts.values()))[1]
    tale = failed(NAME, said[:200] or "it failed")
    error = {"what": said, "where": said, "next": said, "evidence": said}
    kept = {"server": NAME, "phases": [], "actions": [], "verdict": "failed", "error": error}
    kept["diagnosis"] = json.loads(json.dumps(found.to_json()))
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        for record in [*tale.records, Record(tale.now, Notice(said, "warning"), tale.run, NAME)]:
            journal(record)
        journal.save(tale.run, kept)
        journal.close()
        show(recorded(Path(folder), NAME), Paper())


@pytest.mark.timeout(7200)
def test_every_question_is_answered_whatever_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METALFOUNDRY_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "200")
    ask_everything()

"""Text from a cluster, a machine or a log on its way to a terminal: it is read, never obeyed."""

from __future__ import annotations

import io
import json
import unicodedata
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from invoke.exceptions import Exit
from rich.text import Text

from metalfoundry.commands.guard import GuardSeen
from metalfoundry.commands.guard_cluster import GuardDeployment
from metalfoundry.commands.log_parser import LogLine
from metalfoundry.foundry import Foundry
from metalfoundry.model.errors import ClaimedError
from metalfoundry.model.events import Notice, PhaseEnded, Record
from metalfoundry.model.plain_text import inline, json_text, visible
from metalfoundry.records.run_store import EventLines
from metalfoundry.runs.status import Row
from metalfoundry.ui.output.event_lines import PlainLines
from metalfoundry.ui.output.plain import say
from metalfoundry.ui.output.tables import Paper, table_of
from metalfoundry.ui.tasks import guard, netboot
from metalfoundry.ui.tasks.errors import boundary
from metalfoundry.ui.tasks.logs import show
from tests.ui.test_live import Desk

HOSTILE = "disk [/dev/sda] [bold]\x1b]0;owned\x07\x9b31m\x7f\x00\u202eevil\u2066\u2028\u200f\udc80\rforged"
READ = ["[/dev/sda] [bold]", "\\x1b]0;owned", "\\x9b31m", "\\u202eevil", "\\u2066\\u2028"]
anything = st.text(st.characters() | st.sampled_from("\x1b\x9b\x00\r\u202e\u2028[]/\\"))


def unseen(text: str, keep: str = "\n") -> list[str]:
    """The characters of `text` that a terminal might obey."""
    kinds = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return [character for character in text if unicodedata.category(character) in kinds and character not in keep]


def record(text: str) -> Record:
    return Record(datetime(2026, 1, 1, tzinfo=UTC), Notice(text, "warning"), "r1", "anvil")


def window(**more: Any) -> Any:
    words = dict.fromkeys(("hardware", "kind", "holder", "until", "guard", "run", "reason"), HOSTILE)
    fields = words | {"trap": True, "age": None, "to_json": lambda: words} | more
    return SimpleNamespace(**fields)


class Windows:
    """A Foundry whose cluster says whatever it likes."""

    def audit(self, close: bool) -> list[Any]:
        return [window()]

    def cluster_guard(self) -> GuardDeployment:
        return GuardDeployment(False, False, HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1, HOSTILE, HOSTILE, HOSTILE, HOSTILE)

    def guard_status(self) -> GuardSeen:
        return GuardSeen("guarding", HOSTILE, "1", HOSTILE, 60, 1, HOSTILE, HOSTILE)

    def servers(self, name: str | None) -> list[Any]:
        return []

    def status(self, servers: list[Any]) -> list[Row]:
        return [Row(HOSTILE, HOSTILE, "open", HOSTILE, HOSTILE, HOSTILE, guard=HOSTILE)]

    def guard_log(self) -> str:
        return HOSTILE + "\n"

    def logs(self, name: str, ask: object) -> Any:
        line = LogLine(None, "smee", HOSTILE, raw=HOSTILE)
        return SimpleNamespace(lines=[line], read={HOSTILE: HOSTILE}, unseen={HOSTILE: HOSTILE})


FOUNDRY = cast(Foundry, Windows())


@settings(deadline=None)
@given(anything)
def test_nothing_stays_that_a_terminal_obeys(text: str) -> None:
    assert not unseen(visible(text), keep="\n\t")
    assert not unseen(inline(text), keep="")
    assert visible(visible(text)) == visible(text)


@settings(deadline=None)
@given(anything)
def test_json_means_the_same_and_shows_nothing_that_a_terminal_obeys(text: str) -> None:
    written = json_text({text: [text]}, indent=2)
    assert not unseen(written)
    assert json.loads(written) == {text: [text]}


@settings(deadline=None)
@given(anything)
def test_a_line_of_events_is_one_line_and_never_markup(text: str) -> None:
    stream = io.StringIO()
    PlainLines(stream)(record(text))
    assert not unseen(stream.getvalue())
    assert stream.getvalue().count("\n") == 1


@settings(deadline=None)
@given(anything)
def test_a_cell_of_a_table_is_text(text: str) -> None:
    stream = io.StringIO()
    table = table_of("a", "b")
    table.add_row(text, Text(text, style="bold red"))
    Paper(stream, width=10_000).print(table)
    assert not unseen(stream.getvalue())
    assert stream.getvalue().count("\n") == 2


def test_words_of_ours_and_of_others_keep_their_letters() -> None:
    assert visible("größer ✓ 日本 \\x1b\n\tnext") == "größer ✓ 日本 \\x1b\n\tnext"


@pytest.mark.parametrize(("state", "shown"), [("guarding", "not yet"), ("stuck", "nobody"), ("none", "nobody")])
def test_a_claim_that_waits_for_its_guard_is_not_nobodys(
    state: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    class Quiet(Windows):
        def cluster_guard(self) -> Any:
            return None

        def guard_status(self) -> GuardSeen:
            return GuardSeen(state, "", "", "", None, 0, "", "")

        def status(self, servers: list[Any]) -> list[Row]:
            return [Row("anvil", "anvil", "open", run="run-1")]

    guard.status(cast(Foundry, Quiet()), json=False)
    assert shown in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("what", ["audit", "guard", "log", "logs"])
def test_what_a_cluster_says_is_read_and_not_obeyed(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    match what:
        case "audit":
            netboot.audit(FOUNDRY, close=False, json=False)
        case "guard":
            guard.status(FOUNDRY, json=False)
        case "log":
            guard.log(FOUNDRY)
        case _:
            show(FOUNDRY, "anvil", source="smee", since="", tail=0, follow=False, json=False)
    printed = capsys.readouterr()
    assert not unseen(printed.out + printed.err)
    whole = "".join(printed.out.split())  # a table folds its cells
    assert "\\x1b]0;owned" in whole or "[/dev/sda]" in whole


@pytest.mark.parametrize("kind", [ClaimedError, RuntimeError])
def test_an_error_that_quotes_a_machine_is_read_and_not_obeyed(
    kind: type[Exception], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METALFOUNDRY_DEBUG", "1")
    words = {"where": HOSTILE, "next": HOSTILE, "evidence": HOSTILE} if kind is ClaimedError else {}
    with pytest.raises(Exit), boundary():
        raise kind(HOSTILE, **words)
    told = capsys.readouterr().err
    assert not unseen(told)
    assert "[/dev/sda]" in told


def test_a_newline_in_an_error_makes_no_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit), boundary():
        raise ClaimedError("held by x\nerror: nothing", where="here\n  now:   rm -rf /")
    starts = [line.split(":")[0] for line in capsys.readouterr().err.splitlines()]
    assert starts.count("error") == 1
    assert "  now" not in starts


def test_a_live_view_measures_what_it_shows() -> None:
    desk = Desk(width=200)
    with desk.view:
        desk.view(record(HOSTILE))
        desk.view(Record(record("").time, PhaseEnded("Boot", 1.0, HOSTILE, ""), "r1", "anvil"))
        desk.view.paint()
        screen = "\n".join(desk.terminal.screen)
    assert not unseen(screen)
    assert any(word in screen for word in READ)


def test_events_for_a_program_show_nothing_that_a_terminal_obeys() -> None:
    stream = io.StringIO()
    EventLines(stream)(record(HOSTILE))
    assert not unseen(stream.getvalue())
    assert json.loads(stream.getvalue())["text"] == HOSTILE


def test_say_prints_what_cannot_be_encoded(capsys: pytest.CaptureFixture[str]) -> None:
    say("\udcff")
    assert capsys.readouterr().out == "\\udcff\n"

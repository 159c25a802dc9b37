"""The recordings in docs/recordings against the view as it is: the same events give the same screens.

scripts/record.sh makes them, from real runs in the lab; the events that each was drawn from lie in tests/ui/recorded.
"""

from __future__ import annotations

import io
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from metalfoundry.model.events import Record, RunStarted
from metalfoundry.records.estimate import NoHistory
from metalfoundry.records.run_state import record_of
from metalfoundry.runs.provision import PHASES
from metalfoundry.transport.clock import FakeClock
from metalfoundry.ui.output.event_lines import PlainLines
from metalfoundry.ui.output.live import Live
from tests.ui.terminal import Terminal
from tests.ui.test_live import NEVER

ROOT = Path(__file__).parents[2]
RECORDINGS = ROOT / "docs" / "recordings"
AT_THE_END = "\n\n[… and at the end]\n\n"
WIDTHS = {"success": 100, "failure": 100, "fleet": 100, "narrow": 60, "no-colour": 100}
STYLE = re.compile(r"\x1b\[[0-9;]*m")


def records(name: str) -> list[Record]:
    lines = (ROOT / "tests/ui/recorded" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    found = [record_of(json.loads(line)) for line in lines]
    assert None not in found
    return [record for record in found if record is not None]


def recorded(name: str) -> str:
    return (RECORDINGS / f"{name}.txt").read_text(encoding="utf-8")


def screens(name: str) -> tuple[str, str]:
    """On the way and at the end, without bold and dim."""
    middle, end = STYLE.sub("", recorded(name)).split(AT_THE_END)
    return middle, end


def replayed(name: str) -> tuple[list[str], str]:
    """All frames on the way, normalised, and the screen at the end: what the view draws now from the same events."""
    told = records(name)
    terminal = Terminal(WIDTHS[name], 45)
    console = Console(file=terminal, width=WIDTHS[name], height=45, force_terminal=True, _environ={"TERM": "xterm"})
    clock = FakeClock(told[0].time)
    view = Live(console, NoHistory(), clock, interval=NEVER)
    frames = []
    with view:
        view.expect(dict.fromkeys(record.server for record in told if isinstance(record.event, RunStarted)))
        for record in told:
            while clock.now().wall + timedelta(seconds=0.2) < record.time:
                clock.advance(0.2)
                view.paint()
                frames.append(normal("\n".join(terminal.screen)))
            clock.advance((record.time - clock.now().wall).total_seconds())
            view(record)
            view.paint()
            frames.append(normal("\n".join(terminal.screen)))
    return frames, "\n".join(terminal.screen)


def normal(screen: str) -> str:
    """Without what depends on the very moment: digits, bars, the time left of a run, how wide the columns are."""
    screen = re.sub(r"[━─]+", "▬", screen)
    screen = re.sub(r"~\d+:\d+ \(\d+( runs?)?\)|\bleft$", "", screen, flags=re.MULTILINE)
    return "\n".join(re.sub(r" +", " ", re.sub(r"\d+", "#", line)).rstrip() for line in screen.splitlines())


@pytest.mark.parametrize("name", WIDTHS)
def test_the_end_of_a_recording_is_what_the_view_draws_from_its_events(name: str) -> None:
    command, _, end = screens(name)[1].partition("\n")
    assert command.startswith("$ fab provision ")
    _, drawn = replayed(name)
    assert end.startswith(drawn + "\n\n")
    told = end.removeprefix(drawn).strip().splitlines()
    assert told[0].startswith("error: " if name == "failure" else "colo-server-01 is provisioned, netboot is closed")


@pytest.mark.parametrize("name", WIDTHS)
def test_a_recording_on_the_way_is_one_of_the_views_frames(name: str) -> None:
    _, _, middle = screens(name)[0].partition("\n")
    frames, _ = replayed(name)
    assert normal(middle) in frames


def test_lines_are_what_is_printed_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    lines = PlainLines(stream)
    for record in records("lines"):
        lines(record)
    wrapped = [
        line[at : at + 120].rstrip() for line in stream.getvalue().splitlines() for at in range(0, len(line), 120)
    ]
    shown = recorded("lines").splitlines()
    assert shown[0].endswith("| cat") and "opening the site" in shown[1]
    assert shown[2:-1] == wrapped


def test_no_colour_has_none_and_narrow_is_narrow() -> None:
    styles = set(";".join(STYLE.findall(recorded("no-colour"))).replace("\x1b[", "").replace("m", "").split(";"))
    assert styles <= {"0", "1", "2", "22", "39", "49"}  # bold and dim, and the terminal's own colours
    assert max(map(len, recorded("narrow").splitlines()[1:])) <= 60


def test_the_failure_names_what_to_do_and_the_fleet_is_of_five() -> None:
    assert "  now:   fab " in recorded("failure")
    assert len(re.findall(r"^✓ \S+ +done ", screens("fleet")[1], re.MULTILINE)) == 5


def test_the_readme_shows_a_recording() -> None:
    (picture,) = re.findall(r"^```console\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert picture == screens("success")[1]
    assert all(phase.title in picture for phase in PHASES)

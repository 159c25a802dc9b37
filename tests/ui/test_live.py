"""The live view on a terminal of the test's own: what stands there, in whose way it is not, and what it costs."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from datetime import timedelta

import pytest
from rich.console import Console

from metalfoundry.model.events import LeaseExtended, Notice, Record, WindowUnsafe
from metalfoundry.records.estimate import NoHistory, PastRun
from metalfoundry.transport.clock import FakeClock
from metalfoundry.ui.output.event_lines import PlainLines
from metalfoundry.ui.output.live import Live, view_for
from metalfoundry.ui.output.live_table import Board
from metalfoundry.ui.output.repaint import Above
from metalfoundry.ui.output.timeline import joined
from tests.ui.tale import EXPIRES, Tale, failed, last, provisioned, to_install
from tests.ui.terminal import Terminal

USUAL = {"Preflight": 2.0, "Claim": 1.0, "Apply": 1.0, "Open": 1.0, "Boot": 90.0, "Close": 1.0}
PAST = PastRun(
    USUAL | {"Install": 104.0, "Verify": 99.0, "Release": 1.0}, {"stream-image": 85.0, "write-netplan": 20.0}
)
NEVER = 3600.0


class Known:
    """A history of two runs with one Template."""

    def runs(self, server: str, template: str) -> Sequence[PastRun]:
        return [PAST, PAST] if template == "ubuntu-2404" else []


class Desk:
    """A live view whose painting and whose clock the test has in its hand."""

    def __init__(self, width: int = 100, height: int = 40, env: dict[str, str] | None = None) -> None:
        self.terminal = Terminal(width, height)
        self.console = Console(
            file=self.terminal, width=width, height=height, force_terminal=True, _environ=env or {"TERM": "xterm"}
        )
        self.clock = FakeClock()
        self.view = Live(self.console, NoHistory(), self.clock, interval=NEVER)

    def show(self, tale: Tale) -> None:
        for record in tale.records:
            self.clock.advance((record.time - self.clock.now().wall).total_seconds())
            self.view(record)
            self.view.paint()

    def resize(self, width: int) -> None:
        self.terminal.resize(width)
        self.console.size = (width, 40)


def rows(tale: Tale, width: int = 100, after: float = 0.0, known: bool = False, height: int = 30) -> str:
    board = Board(Known() if known else NoHistory())
    for record in tale.records:
        board.take(record)
    return joined(board.lines(tale.now + timedelta(seconds=after), width, height))


def test_a_row_says_where_a_server_stands() -> None:
    shown = rows(to_install(), 150, after=20)
    for words in ("anvil", "Install", "1/2 stream-image", "0:25/5:00", "closed", "2:00", "Close 1.0 s"):
        assert words in shown, words
    assert "~" not in shown


def test_the_bar_is_the_part_of_its_timeout_that_an_action_has_used() -> None:
    shown = rows(to_install(), 150, after=145)
    assert (shown.count("━"), shown.count("─")) == (12, 12)


def test_time_left_is_told_from_earlier_runs_alone_and_says_how_many() -> None:
    assert "~3:00 (2 runs)" in rows(to_install(), 150, after=20, known=True)
    assert "~2:00 (2 runs)" in rows(to_install(), 150, after=600, known=True)
    assert "runs" not in rows(Tale().did("Preflight", 2), 150, known=True)


def opened(seconds: float, width: int = 100) -> str:
    tale = Tale()
    tale.records = [record for record in to_install().records if record.phase in ("Preflight", "Claim", "Open")]
    tale.now = last(tale.records)
    return rows(tale, width, after=seconds)


@pytest.mark.parametrize("width", [59, 79, 99, 139, 199])
def test_an_open_window_is_seen_with_its_expiry_at_any_width(width: int) -> None:
    shown = opened(35, width)
    assert "OPEN" in shown and "9:20" in shown
    assert max(map(len, shown.splitlines())) <= width


def test_the_expiry_moves_with_the_lease() -> None:
    tale = Tale()
    tale.records = [record for record in to_install().records if record.phase in ("Open", "Boot")][:3]
    tale.now = last(tale.records)
    assert EXPIRES.endswith("03:14:05Z") and "9:5" in rows(tale)
    assert "14:5" in rows(tale.said(LeaseExtended("2026-01-02T03:19:05Z")))


def test_many_servers_on_few_lines_show_those_that_run_and_count_the_rest() -> None:
    board = Board()
    board.expect(f"rack-{number}" for number in range(40))
    for record in [*provisioned("rack-3").records, *to_install("rack-39").records]:
        board.take(record)
    shown = joined(board.lines(last(provisioned().records), 99, 10)).splitlines()
    assert len(shown) <= 10
    assert any("rack-39" in line and "Install" in line for line in shown)
    assert shown[-1].strip() == f"and {40 - (len(shown) - 2)} more: 32 not begun"


def test_what_failed_stays_in_sight_beside_what_runs_and_the_rest_is_counted_by_phase() -> None:
    board = Board()
    names = [f"rack-{number}" for number in range(12)]
    for record in [record for name in names[:8] for record in to_install(name).records]:
        board.take(record)
    for record in [record for name in names[8:] for record in failed(name).records]:
        board.take(record)
    shown = joined(board.lines(last(failed().records), 99, 7)).splitlines()
    assert [line.split()[1] for line in shown[1:-1]] == ["rack-0", "rack-1", "rack-2", "rack-10", "rack-11"]
    assert shown[-1].strip() == "and 7 more: 5 Install, 2 failed"


def test_no_row_is_wider_than_the_terminal() -> None:
    tale = to_install("a-server-with-a-very-long-name.example.org")
    for width in range(20, 200):
        assert max(map(len, rows(tale, width, known=True).splitlines())) <= max(width, 60), width


def test_the_end_leaves_summary_timeline_and_what_was_kept_back() -> None:
    desk = Desk()
    with desk.view:
        desk.show(provisioned())
        desk.view.after(lambda: desk.terminal.write("anvil is provisioned\n"))
    text = "\n".join(desk.terminal.screen)
    assert text.count("✓ anvil") == 1
    assert "✓ Install" in text and "✓ netboot open" in text
    assert desk.terminal.screen[-1] == "anvil is provisioned"
    assert text.index("netboot is open") < text.index("netboot is closed") < text.index("✓ anvil")


def test_a_run_that_was_not_seen_to_begin_has_no_time_of_its_own() -> None:
    tale = to_install()
    assert "1:40" in rows(tale)
    tale.records[:1] = []
    assert "1:40" not in rows(tale) and "Install" in rows(tale)


def test_a_failure_is_in_its_row_and_in_the_timeline() -> None:
    desk = Desk(width=160)
    with desk.view:
        desk.show(failed())
    text = "\n".join(desk.terminal.screen)
    assert "✗ anvil" in text and "✗ Install" in text
    assert "the Workflow failed at action stream-image" in text


def test_what_is_printed_meanwhile_goes_above_the_rows() -> None:
    desk = Desk()
    with redirect_stdout(desk.terminal), desk.view:
        desk.show(to_install())
        print("half a ", end="", flush=True)
        print("line")
        assert "anvil" in desk.terminal.screen[-2] and "half a line" in desk.terminal.screen[-4]
        inside = sys.stdout
    assert isinstance(inside, Above) and not isinstance(sys.stdout, Above)


def test_a_stream_that_is_no_terminal_is_left_alone() -> None:
    desk, log = Desk(), io.StringIO()
    with redirect_stderr(log), desk.view:
        print("to the file", file=sys.stderr)
    assert log.getvalue() == "to the file\n"
    assert desk.terminal.screen == []


def test_a_question_has_the_terminal_to_itself() -> None:
    desk = Desk()
    with redirect_stderr(desk.terminal), desk.view:
        desk.view.expect(["anvil"])
        desk.show(Tale().did("Preflight", 1))
        with desk.view.paused():
            print("This wipes anvil. Type its name to go on: ", end="", file=sys.stderr, flush=True)
            desk.view(Record(desk.clock.now().wall, Notice("meanwhile"), server="bellows"))
            desk.view.paint()
            asked = list(desk.terminal.screen)
            desk.terminal.write("anvil\r\n")
        desk.view.paint()
        assert "● anvil" in "\n".join(desk.terminal.screen)
    assert "This wipes anvil. Type its name to go on:" in asked[0]
    assert not any("● anvil" in line for line in asked)


@pytest.mark.parametrize("widths", [(60,), (60, 120), (45, 100, 61)])
def test_a_resized_terminal_keeps_no_remains(widths: tuple[int, ...]) -> None:
    desk = Desk()
    with desk.view:
        desk.show(to_install())
        for width in widths:
            desk.resize(width)
            desk.clock.advance(1)
            desk.view.paint()
            assert sum("● anvil" in line for line in desk.terminal.screen) == 1
    assert sum("● anvil" in line for line in desk.terminal.screen) == 1


def test_a_frame_that_has_not_changed_is_not_painted() -> None:
    desk = Desk()
    with desk.view:
        desk.show(to_install())
        frames = desk.terminal.frames
        for _ in range(10):
            desk.view.paint()
        assert desk.terminal.frames == frames
        desk.clock.advance(1)
        desk.view.paint()
        assert desk.terminal.frames == frames + 1


def test_something_stands_there_before_anything_has_happened() -> None:
    desk = Desk()
    with desk.view:
        (line,) = desk.terminal.screen
        assert line.endswith("opening the site …")


def test_no_colour_means_none() -> None:
    plain, coloured = Desk(env={"TERM": "xterm", "NO_COLOR": "1"}), Desk(env={"TERM": "xterm"})
    for desk in (plain, coloured):
        with desk.view:
            desk.show(provisioned())
    assert plain.terminal.screen == coloured.terminal.screen
    assert (plain.terminal.coloured, coloured.terminal.coloured) == (False, True)


def test_no_terminal_means_lines() -> None:
    stream = io.StringIO()
    view = view_for(stream)
    assert isinstance(view, PlainLines)
    with view:
        for record in provisioned().records:
            view(record)
    text = stream.getvalue()
    assert "\x1b" not in text
    assert all(line[2] == line[5] == ":" for line in text.splitlines())
    assert "✓ Release" in text


def test_ten_servers_cost_less_than_three_hundredths_of_a_core() -> None:
    desk = Desk(width=160)
    with desk.view:
        for number in range(10):
            for record in to_install(f"rack-1-{number:02}").records:
                desk.view(record)
        desk.clock.advance((to_install().now - desk.clock.now().wall).total_seconds())
        seconds = 20
        began = time.process_time()
        for _ in range(seconds * 4):
            desk.clock.advance(0.25)
            desk.view.paint()
        spent = time.process_time() - began
    assert spent / seconds < 0.03


def test_the_command_that_closes_by_hand_stands_there_at_once_and_unbroken_for_the_second_server_too() -> None:
    command = "ssh -i /home/kevin/.ssh/colo ubuntu@192.0.2.10 'kubectl patch hardware/anvil --type=json -p […]'"
    unsafe = to_install().said(WindowUnsafe("the API server is away", command))
    desk = Desk(width=60)
    with desk.view:
        desk.show(provisioned("forge"))
        desk.show(unsafe)
        shown = "".join(desk.terminal.screen)
        assert shown.count(command) == 1
        assert "netboot is not confirmed closed: the API server is away" in shown.replace("         ", " ")
    assert "".join(desk.terminal.screen).count(command) == 1
    stream = io.StringIO()
    PlainLines(stream)(unsafe.records[-1])
    assert f"\n{command}\n" in stream.getvalue()

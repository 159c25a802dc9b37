"""What the live view shows, as lines of text: one row for each server. Pure: records go in, and a moment and a size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rich.text import Text

from metalfoundry.model.events import ActionStarted, PhaseSkipped, PhaseStarted, Record, WorkflowChanged
from metalfoundry.model.foreign import parse_time
from metalfoundry.records.estimate import History, NoHistory, PastRun, seconds_left
from metalfoundry.records.run_state import FAILED, RUNNING, Step, Story
from metalfoundry.ui.output.event_lines import line_of
from metalfoundry.ui.output.timeline import clock, cut, fit, span, strips, timeline

WIDE, NARROW = 140, 80
PHASE, TIME = 9, 7
MARKS = {"": ("●", "cyan"), "provisioned": ("✓", "green"), "not begun": ("-", "dim")}
BAD = ("✗", "bold red")
IN_THE_ROW = (PhaseStarted, PhaseSkipped, ActionStarted)


@dataclass
class Lane:
    """One server's row: its newest run, the last line worth reading, and what earlier runs took."""

    server: str
    story: Story
    last: str = ""
    past: Sequence[PastRun] = ()


@dataclass
class Board:
    """All rows, in the order in which the servers were named or first heard of."""

    history: History = field(default_factory=NoHistory)
    lanes: dict[str, Lane] = field(default_factory=dict)

    def expect(self, servers: Iterable[str]) -> None:
        """Show a row for each of these from the start."""
        for name in servers:
            self.lanes.setdefault(name, Lane(name, Story("", name)))

    def take(self, record: Record) -> None:
        """Take in one record; one that belongs to no server has no row."""
        if not record.server:
            return
        lane = self.lanes.get(record.server)
        if lane is None or (lane.story.run and record.run and lane.story.run != record.run):
            lane = self.lanes[record.server] = Lane(record.server, Story(record.run, record.server))
        lane.story.run = lane.story.run or record.run
        template = lane.story.template
        lane.story.take(record)
        if isinstance(record.event, WorkflowChanged) and lane.story.template != template:
            lane.past = self.history.runs(record.server, lane.story.template)
        line = line_of(record.event)
        if line is not None and not isinstance(record.event, IN_THE_ROW):
            lane.last = " ".join(line[1].split())

    def lines(self, now: datetime, width: int, height: int) -> list[Text]:
        """The rows at this moment; what is left out where there is no room is said."""
        lanes = list(self.lanes.values())
        if not lanes:
            return []
        double = width < WIDE and len(lanes) * 2 < height
        head = width >= NARROW and height > 2
        room = height - head
        shown = lanes if len(lanes) <= room else self._urgent(max(1, room - 1))
        columns = _Columns.of(shown, width, now)
        rows = [columns.heads()] if head else []
        for lane in shown:
            rows.append(columns.row(lane, now))
            if double and lane.last and lane.story.end is None:
                rows.append(Text(cut(f"  {lane.last}", width), style="dim"))
        if len(shown) < len(lanes):
            phases = Counter(_phase(lane.story) for lane in lanes if lane not in shown)
            counts = ", ".join(f"{count} {phase}" for phase, count in phases.most_common())
            rows.append(Text(cut(f"  and {len(lanes) - len(shown)} more: {counts}", width), style="dim"))
        return rows

    def summary(self, now: datetime, width: int) -> list[Text]:
        """The rows at the end, and under them a timeline: of one run in full, of several on one scale."""
        rows = self.lines(now, width, 10**6)
        stories = [lane.story for lane in self.lanes.values() if lane.story.phases]
        picture = timeline(stories[0], now, width) if len(stories) == 1 else strips(stories, now, width)
        return [*rows, Text(""), *picture, Text("")] if picture else rows

    def _urgent(self, count: int) -> list[Lane]:
        """What failed last, on up to half of the rows; then what runs before what has ended before what waits. In the
        usual order.
        """
        failed = [lane for lane in self.lanes.values() if lane.story.failed][-max(1, count // 2) :]
        rank = {
            lane.server: (lane.story.end is not None) + 2 * (lane.story.started is None) for lane in self.lanes.values()
        }
        others = [
            lane for lane in sorted(self.lanes.values(), key=lambda lane: rank[lane.server]) if lane not in failed
        ]
        chosen = [*failed, *others][:count]
        return [lane for lane in self.lanes.values() if lane in chosen]


@dataclass(frozen=True, slots=True)
class _Columns:
    """How wide each column is for these rows; 0 leaves one out. `brief`: the shorter form of window and time left."""

    width: int
    brief: bool
    server: int
    action: int
    bar: int
    times: int
    window: int
    left: int

    @classmethod
    def of(cls, lanes: Sequence[Lane], width: int, now: datetime) -> _Columns:
        """Wide enough for all rows; the bar gets what is left. What fits least is given up first."""
        narrow = width < NARROW
        steps = [lane.story.action for lane in lanes if lane.story.action]
        label = max((len(step.label) for step in steps), default=0)
        place = max((len(f"{step.index}/{step.total}") for step in steps), default=0)
        spent = max((len(_times(step, now)) for step in steps), default=0)
        server = min(max(6, *(len(lane.server) for lane in lanes)), 14 if narrow else 20)
        tries = [(False, label, spent), (True, label, spent), (True, min(label, 20), 0), (True, place, 0)]
        for brief, action, times in tries[2 if narrow else 0 :]:
            window = max(0 if narrow else 7 if brief else 25, *(len(_window(lane.story, now, brief)) for lane in lanes))
            left = max(len(_left(lane, now, brief)) for lane in lanes)
            used = sum(size + 1 for size in (server + 2, PHASE, action, times, window, TIME, left) if size) - 1
            bar = min(24, width - used - 1) if steps else 0
            if bar >= 6 or (not steps and used <= width):
                break
        return cls(width, brief, server, action, max(bar, 0), times, window, left)

    def heads(self) -> Text:
        """What the columns are."""
        words = [
            ("  server", self.server + 2),
            ("phase", PHASE),
            ("action", self.action),
            ("", self.bar),
            ("", self.times),
        ]
        words += [("netboot", self.window), ("    run", TIME), ("left", self.left)]
        return Text(" ".join(fit(word, size) for word, size in words if size), style="dim")

    def row(self, lane: Lane, now: datetime) -> Text:
        """One server's row."""
        story = lane.story
        mark, style = _mark(story)
        line = Text(f"{mark} ", style=style)
        line.append(fit(lane.server, self.server) + " ", style="bold")
        line.append(fit(_phase(story), PHASE) + " ", style=style if story.end or story.failed else "")
        self._action(line, story, now)
        opened = story.netboot == "open"
        line.append(fit(_window(story, now, self.brief), self.window) + " ", style="bold yellow" if opened else "dim")
        spent = story.seconds(now)
        took = "" if not story.what else span(spent) if story.end else clock(spent)
        line.append(f"{took:>{TIME}}")
        if self.left:
            line.append(" " + fit(_left(lane, now, self.brief), self.left), style="cyan")
        said = story.failed.said if story.failed else lane.last
        room = self.width - line.cell_len - 2
        if said and (self.width >= WIDE or (story.end and story.failed)) and room >= 20:
            line.append("  " + cut(said, room), style="" if story.failed else "dim")
        return line

    def _action(self, line: Text, story: Story, now: datetime) -> None:
        step = story.action
        if not self.action:
            return
        label = "" if step is None else f"{step.index}/{step.total}" if self.action < 8 else step.label
        line.append(fit(label, self.action) + " ")
        if self.bar:
            line.append_text(_bar(step, now, self.bar))
            line.append(" ")
        if self.times:
            line.append(fit(_times(step, now) if step else "", self.times) + " ", style="dim")


def _mark(story: Story) -> tuple[str, str]:
    if story.started is None:
        return MARKS["not begun"]
    return BAD if story.failed and not story.end else MARKS.get(story.verdict, BAD)


def _phase(story: Story) -> str:
    if story.end is not None:
        return {"provisioned": "done", "interrupted": "stopped"}.get(story.verdict, story.verdict)
    if story.started is None:
        return "not begun"
    return story.phase.title if story.phase else "undoing" if story.failed else story.state.lower()


def _bar(step: Step | None, now: datetime, width: int) -> Text:
    """How much of its timeout an action has used; one without a timeout has no bar."""
    if step is None or not step.limit:
        return Text(" " * width)
    full = width if step.outcome not in (RUNNING, FAILED) else int(min(1.0, step.seconds(now) / step.limit) * width)
    style = "bold red" if step.outcome == FAILED else "green" if step.outcome != RUNNING else "cyan"
    return Text.assemble(("━" * full, style), ("─" * (width - full), "dim"))


def _times(step: Step, now: datetime) -> str:
    spent = clock(step.seconds(now))
    return f"{spent}/{clock(step.limit)}" if step.limit and step.outcome == RUNNING else spent


def _window(story: Story, now: datetime, brief: bool) -> str:
    """Whether netboot is open, always; and until when, with the time that is left of it."""
    if story.netboot != "open":
        return story.netboot or "-"
    until = parse_time(story.expires)
    if until is None:
        return "OPEN"
    rest = clock(max(0.0, (until - now).total_seconds()))
    return f"OPEN {rest}" if brief else f"OPEN until {until.astimezone():%H:%M:%S}, {rest}"


def _left(lane: Lane, now: datetime, brief: bool) -> str:
    left = seconds_left(lane.story, lane.past, now)
    if left is None:
        return ""
    runs = f"{len(lane.past)} run{'s' if len(lane.past) > 1 else ''}"
    return f"~{clock(left)} ({len(lane.past)})" if brief else f"~{clock(left)} ({runs})"

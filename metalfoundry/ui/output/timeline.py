"""A run as a picture of text: when each phase and action began, and how long it took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from metalfoundry.records.run_state import DONE, FAILED, LEFT, RUNNING, SKIPPED, Step, Story

MARKS = {DONE: "✓", FAILED: "✗", SKIPPED: "-", RUNNING: "●", LEFT: "·"}
STYLES = {DONE: "green", FAILED: "bold red", SKIPPED: "dim", RUNNING: "cyan", LEFT: "dim"}
FULL, EIGHTHS, OPEN = "█", ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉"), "▒"
LABEL, TIME, LEAST_BAR = 30, 9, 10


def span(seconds: float) -> str:
    """Seconds as a person says them: 0.4 s, 12.5 s, 3:07, 1:02:03."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    return clock(seconds)


def clock(seconds: float) -> str:
    """Seconds as 0:07, 12:40, 1:02:03."""
    whole = int(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def timeline(story: Story, now: datetime, width: int) -> list[Text]:
    """Every phase, under Install its actions, and the time that netboot was open; each line fits `width` cells."""
    if story.started is None:
        return []
    end = max([story.latest or now, *(step.ended or now for step in steps_of(story))])
    whole = max((end - story.started).total_seconds(), 0.001)
    label = max(12, min(LABEL, max((_indented(step) for step in steps_of(story)), default=0), width // 2))
    bar = max(LEAST_BAR, min(60, width - label - TIME - 2))
    lines = []
    for step in steps_of(story):
        at = (step.started - story.started).total_seconds() / whole
        share = step.seconds(now) / whole
        style = "yellow" if step in story.windows else STYLES[step.outcome]
        line = Text(fit(_label(step, story), label), style="dim" if step.outcome == SKIPPED else "")
        line.append(" ")
        drawn = " " * bar if step.outcome == SKIPPED else _bar(at, share, bar, OPEN if step in story.windows else FULL)
        line.append(drawn, style=style)
        took = "-" if step.outcome == SKIPPED else span(step.seconds(now))
        line.append(f"{took:>{TIME}}", style="dim")
        _said(line, step, width)
        line.rstrip()
        lines.append(line)
    return lines


def strips(stories: Sequence[Story], now: datetime, width: int) -> list[Text]:
    """One line for each run, all on one scale of time; a phase's name stands where it fits."""
    began = [story.started for story in stories if story.started]
    if not began:
        return []
    first = min(began)
    last = max(step.ended or now for story in stories for step in story.phases) if any(
        story.phases for story in stories
    ) else now  # fmt: skip
    whole = max((last - first).total_seconds(), 0.001)
    label = max(8, min(20, max(len(story.server) for story in stories), width // 3))
    room = max(LEAST_BAR, width - label - TIME - 1)
    lines = []
    for story in stories:
        line = Text(fit(story.server, label) + " ")
        at = 0
        for place, step in enumerate(step for step in story.phases if step.outcome != SKIPPED):
            left = max(at, round((step.started - first).total_seconds() / whole * room))
            right = round(((step.ended or now) - first).total_seconds() / whole * room)
            if right <= left:
                continue
            line.append(" " * (left - at))
            style = "reverse red" if step.outcome == FAILED else "reverse green" if place % 2 else "reverse cyan"
            line.append(_boxed(step.title, right - left), style=style)
            at = right
        line.append(" " * (room - at) + f"{span(story.seconds(now)):>{TIME}}")
        lines.append(line)
    return lines


def steps_of(story: Story) -> list[Step]:
    """Phases in order, under Install its actions, then the times that netboot was open."""
    steps: list[Step] = []
    actions = sorted(story.actions, key=lambda step: step.started)
    for phase in story.phases:
        steps.append(phase)
        if phase.title == "Install":
            steps += actions
            actions = []
    return steps + actions + story.windows


def _label(step: Step, story: Story) -> str:
    inner = "  " if step in story.actions else ""
    return f"{inner}{MARKS[step.outcome]} {step.label}"


def _indented(step: Step) -> int:
    return cell_len(step.label) + (4 if step.total else 2)


def _said(line: Text, step: Step, width: int) -> None:
    """What came of the step, where there is room for it."""
    room = width - line.cell_len - 2
    words = "" if step.total and step.said in ("SUCCESS", "LEFT") else step.said.splitlines()[0] if step.said else ""
    if words and room >= min(24, cell_len(words)):
        line.append("  " + cut(words, room), style="dim" if step.outcome != FAILED else "")


def _bar(at: float, share: float, width: int, full: str) -> str:
    """A bar from `at` for `share` of the whole; whatever happened is seen, however short it was."""
    start = min(int(at * width), width - 1)
    length = share * width
    cells, rest = int(length), length - int(length)
    drawn = full * cells + (EIGHTHS[int(rest * 8)] if full == FULL else full if rest >= 0.5 else "")
    return set_cell_size(" " * start + (drawn or (full if full == OPEN else EIGHTHS[2])), width)


def _boxed(title: str, cells: int) -> str:
    """A piece of a strip, which is told from its neighbour without colour as well."""
    return set_cell_size(f"|{title}" if cells > 3 else "|", cells)


def cut(text: str, width: int) -> str:
    """`text` in at most `width` cells, with … where something is left out."""
    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)).rstrip() + "…"


def fit(text: str, width: int) -> str:
    """`text` in exactly `width` cells."""
    return set_cell_size(cut(text, width), width)


def joined(lines: Iterable[Text]) -> str:
    """The lines as plain text."""
    return "\n".join(line.plain.rstrip() for line in lines)

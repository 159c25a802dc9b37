"""A recorded fleet on the terminal: what came of it, all its runs on one scale of time, and why some failed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from metalfoundry.records.recorded_run import RecordedRun
from metalfoundry.records.run_store import KeptRun
from metalfoundry.ui.output.causes import causes
from metalfoundry.ui.output.timeline import span, strips


def show_fleet(fleet: KeptRun, runs: Mapping[str, RecordedRun], console: Console) -> None:
    """Print it; only the picture is cut to the width of the terminal."""
    for line in fleet_lines(fleet, runs, console.size.width):
        console.print(line, soft_wrap=True)


def fleet_lines(fleet: KeptRun, runs: Mapping[str, RecordedRun], width: int) -> list[Text]:
    """The report of a fleet."""
    style = "bold green" if fleet.verdict == "provisioned" else "bold red"
    after = f" after {span(fleet.report['seconds'])}"
    lines = [Text.assemble((f"{len(fleet.servers)} servers", "bold"), "  ", (fleet.verdict, style), after)]
    began = f", began {fleet.began.astimezone():%Y-%m-%d %H:%M:%S}" if fleet.began else ""
    lines += [Text(f"  run {fleet.run}{began}", style="dim"), Text("")]
    stories = [run.story for run in runs.values()]
    now = max((story.latest for story in stories if story.latest), default=datetime.max.replace(tzinfo=UTC))
    lines += strips(stories, now, width - 1)
    why = [Text(line) for line in causes(fleet.report)]
    lines += [Text(""), *why] if why else []
    if left := fleet.report["not_begun"]:
        lines.append(Text(f"left alone: {', '.join(left)}"))
    return lines

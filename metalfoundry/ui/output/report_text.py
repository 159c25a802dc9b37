"""A recorded run on the terminal: what came of it, the timeline, the machine before and after, findings, commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from metalfoundry.records.recorded_run import RecordedRun, brief
from metalfoundry.ui.output.timeline import cut, span, timeline

EVIDENCE_LINES = 8


def show(parts: Sequence[RecordedRun], console: Console) -> None:
    """Print all parts, the first run first."""
    width = console.size.width
    for part in parts:
        for line in lines_of(part, width, commands=part is parts[-1]):
            console.print(line, soft_wrap=True)


def lines_of(part: RecordedRun, width: int, commands: bool = True) -> list[Text]:
    """The report of one run; only the picture is cut to `width`."""
    story = part.story
    style = "bold green" if part.verdict == "provisioned" else "bold red"
    lines = [Text.assemble((story.server, "bold"), "  ", (part.verdict, style), f" after {span(part.seconds)}")]
    began = f"{story.started.astimezone():%Y-%m-%d %H:%M:%S}" if story.started else "at a time not recorded"
    why = f"; {story.reason}" if story.reason else ""
    lines.append(Text(f"  run {story.run}, began {began}{why}", style="dim"))
    if story.earlier:
        lines.append(Text(f"  continues {story.earlier}", style="dim"))
    lines += [Text(f"  {line}") for line in _netboot(part)]
    lines += _error(part)
    for finding in part.findings:
        lines += _finding(finding)
    now = story.latest or datetime.max.replace(tzinfo=UTC)
    lines += [Text(""), *timeline(story, now, width - 1), Text("")]
    lines += _facts(part)
    return lines + (_commands(part, width) if commands else [])


def _netboot(part: RecordedRun) -> list[str]:
    netboot = part.report.get("netboot") or {}
    opened = sum(step.seconds(part.story.latest or step.started) for step in part.story.windows)
    closed = netboot.get("closed")
    if closed is None:
        state = (
            f"netboot was {part.story.netboot} when the record ends" if part.story.netboot else "netboot: not recorded"
        )
    else:
        state = "netboot is closed" if closed else "netboot is NOT confirmed closed"
    proof = (netboot.get("proof") or {}).get("hardware", "")
    words = [state, f"it was open for {span(opened)}" if part.story.windows else "", proof]
    return ["; ".join(word for word in words if word)]


def _error(part: RecordedRun) -> list[Text]:
    error = part.error
    if not error:
        return []
    lines = [Text(f"  error: {error.get('what', '')}", style="bold red")]
    evidence = error.get("evidence", "").splitlines()[-EVIDENCE_LINES:]
    words = [("where", error.get("where", "")), *(("proof", line) for line in evidence), ("now", error.get("next", ""))]
    return lines + [Text(f"  {f'{name}:':<6} {text}") for name, text in words if text]


def _finding(finding: Mapping[str, Any]) -> list[Text]:
    lines = [
        Text.assemble(("  found: ", "bold"), str(finding.get("what", "")), (f" [{finding.get('certainty')}]", "dim"))
    ]
    for item in finding.get("evidence", ())[:EVIDENCE_LINES]:
        lines.append(Text(f"    {item.get('source')}: {item.get('line')}", style="dim"))
    lines += [Text(f"    now: {finding['remedy']}")] if finding.get("remedy") else []
    return lines + ([Text(f"    {finding['advice']}")] if finding.get("advice") else [])


def _facts(part: RecordedRun) -> list[Text]:
    rows = part.facts()
    if not rows:
        return []
    lines = [Text("the machine", style="bold")]
    for words, before, after in rows:
        if before and after and before != after:
            lines.append(Text.assemble(f"  {words:<20} ", (before, "dim"), " → ", (after, "bold")))
        else:
            lines.append(Text(f"  {words:<20} {before or after}" + ("" if before else "  (after)")))
    return [*lines, Text("")]


def _commands(part: RecordedRun, width: int) -> list[Text]:
    sent = list(part.commands())
    if not sent:
        return []
    lines = [Text(f"{len(sent)} commands (in full, with their stdin, in --html)", style="bold")]
    for record, event in sent:
        head = f"  {record.time.astimezone():%H:%M:%S} {event.effect:<7} {event.host}: "
        line = Text(head, style="dim")
        line.append(cut(brief(event.text), max(20, width - 1 - line.cell_len)))
        lines.append(line)
    return lines

"""A recorded fleet as one HTML page: all its runs on one scale of time, and those that failed by their cause."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from html import escape
from typing import Any

from metalfoundry.records.recorded_run import RecordedRun
from metalfoundry.records.run_state import SKIPPED, Story
from metalfoundry.records.run_store import KeptRun
from metalfoundry.ui.output.report_html import filled
from metalfoundry.ui.output.timeline import span


def fleet_page(fleet: KeptRun, runs: Mapping[str, RecordedRun]) -> str:
    """The page of a fleet; each run has a page of its own."""
    sections = [("", _head(fleet)), ("Why", _causes(fleet.report)), ("Timeline", _rows(fleet.report, runs))]
    body = "".join(
        f"<section>{f'<h2>{title}</h2>' if title else ''}{text}</section>" for title, text in sections if text
    )
    title = f"{len(fleet.servers)} servers: {fleet.verdict}"
    return filled(title, f"<article>{body}</article>", fleet.began)


def _head(fleet: KeptRun) -> str:
    good = "good" if fleet.verdict == "provisioned" else "bad"
    well = len(fleet.servers) - len(fleet.unfinished)
    rows = [
        ("run", fleet.run),
        ("began", f"{fleet.began.astimezone():%Y-%m-%d %H:%M:%S}" if fleet.began else ""),
        ("provisioned", f"{well} of {len(fleet.servers)}"),
        ("left alone", ", ".join(fleet.report["not_begun"])),
        ("exit code", str(fleet.report["exit_code"])),
    ]
    listed = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in rows if value)
    verdict = f'<span class="verdict {good}">{escape(fleet.verdict)}</span>'
    after = span(fleet.report["seconds"])
    return f"<header><h1>{len(fleet.servers)} servers {verdict} after {after}</h1><dl>{listed}</dl></header>"


def _causes(report: Mapping[str, Any]) -> str:
    return "".join(
        f'<div class="box bad"><p><b>{len(group["servers"])} x {escape(group["cause"])}</b></p>'
        f'<p class="soft">{escape(", ".join(group["servers"]))}</p>'
        + (f"<p>Now:</p><pre>{escape(group['next'])}</pre>" if group["next"] else "")
        + "</div>"
        for group in report["causes"]
    )


def _rows(report: Mapping[str, Any], runs: Mapping[str, RecordedRun]) -> str:
    """A row for each server, all from the beginning of the first run to the end of the last."""
    stories = [run.story for run in runs.values()]
    began = min((story.started for story in stories if story.started), default=None)
    ended = max((story.latest for story in stories if story.latest), default=None)
    if began is None or ended is None:
        return ""
    rows = {str(row["server"]): row for row in report["servers"]}
    return "".join(_row(run.story, rows.get(name, {}), began, ended) for name, run in runs.items())


def _row(story: Story, row: Mapping[str, Any], began: datetime, ended: datetime) -> str:
    whole = max((ended - began).total_seconds(), 0.001)
    bars = []
    for step in story.phases:
        if step.outcome != SKIPPED:
            at, share = (step.started - began).total_seconds() / whole, step.seconds(ended) / whole
            words = escape(f"{step.title}: {step.outcome}, {span(step.seconds(ended))}")
            bars.append(
                f'<div class="bar {step.outcome}" title="{words}" '
                f'style="left:min({at:.2%}, 100% - 3px);width:{share:.2%}"></div>'
            )
    verdict = str(row.get("verdict", ""))
    took = span(story.seconds(story.latest or ended))
    words = f"{story.server}: {verdict}, {took}"
    what = f'<div class="said">{escape(str(row["what"]))}</div>' if row.get("what") else ""
    return (
        f'<div class="row {"failed" if what else "done"}"><div class="name">{escape(story.server)}</div>'
        f'<div class="track fleet" role="img" aria-label="{escape(words)}">{"".join(bars)}</div>'
        f'<div class="took">{took}</div>{what}</div>'
    )

"""A recorded run as one HTML page: no network, no script; everything that was read is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from metalfoundry.model.events import CommandStarted, Notice, Record, WindowChanged
from metalfoundry.records.recorded_run import RecordedRun, brief
from metalfoundry.records.run_state import SKIPPED, Step
from metalfoundry.ui.output.timeline import span, steps_of

GOOD = ("provisioned",)


def page(parts: Sequence[RecordedRun]) -> str:
    """The page of a run, with the runs that it took up before it."""
    last = parts[-1]
    body = "\n".join(f"<article>{_article(part)}</article>" for part in parts)
    return filled(f"{last.story.server}: {last.verdict}", body, last.story.started)


def filled(title: str, body: str, began: datetime | None) -> str:
    """A whole page around `body`, which is HTML; times are told in the zone that was this computer's at `began`."""
    template = Template(files("metalfoundry.ui.output").joinpath("report.html").read_text(encoding="utf-8"))
    zone = f"{began.astimezone():%Z (%z)}" if began else "UTC"
    return template.substitute(title=escape(title), body=body, zone=escape(zone))


def _article(part: RecordedRun) -> str:
    sections = [
        ("", _head(part)),
        ("", _error(part.error)),
        ("Findings", _findings(part)),
        ("Timeline", _timeline(part)),
        ("The machine before and after", _facts(part)),
        ("Netboot", _list(part.story.changes, _change)),
        ("Said on the way", _list(part.story.notices, _notice)),
        ("Commands sent", _commands(part)),
    ]
    return "".join(
        (f"<section><h2>{title}</h2>{body}</section>" if title else body) for title, body in sections if body
    )


def _head(part: RecordedRun) -> str:
    story = part.story
    good = "good" if part.verdict in GOOD else "bad"
    netboot = part.report.get("netboot") or {}
    closed = {True: "closed", False: "NOT confirmed closed", None: story.netboot or "not recorded"}[
        netboot.get("closed")
    ]
    proof = (netboot.get("proof") or {}).get("hardware", "")
    exposed = sum(step.seconds(story.latest or step.started) for step in story.windows)
    rows = [
        ("run", story.run),
        ("began", f"{story.started.astimezone():%Y-%m-%d %H:%M:%S}" if story.started else ""),
        ("continues", story.earlier),
        ("reason", story.reason),
        ("Workflow", f"{story.workflow} ({story.state})" if story.workflow else ""),
        ("Template", story.template),
        ("netboot", "; ".join(word for word in (closed, proof) if word)),
        ("open for", span(exposed) if story.windows else ""),
        ("exit code", str(part.report.get("exit_code", ""))),
    ]
    listed = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in rows if value)
    verdict = f'<span class="verdict {good}">{escape(part.verdict)}</span>'
    return f"<header><h1>{escape(story.server)} {verdict} after {span(part.seconds)}</h1><dl>{listed}</dl></header>"


def _error(error: Mapping[str, str]) -> str:
    if not error:
        return ""
    evidence = f"<pre>{escape(error['evidence'])}</pre>" if error.get("evidence") else ""
    where = f'<p class="soft">{escape(error["where"])}</p>' if error.get("where") else ""
    step = f"<p>Now:</p><pre>{escape(error['next'])}</pre>" if error.get("next") else ""
    return f'<div class="box bad"><p><b>{escape(error.get("what", ""))}</b></p>{where}{evidence}{step}</div>'


def _findings(part: RecordedRun) -> str:
    said = "".join(f'<p class="soft">{escape(line)}</p>' for line in part.witnesses)
    return said + "".join(_finding(finding) for finding in part.findings) if part.findings else ""


def _finding(finding: Mapping[str, Any]) -> str:
    kind = "bad" if finding.get("certainty") == "certain" and finding.get("exit_code") else "likely"
    proof = "".join(
        f'<p class="soft">{escape(str(item.get("source", "")))}</p><pre>{escape(str(item.get("line", "")))}</pre>'
        for item in finding.get("evidence", ())
    )
    remedy = f"<p>Now:</p><pre>{escape(str(finding['remedy']))}</pre>" if finding.get("remedy") else ""
    advice = f"<p>{escape(str(finding['advice']))}</p>" if finding.get("advice") else ""
    what = f"<b>{escape(str(finding.get('what', '')))}</b>"
    sure = f'<span class="soft">{escape(str(finding.get("certainty", "")))}</span>'
    return f'<div class="box {kind}"><p>{what} {sure}</p>{proof}{remedy}{advice}</div>'


def _timeline(part: RecordedRun) -> str:
    story = part.story
    if story.started is None or story.latest is None:
        return ""
    whole = max((story.latest - story.started).total_seconds(), 0.001)
    return "".join(_row(step, story.started, story.latest, whole, step in story.windows) for step in steps_of(story))


def _row(step: Step, began: datetime, now: datetime, whole: float, window: bool) -> str:
    at = 100 * (step.started - began).total_seconds() / whole
    share = 100 * step.seconds(now) / whole
    kinds = ["row", "window" if window else step.outcome, "action" if step.total else ""]
    bar = f'<div class="bar" style="left:min({at:.2f}%, 100% - 3px);width:{share:.2f}%"></div>'
    said = "" if step.total and step.said in ("SUCCESS", "LEFT") else step.said
    took = "-" if step.outcome == SKIPPED else span(step.seconds(now))
    words = f"{step.label}: {step.outcome}, {took}"
    return (
        f'<div class="{" ".join(kind for kind in kinds if kind)}"><div class="name">{escape(step.label)}</div>'
        f'<div class="track" role="img" aria-label="{escape(words)}">{"" if step.outcome == SKIPPED else bar}</div>'
        f'<div class="took">{took}</div>' + (f'<div class="said">{escape(said)}</div>' if said else "") + "</div>"
    )


def _facts(part: RecordedRun) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(words)}</th><td class="mono" data-head="before">{escape(before)}</td>'
        f'<td class="mono{" new" if after and before != after else ""}" data-head="after">{escape(after)}</td></tr>'
        for words, before, after in part.facts()
    )
    head = '<thead><tr><th></th><th scope="col">before</th><th scope="col">after</th></tr></thead>'
    return f"<table>{head}<tbody>{rows}</tbody></table>" if rows else ""


def _list(records: Iterable[Record], words: Any) -> str:
    items = "".join(f"<li>{_time(record)}{escape(words(record.event))}</li>" for record in records)
    return f"<ul>{items}</ul>" if items else ""


def _change(event: WindowChanged) -> str:
    rest = (event.why, event.proof, f"until {event.expires}" if event.expires else "")
    return "; ".join((event.state, *(word for word in rest if word)))


def _notice(event: Notice) -> str:
    return f"warning: {event.text}" if event.level == "warning" else event.text


def _commands(part: RecordedRun) -> str:
    items = "".join(f"<li>{_command(record, event)}</li>" for record, event in part.commands())
    return f"<ul>{items}</ul>" if items else ""


def _command(record: Record, event: CommandStarted) -> str:
    effect = f'<span class="effect {escape(event.effect)}">{escape(event.effect)}</span>'
    place = " on ".join(escape(word) for word in (record.phase, event.host) if word)
    head = f'{_time(record)}{effect}<span class="soft">{place}</span>'
    short = f"<code>{escape(brief(event.text))}</code>"
    if "\n" not in event.text:
        return f"{head}<br>{short}"
    return f"<details><summary>{head}<br>{short}</summary><pre>{escape(event.text)}</pre></details>"


def _time(record: Record) -> str:
    return f'<span class="time">{record.time.astimezone():%H:%M:%S}</span>'

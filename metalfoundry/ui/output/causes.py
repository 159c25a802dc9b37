"""The end of many runs, as lines of text: who failed, grouped by cause, each with one line of its own."""

from __future__ import annotations

from collections.abc import Sequence

from metalfoundry.diagnosis.findings import Certainty
from metalfoundry.model import redact
from metalfoundry.runs.report import Report


def causes(reports: Sequence[Report]) -> list[str]:
    """Nothing where none has failed; the most frequent cause first."""
    failed = [report for report in reports if report.error is not None]
    groups: dict[str, list[Report]] = {}
    for report in failed:
        groups.setdefault(_cause(report), []).append(report)
    lines = [f"{len(failed)} of {len(reports)} failed:"] if failed else []
    wide = max((len(report.server) for report in failed), default=0)
    for cause, members in sorted(groups.items(), key=lambda group: -len(group[1])):
        lines.append(f"  {len(members)} x {cause}")
        lines += [f"    {report.server:<{wide}}  {report.exit_code:>3}  {_what(report)}" for report in members]
        step = str(getattr(members[0].error, "next", ""))
        lines += [f"    {' ' * wide}  now: {redact.text(step.splitlines()[0])}"] if step else []
    return lines


def _cause(report: Report) -> str:
    """What the diagnosis is certain of; else the error, without what differs from server to server."""
    finding = report.diagnosis.findings[0] if report.diagnosis else None
    if finding is not None and finding.exit_code and finding.certainty is Certainty.CERTAIN:
        return finding.id
    return _what(report).replace(report.server, "NAME")


def _what(report: Report) -> str:
    return " ".join(redact.text(str(getattr(report.error, "what", report.error))).split())

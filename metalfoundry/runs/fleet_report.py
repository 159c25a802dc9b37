"""What came of a fleet, as one value: for --json, for the record, for the end on the terminal. Schema: docs/json.md."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from metalfoundry.diagnosis.findings import Certainty
from metalfoundry.model import redact
from metalfoundry.model.errors import FleetFailed, UnsafeError
from metalfoundry.runs.report import Report

SCHEMA = 1
NO_END = "no end"
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
STOPS = (130, 129, 143)  # Ctrl-C, SIGHUP, SIGTERM
VERDICTS = {0: "provisioned", UnsafeError.exit_code: "unsafe"} | dict.fromkeys(STOPS, "interrupted")


def fleet_json(
    run: str,
    names: Sequence[str],
    reports: Mapping[str, Report],
    not_begun: Sequence[str],
    stopped: str,
    interrupt: BaseException | None,
    seconds: float,
) -> dict[str, Any]:
    """The fleet's schema, version 1; `verdict` is "no end" while a run goes on."""
    going_on = len(reports) + len(not_begun) < len(names) or bool(not_begun and not stopped)
    code = None if going_on else exit_code_of(list(reports.values()), interrupt, not_begun, stopped)
    return {
        "schema": SCHEMA,
        "run": run,
        "verdict": NO_END if code is None else VERDICTS.get(code, "failed"),
        "exit_code": code,
        "seconds": round(seconds, 3),
        "servers": [_row(name, reports.get(name)) for name in names if name not in {*not_begun}],
        "not_begun": list(not_begun),
        "stopped": stopped or None,
        "causes": causes(list(reports.values())),
    }


def exit_code_of(
    reports: Sequence[Report], interrupt: BaseException | None, not_begun: Sequence[str] = (), stopped: str = ""
) -> int:
    """What the program ends with: a window that may be open before an interrupt, that before what the runs have in
    common, and 50 where they differ; never 0 where a server was not begun, `stopped` saying why.
    """
    codes = {report.exit_code for report in reports}
    if UnsafeError.exit_code in codes:
        return UnsafeError.exit_code
    if interrupt is not None:
        return 128 + getattr(interrupt, "signal", signal.SIGINT)
    if ended := codes & {*STOPS}:
        return ended.pop()
    if not_begun and codes <= {0}:  # an interrupt may come after the last run that it could have ended
        return 128 + signal.SIGINT if stopped == "interrupted" else FleetFailed.exit_code
    return codes.pop() if len(codes) == 1 else FleetFailed.exit_code


def causes(reports: Sequence[Report]) -> list[dict[str, Any]]:
    """Those that failed by what they have in common, the most frequent first: cause, next step, servers."""
    groups: dict[str, list[Report]] = {}
    for report in reports:
        if report.error is not None:
            groups.setdefault(_cause(report), []).append(report)
    return [
        {
            "cause": cause,
            "next": next(iter(redact.text(str(getattr(members[0].error, "next", ""))).splitlines()), ""),
            "servers": [report.server for report in members],
        }
        for cause, members in sorted(groups.items(), key=lambda group: -len(group[1]))
    ]


def _row(name: str, report: Report | None) -> dict[str, Any]:
    return {
        "server": name,
        "run": report.run if report else "",
        "verdict": report.verdict if report else NO_END,
        "exit_code": report.exit_code if report else None,
        "what": _what(report) if report and report.error else "",
    }


def _cause(report: Report) -> str:
    """What the diagnosis is certain of; else the error, without what differs from server to server."""
    finding = report.diagnosis.findings[0] if report.diagnosis else None
    if finding is not None and finding.exit_code and finding.certainty is Certainty.CERTAIN:
        return finding.id
    what = _what(report)
    for own, word in ((report.server, "NAME"), (report.run, "RUN")):
        if own:
            what = re.sub(rf"(?<![\w.-]){re.escape(own)}(?![\w.-]*\w)", word, what)
    return _FINGERPRINT.sub("SHA256:…", what)


def _what(report: Report) -> str:
    return " ".join(redact.text(str(getattr(report.error, "what", report.error))).split())

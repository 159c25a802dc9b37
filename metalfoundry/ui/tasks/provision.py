"""`fab provision` on the terminal: ask, run one server after the other, show what came of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from metalfoundry.foundry import Foundry
from metalfoundry.model.errors import FleetFailed, Interrupted, UnsafeError
from metalfoundry.model.inventory import Server
from metalfoundry.model.plain_text import json_text
from metalfoundry.records.run_store import Journal, home, kept
from metalfoundry.runs.options import Identity, Options
from metalfoundry.runs.report import Report
from metalfoundry.ui.output.live import View
from metalfoundry.ui.output.plain import say
from metalfoundry.ui.tasks.confirm import confirm, described
from metalfoundry.ui.tasks.errors import tell
from metalfoundry.ui.tasks.troubleshoot import kept_logs, tell_diagnosis

UNSAFE, PART_FAILED = UnsafeError.exit_code, FleetFailed.exit_code


def provision(
    foundry: Foundry,
    servers: Sequence[Server],
    options: Options,
    journal: Journal,
    view: View,
    *,
    ask: bool,
    json: bool,
    keep_going: bool = False,
) -> int:
    """Provision one server after the other; return the exit code. After a failure no other is begun, unless
    `keep_going`; after an interrupt, or a window that is not confirmed closed, none is in any case. An interrupt never
    hides that one of them is unsafe.
    """
    options = replace(options, confirm=partial(_confirm, view) if ask else None)
    view.expect(server.name for server in servers)
    reports: list[Report] = []
    shown: list[dict[str, Any]] = []
    interrupted = False
    try:
        for server in servers:
            report = foundry.provision(server.name, options)
            reports.append(report)
            shown.append(report.to_json() | _earlier(report))
            folder = journal.save(report.run, shown[-1])
            for source, text in kept_logs(report.diagnosis).items():
                journal.keep_log(report.run, source, text)
            view.after(partial(_tell, report, folder, json))
            if report.interrupted or report.exit_code == UNSAFE or (report.error is not None and not keep_going):
                break
        untouched = [server.name for server in servers[len(reports) :]]
        if untouched and not reports[-1].interrupted:
            view.after(partial(_tell_untouched, untouched, reports[-1]))
        if json:
            say(json_text(shown[0] if len(servers) == 1 else {"servers": shown, "not_begun": untouched}, indent=2))
    except KeyboardInterrupt:
        if all(report.exit_code != UNSAFE for report in reports):
            raise
        interrupted = True  # when the last of them was over
    return _exit_code(reports, interrupted)


def _confirm(view: View, identity: Identity) -> None:
    with view.paused():
        confirm(identity)


def _tell(report: Report, folder: Path | None, json: bool) -> None:
    if report.error is not None:
        tell(report.error)
        tell_diagnosis(report.diagnosis)
        if folder is not None:
            say(f"  kept:  {folder}", file=sys.stderr)
    elif not json:
        say(f"{report.server} is provisioned, netboot is closed; {report.seconds:.1f} s")


def _tell_untouched(names: Sequence[str], failed: Report) -> None:
    why = "its netboot is not confirmed closed" if failed.exit_code == UNSAFE else "--keep-going goes on"
    say(f"  {failed.server} failed, so these were left alone: {', '.join(names)} ({why})", file=sys.stderr)


def plan(foundry: Foundry, servers: Sequence[Server], options: Options, json: bool) -> int:
    """Show what would be done; nothing is written."""
    plans = [foundry.plan(server.name, options) for server in servers]
    if json:
        shown = [one.to_json() for one in plans]
        say(json_text(shown[0] if len(shown) == 1 else {"servers": shown}, indent=2))
        return 0
    for one in plans:
        say(described(one.identity))
        say(f"  ends with {one.boot_action or 'SUCCESS'}\n")
        for step in one.steps:
            say(f"[{step.phase}] on {step.host} ({step.effect}):\n{step.command}\n")
    say("Nothing was changed.", file=sys.stderr)
    return 0


def _earlier(report: Report) -> dict[str, Any]:
    """The part of the run that this one took up, as far as it was recorded on this computer."""
    if not report.resumes:
        return {}
    found = [run for run in kept(home()) if run.run == report.resumes]
    return {"earlier": {"run": report.resumes, **(found[0].parts() if found else {"phases": [], "actions": []})}}


def _exit_code(reports: Sequence[Report], interrupted: bool) -> int:
    codes = {report.exit_code for report in reports} | ({Interrupted.exit_code} if interrupted else set())
    if len(codes) == 1:
        return codes.pop()
    stopped = codes & {130, 129, 143}
    return UNSAFE if UNSAFE in codes else stopped.pop() if stopped else PART_FAILED

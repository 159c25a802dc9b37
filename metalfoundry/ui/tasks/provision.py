"""`fab provision` on the terminal: ask, run one server or a fleet of them, show what came of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from metalfoundry.foundry import Foundry
from metalfoundry.model.durations import seconds
from metalfoundry.model.errors import UnsafeError, UsageError
from metalfoundry.model.inventory import Server
from metalfoundry.model.plain_text import json_text
from metalfoundry.model.program import ours
from metalfoundry.records.run_store import Journal, home, kept
from metalfoundry.runs.fleet import Fleet, Policy
from metalfoundry.runs.fleet_report import exit_code_of
from metalfoundry.runs.options import Identity, Options
from metalfoundry.runs.report import Report
from metalfoundry.ui.output.causes import causes
from metalfoundry.ui.output.live import View
from metalfoundry.ui.output.plain import say
from metalfoundry.ui.tasks.confirm import confirm, confirm_many, described
from metalfoundry.ui.tasks.errors import tell
from metalfoundry.ui.tasks.troubleshoot import kept_logs, tell_diagnosis

UNSAFE = UnsafeError.exit_code


def provision(
    foundry: Foundry,
    servers: Sequence[Server],
    options: Options,
    journal: Journal,
    view: View,
    *,
    ask: bool,
    json: bool,
    policy: Policy,
) -> int:
    """Provision one server here, several at once as a fleet; return the exit code. An interrupt never hides that one of
    them is unsafe.
    """
    view.expect(server.name for server in servers)
    fleet = _fleet(foundry, servers, options, view, ask, policy) if len(servers) > 1 else None
    options = replace(options, confirm=partial(_confirm, view) if ask else None)
    reports = fleet or (foundry.provision(server, options) for server in servers)
    shown: dict[str, dict[str, Any]] = {}
    ended: list[Report] = []
    interrupt: KeyboardInterrupt | None = None
    while True:
        try:
            if fleet is not None:
                journal.save(fleet.id, fleet.to_json())
            for report in reports:
                ended.append(report)
                shown[report.server] = _kept(report, journal, view, json, alone=fleet is None)
                if fleet is not None:
                    journal.save(fleet.id, fleet.to_json())
            if fleet is not None:
                view.after(partial(_tell_end, fleet))
            if json:
                rows = [shown[server.name] for server in servers if server.name in shown]
                say(json_text(fleet.to_json() | {"servers": rows} if fleet else rows[0], indent=2))
            break
        except KeyboardInterrupt as error:
            interrupt = error
            if fleet is None:
                break
            fleet.cancel(error)
    if interrupt and fleet is None and all(report.exit_code != UNSAFE for report in ended):
        raise interrupt
    if fleet is None:
        return exit_code_of(ended, interrupt)
    return exit_code_of(ended, interrupt or fleet.interrupt, fleet.not_begun, fleet.stopped)


def pairs(labels: str) -> dict[str, str]:
    """`KEY=VALUE,KEY=VALUE…` as a mapping. Raises UsageError."""
    found = [word.partition("=") for word in filter(None, map(str.strip, labels.split(",")))]
    if wrong := ["".join(parts) for parts in found if not parts[0] or not parts[1]]:
        raise UsageError(f"--labels {wrong[0]} is no label", next="say KEY=VALUE, several with a comma between them")
    if labels and not found:
        raise UsageError("--labels names none", next="say KEY=VALUE")
    return {key: value for key, _, value in found}


def span(flag: str, text: str) -> float:
    """Seconds of a flag such as 30m; 0 where it is not given. Raises UsageError."""
    try:
        return seconds(text) if text else 0.0
    except ValueError as error:
        raise UsageError(f"{flag} {error}", next=f"say {flag} 30m, 90s, or a number of seconds") from error


def _fleet(
    foundry: Foundry, servers: Sequence[Server], options: Options, view: View, ask: bool, policy: Policy
) -> Fleet:
    if ask:
        with view.paused():
            confirm_many(foundry.status(servers, probe=True))
    return foundry.provision_many(servers, options, policy)


def _confirm(view: View, identity: Identity) -> None:
    with view.paused():
        confirm(identity)


def _kept(report: Report, journal: Journal, view: View, json: bool, *, alone: bool) -> dict[str, Any]:
    """Keep one report and tell of it; what failed among several is told at their end, but what may be open at once."""
    shown = report.to_json() | _earlier(report)
    folder = journal.save(report.run, shown) if report.run else None
    for source, text in kept_logs(report.diagnosis).items():
        journal.keep_log(report.run, source, text)
    if alone or report.error is None or report.exit_code == UNSAFE:
        view.after(partial(_tell, report, folder, json))
    return shown


def _tell(report: Report, folder: Path | None, json: bool) -> None:
    if report.error is not None:
        tell(report.error)
        tell_diagnosis(report.diagnosis)
        if folder is not None:
            say(f"  kept:  {folder}", file=sys.stderr)
    elif not json:
        netboot = "netboot is closed" if report.closed else f"netboot is open: {ours('status', report.server)}"
        say(f"{report.server} is provisioned, {netboot}; {report.seconds:.1f} s")


def _tell_end(fleet: Fleet) -> None:
    for line in causes(fleet.to_json()):
        say(line, file=sys.stderr)
    why = {"unsafe": "netboot of one is not confirmed closed", "interrupted": "you interrupted"}
    if fleet.not_begun:
        reason = why.get(fleet.stopped, "use --keep-going to go on after a failure")
        say(f"left alone: {', '.join(fleet.not_begun)} ({reason})", file=sys.stderr)
    if fleet.unfinished:
        say(f"again: {ours('provision', 'all', '--retry-failed', fleet.id)}", file=sys.stderr)


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

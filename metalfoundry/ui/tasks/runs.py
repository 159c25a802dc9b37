"""Following and ending runs, and the list of recorded ones, on the terminal."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from metalfoundry.foundry import Foundry
from metalfoundry.model import durations
from metalfoundry.model.errors import ClaimedError, UsageError, WorkflowFailed, WorkflowTimedOut
from metalfoundry.model.inventory import Server
from metalfoundry.model.plain_text import json_text
from metalfoundry.model.program import ours
from metalfoundry.records import run_store
from metalfoundry.runs.attach import Followed
from metalfoundry.transport.clock import SystemClock
from metalfoundry.ui.output.live import View
from metalfoundry.ui.output.plain import say
from metalfoundry.ui.output.tables import Paper, table_of
from metalfoundry.ui.tasks.confirm import typed

TAKEN, FAILED, TIMED_OUT = ClaimedError.exit_code, WorkflowFailed.exit_code, WorkflowTimedOut.exit_code


def attach(foundry: Foundry, servers: Sequence[Server], view: View, json: bool) -> int:
    """Follow one server's run; the exit code says how its Workflow ended, TAKEN that somebody ended the run."""
    if len(servers) != 1:
        raise UsageError("attach follows one server at a time", next=ours("attach", servers[0].name))
    seen = foundry.attach(servers[0].name)
    view.after(lambda: say(json_text(asdict(seen), indent=2) if json else _ended(seen)))
    return {"FAILED": FAILED, "TIMEOUT": TIMED_OUT}.get(seen.state, 0 if seen.ended else TAKEN)


def _ended(seen: Followed) -> str:
    if not seen.ended:
        return f"the run of {seen.holder} was ended: {seen.how}"
    words = "and its Workflow was removed, as after a success" if seen.state == "DELETED" else f"at {seen.state}"
    return f"the run of {seen.holder} has ended, {words}"


def cancel(foundry: Foundry, servers: Sequence[Server], reason: str, *, reboot: bool, ask: bool) -> None:
    """End the runs of these servers."""
    for server in servers:
        if ask:
            question = f"This ends the run on {server.name}. Type its name to go on: "
            typed(server.name, question, ours("cancel", server.name, "--yes"))
        proof = foundry.cancel(server.name, reason)
        say(f"{server.name}: the run is cancelled, netboot is closed ({proof.hardware})")
        if reboot:
            foundry.reboot(server.name, wait=False)
            say(f"{server.name}: reboots into its disk")


def runs(json: bool) -> None:
    """List the recorded runs, the newest first."""
    kept = reversed(run_store.kept(run_store.home()))
    rows: list[dict[str, Any]] = [
        {
            "run": run.run,
            "server": "" if run.fleet else run.server,
            "servers": run.servers if run.fleet else [],
            "verdict": run.verdict,
            "exit_code": run.report.get("exit_code"),
            "seconds": run.report.get("seconds"),
            "folder": str(run.folder),
        }
        for run in kept
    ]
    if json:
        say(json_text({"runs": rows}, indent=2))
        return
    if not rows:
        say(f"no runs are recorded under {run_store.home()}")
        return
    table = table_of("run", "server", "verdict", "exit", "seconds")
    for row in rows:
        seconds = f"{row['seconds']:.0f}" if row["seconds"] is not None else ""
        of = row["server"] or f"{len(row['servers'])} servers"
        code = str(row["exit_code"]) if row["exit_code"] is not None else ""
        table.add_row(row["run"], of, row["verdict"], code, seconds)
    Paper().table(table)


def clean(older: str, *, ask: bool) -> None:
    """Remove old records."""
    try:
        days = older.removesuffix("d")
        seconds = float(days) * 86400 if days != older else durations.seconds(older)
    except ValueError:
        raise UsageError(f"{older!r} is not a span of time", next=ours("runs.clean", "--older", "30d")) from None
    base, now = run_store.home(), SystemClock().now().wall
    old = run_store.older(base, seconds, now)
    if old and ask:
        question = f"This removes {len(old)} runs under {base}. Type yes to go on: "
        typed("yes", question, ours("runs.clean", "--older", older, "--yes"))
    for run in old:
        shutil.rmtree(run.folder, ignore_errors=True)
    say(f"removed {len(old)} runs")

"""Windows and claims on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.text import Text

from metalfoundry.foundry import Foundry
from metalfoundry.model.errors import UnsafeError, UsageError
from metalfoundry.model.inventory import Server
from metalfoundry.model.plain_text import json_text
from metalfoundry.model.program import ours
from metalfoundry.runs.audit import PAUSED
from metalfoundry.ui.output.plain import say
from metalfoundry.ui.output.tables import Paper, table_of
from metalfoundry.ui.tasks.confirm import typed


def open_netboot(foundry: Foundry, servers: Sequence[Server], reason: str, seconds: float, ask: bool) -> None:
    """Open windows by hand."""
    if seconds <= 0:
        raise UsageError("--minutes must be above 0", next="--minutes 10")
    for server in servers:
        if ask:
            question = f"The next boot of {server.name} will wipe it. Type its name to go on: "
            typed(server.name, question, ours("netboot.open", server.name, "--yes"))
        run = foundry.open_netboot(server.name, reason, seconds)
        say(f"{server.name}: netboot is open, run {run}; its next boot wipes and re-installs it")
        say(f"close it with: {ours('netboot.close', server.name)}", file=sys.stderr)


def close_netboot(foundry: Foundry, servers: Sequence[Server]) -> None:
    """Close windows by hand."""
    for server in servers:
        proof = foundry.close_netboot(server.name)
        say(f"{server.name}: netboot is closed ({proof.hardware})")


def audit(foundry: Foundry, close: bool, json: bool) -> int:
    """List the open windows; the exit code says whether a trap is among them."""
    windows = foundry.audit(close=close)
    trapped = any(window.trap for window in windows)
    if json:
        say(json_text({"windows": [window.to_json() for window in windows], "trap": trapped}, indent=2))
        return UnsafeError.exit_code if trapped else 0
    if not windows:
        say("no window is open")
        return 0
    table = table_of("hardware", "kind", "claim", "since", "until", "guard", "run", "reason")
    for window in windows:
        age = f"{window.age / 60:.0f} min" if window.age is not None else ""
        kind = Text(window.kind, style="bold red" if window.trap else "")
        until, run = window.until, window.run
        table.add_row(window.hardware, kind, window.holder, age, until, window.guard, run, window.reason)
    Paper().table(table)
    if any(window.kind == PAUSED for window in windows):
        say(f"Flux stays paused for nobody; take that back with: {ours('netboot.audit', '--close')}", file=sys.stderr)
    if close and not trapped:
        say("nothing is left to close: a live claim holds each of these", file=sys.stderr)
    if trapped:
        say(
            f"the next boot wipes these servers; close their windows with: {ours('netboot.audit', '--close')}",
            file=sys.stderr,
        )
    return UnsafeError.exit_code if trapped else 0


def break_claim(foundry: Foundry, servers: Sequence[Server], run: str, reason: str, *, ask: bool) -> None:
    """Break one claim."""
    if len(servers) != 1 or not run:
        raise UsageError(
            "netboot.break needs one server and its run id",
            next=f"{ours('netboot.break', 'NAME', '--run', 'ID')}; see: {ours('netboot.status')}",
        )
    name = servers[0].name
    if ask:
        question = f"This takes {name} away from the run {run}. Type its name to go on: "
        typed(name, question, ours("netboot.break", name, "--run", run, "--yes"))
    proof = foundry.break_claim(name, run, reason)
    say(f"{name}: the claim of {run} is broken, netboot is closed ({proof.hardware})")

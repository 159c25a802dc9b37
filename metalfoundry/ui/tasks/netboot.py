"""Windows, claims, guards and the sweeper on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

from rich.text import Text

from metalfoundry.commands.netboot import stamp
from metalfoundry.foundry import Foundry
from metalfoundry.model.errors import UnsafeError, UsageError
from metalfoundry.model.foreign import parse_time
from metalfoundry.model.inventory import Server
from metalfoundry.model.plain_text import json_text
from metalfoundry.model.program import ours
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
    Paper().print(table)
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


def guards(foundry: Foundry, reap: bool, log: str, json: bool) -> None:
    """List guards, print a log, or remove remains."""
    if log:
        say(foundry.guard_log(log), end="")
        return
    if reap:
        reaped = foundry.reap_guards()
        say(json_text({"reaped": reaped}) if json else f"removed the remains of {len(reaped)} guards")
        return
    found = foundry.guards()
    if json:
        say(json_text({"guards": [asdict(guard) for guard in found]}, indent=2))
        return
    table = table_of("run", "hardware", "state", "pid", "until", "last word")
    for guard in found:
        until = parse_time(guard.expires or None)
        table.add_row(guard.run, guard.hardware, guard.state, guard.pid, stamp(until) if until else "", guard.log)
    Paper().print(table if found else "no guards")


def sweeper(foundry: Foundry, chosen: Sequence[str], json: bool) -> int:
    """Do what was chosen, else show the sweeper."""
    if len(chosen) > 1:
        raise UsageError(f"--{' and --'.join(chosen)} exclude each other", next="choose one of them")
    match chosen:
        case ["print"]:
            say(foundry.sweeper_manifests(), end="")
        case ["install"]:
            foundry.install_sweeper()
            say("the sweeper is installed")
        case ["remove"]:
            foundry.remove_sweeper()
            say("the sweeper is removed")
        case _:
            _sweeper_status(foundry, json)
    return 0


def _sweeper_status(foundry: Foundry, json: bool) -> None:
    seen = foundry.sweeper_status()
    if json:
        say(json_text({"installed": seen is not None} | (asdict(seen) if seen else {}), indent=2))
    elif seen is None:
        say(f"the sweeper is not installed: {ours('netboot.sweeper', '--install')}")
    else:
        state = "suspended" if seen.suspended else f"runs at {seen.schedule}"
        say(f"the sweeper {state}, image {seen.image}; last run {seen.last_started or 'never'}")
        if not seen.current:
            say(f"it carries another version of the script: {ours('netboot.sweeper', '--install')}", file=sys.stderr)

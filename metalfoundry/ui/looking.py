"""The tasks that look at the site, or do one small thing to it, on the terminal."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from metalfoundry.foundry import Foundry
from metalfoundry.model.errors import Declined
from metalfoundry.model.inventory import Server
from metalfoundry.runs.status import Row


def status(foundry: Foundry, servers: Sequence[Server], json: bool) -> None:
    """One table for the site."""
    rows = foundry.status(servers)
    if json:
        print(jsonlib.dumps({"servers": [row.to_json() for row in rows]}, indent=2))
        return
    table = _table("server", "hardware", "netboot", "claim", "workflow", "state", "action")
    for row in rows:
        table.add_row(row.server, row.hardware, _netboot(row), row.holder, row.workflow, row.state, row.action)
    Console().print(table)


def netboot_status(foundry: Foundry, servers: Sequence[Server], json: bool) -> None:
    """Only the windows."""
    rows = foundry.status(servers)
    if json:
        kept = ("server", "hardware", "netboot", "holder", "run", "until", "expired")
        print(jsonlib.dumps({"servers": [{key: row.to_json()[key] for key in kept} for row in rows]}, indent=2))
        return
    table = _table("server", "netboot", "claim", "until", "run")
    for row in rows:
        until = f"{row.until} (expired)" if row.expired else row.until
        table.add_row(row.server, _netboot(row), row.holder, until, row.run)
    Console().print(table)


def init(foundry: Foundry, servers: Sequence[Server]) -> None:
    """The one-time step."""
    for server in servers:
        made = foundry.init(server.name)
        print(f"{server.name}: {'made a closed netboot block' if made else 'has its netboot block already'}")


def open_netboot(foundry: Foundry, servers: Sequence[Server], reason: str, seconds: float, ask: bool) -> None:
    """Open windows by hand."""
    for server in servers:
        if ask:
            _typed(server.name)
        run = foundry.open_netboot(server.name, reason, seconds)
        print(f"{server.name}: netboot is open, run {run}; its next boot installs it again")
        print(f"close it with: fab netboot.close {server.name}", file=sys.stderr)


def close_netboot(foundry: Foundry, servers: Sequence[Server]) -> None:
    """Close windows by hand."""
    for server in servers:
        proof = foundry.close_netboot(server.name)
        print(f"{server.name}: netboot is closed ({proof.hardware})")


def _typed(name: str) -> None:
    if not sys.stdin.isatty():
        raise Declined(
            f"the next boot would wipe {name}, and nobody is here to confirm it", next=f"fab netboot.open {name} --yes"
        )
    print(f"The next boot of {name} will wipe it. Type its name to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != name:
        raise Declined(f"{name} was not confirmed", next="nothing was changed")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _netboot(row: Row) -> str:
    return "[bold red]open[/]" if row.netboot == "open" else row.netboot

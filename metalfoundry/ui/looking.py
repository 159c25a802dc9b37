"""The tasks that look at the site, or do one small thing to it, on the terminal."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from metalfoundry.foundry import Foundry
from metalfoundry.model.inventory import Server
from metalfoundry.runs.status import Row


def netboot_status(foundry: Foundry, servers: Sequence[Server], json: bool) -> None:
    """Only the windows."""
    rows = foundry.status(servers)
    if json:
        kept = ("server", "hardware", "netboot", "holder", "run", "until", "expired")
        print(jsonlib.dumps({"servers": [{key: row.to_json()[key] for key in kept} for row in rows]}, indent=2))
        return
    table = table_of("server", "netboot", "claim", "until", "run")
    for row in rows:
        until = f"{row.until} (expired)" if row.expired else row.until
        table.add_row(row.server, _netboot(row), row.holder, until, row.run)
    Console().print(table)


def init(foundry: Foundry, servers: Sequence[Server]) -> None:
    """The one-time step."""
    for server in servers:
        made = foundry.init(server.name)
        print(f"{server.name}: {'made a closed netboot block' if made else 'has its netboot block already'}")


def table_of(*columns: str) -> Table:
    """A table without lines."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _netboot(row: Row) -> str:
    return "[bold red]open[/]" if row.netboot == "open" else row.netboot

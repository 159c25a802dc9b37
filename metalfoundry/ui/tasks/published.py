"""What stands on the Hardware for everybody, on the terminal: runs, and host keys."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from metalfoundry.foundry import Foundry
from metalfoundry.model.inventory import Server
from metalfoundry.model.plain_text import json_text
from metalfoundry.ui.output.plain import say
from metalfoundry.ui.output.tables import Paper, table_of


def history(foundry: Foundry, servers: Sequence[Server], json: bool) -> None:
    """The last runs on each server, the last one first."""
    told = {server.name: foundry.history(server) for server in servers}
    if json:
        rows = [{"server": name, "runs": [run.to_json() for run in runs]} for name, runs in told.items()]
        say(json_text({"servers": rows}, indent=2))
        return
    columns = {
        "server": [name if len(told) > 1 else "" for name, runs in told.items() for _ in runs],
        **{
            title: [str(getattr(run, field)) for runs in told.values() for run in runs]
            for title, field in (("ended", "ended"), ("by", "who"), ("verdict", "verdict"))
        },
        "exit": ["" if run.exit_code is None else str(run.exit_code) for runs in told.values() for run in runs],
        "reason": [run.reason for runs in told.values() for run in runs],
        "cause": [run.cause for runs in told.values() for run in runs],
        "run": [run.run for runs in told.values() for run in runs],
    }
    for name in (name for name, runs in told.items() if not runs):
        say(f"{name}: its Hardware records no runs")
    wanted = {title: cells for title, cells in columns.items() if any(cells)}
    if wanted:
        table = table_of(*wanted)
        for cells in zip(*wanted.values(), strict=True):
            table.add_row(*cells)
        Paper().table(table)


def known_hosts(foundry: Foundry, servers: Sequence[Server]) -> None:
    """Lines for known_hosts on stdout; who has none is told on stderr."""
    for name, lines in foundry.known_hosts(servers).items():
        for line in lines:
            say(line)
        if not lines:
            say(f"{name}: no host key is published or pinned for it", file=sys.stderr)

"""`fab status`: one table for the site, once or as it changes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from metalfoundry.foundry import Foundry
from metalfoundry.model.errors import Terminated
from metalfoundry.model.foreign import parse_time
from metalfoundry.model.inventory import Server
from metalfoundry.model.plain_text import inline, json_text
from metalfoundry.records.run_store import KeptRun, home, latest
from metalfoundry.runs.status import Row
from metalfoundry.transport.clock import SystemClock
from metalfoundry.ui.output.plain import say
from metalfoundry.ui.output.repaint import Screen
from metalfoundry.ui.output.tables import Paper, table_of

SPANS = ((86400 * 2, 86400, "d"), (7200, 3600, "h"), (120, 60, "min"), (0, 1, "s"))


def status(foundry: Foundry, servers: Sequence[Server] | None, *, watch: bool, probe: bool, json: bool) -> None:
    """Show it once, or until Ctrl-C."""
    if watch:
        try:
            _watch(foundry, servers, probe, json)
        except Terminated:
            raise
        except KeyboardInterrupt:  # the only way to end it, and no fault
            return
    rows = foundry.status(servers, probe=probe)
    last = latest(home(), {row.server for row in rows})
    if json:
        say(json_text({"servers": [_json(row, last) for row in rows]}, indent=2))
    else:
        Paper().table(_table(rows, last, SystemClock().now().wall))


def _watch(foundry: Foundry, servers: Sequence[Server] | None, probe: bool, json: bool) -> None:
    """On a terminal the table, repainted in place; elsewhere one line for each row that is new; JSON lines likewise."""
    console = Paper()
    screen = Screen(console) if console.is_terminal and not json else None
    known: list[Row] = []
    try:
        for rows in foundry.watch_status(servers, probe=probe):
            now = SystemClock().now().wall
            last = latest(home(), {row.server for row in rows})
            if screen is not None:
                screen.paint(_lines(_table(rows, last, now), screen.size[0], console))
            for row in [] if screen else [row for row in rows if row not in known]:
                say(json_text(_json(row, last)) if json else _line(row, now), flush=True)
            known = rows
    finally:
        if screen is not None:
            screen.leave()


def _json(row: Row, last: Mapping[str, KeptRun]) -> dict[str, Any]:
    run = last.get(row.server)
    kept = {"run": run.run, "verdict": run.verdict, "exit_code": run.report.get("exit_code")} if run else None
    return row.to_json() | {"last": kept}


def _table(rows: Sequence[Row], last: Mapping[str, KeptRun], now: datetime) -> Table:
    """Columns that would be empty, or say the same as another, are left out."""
    columns = {
        "server": [row.server for row in rows],
        "hardware": [row.hardware if row.hardware != row.server else "" for row in rows],
        "provision": ["" if row.protected else row.refused for row in rows],
        "netboot": [_netboot(row, now) for row in rows],
        "claim": [row.holder for row in rows],
        "waiting": [", ".join(place.holder for place in row.waiting) for row in rows],
        "guard": [row.guard for row in rows],
        "protected": [row.protected for row in rows],
        "workflow": [row.workflow for row in rows],
        "state": [row.state for row in rows],
        "action": [row.action for row in rows],
        "since": [_ago(row.since, now) for row in rows],
        "machine": [row.machine for row in rows],
        "last run": [_last_run(row, now) for row in rows],
        "last here": [_last(last.get(row.server), row, now) for row in rows],
    }
    wanted = {name: cells for name, cells in columns.items() if name in ("server", "netboot") or any(cells)}
    table = table_of(*wanted)
    for cells in zip(*wanted.values(), strict=True):
        red = "bold red"
        table.add_row(*(Text(cell, style=red if cell.startswith("open") else "") for cell in cells))
    return table


def _lines(table: Table, width: int, console: Console) -> list[Text]:
    written = io.StringIO()
    Paper(written, width=width, force_terminal=True, no_color=console.no_color).print(table)
    return list(Text.from_ansi(written.getvalue()).split())


def _line(row: Row, now: datetime) -> str:
    protected = f"protected: {row.protected}" if row.protected else ""
    words = [f"netboot {_netboot(row, now)}", protected, row.workflow, row.state, row.action, row.machine]
    return inline(
        f"{now.astimezone():%H:%M:%S} {row.server or row.hardware:<16} {'  '.join(word for word in words if word)}"
    )


def _netboot(row: Row, now: datetime) -> str:
    until = parse_time(row.until)
    if row.expired:
        return f"{row.netboot}, claim expired"
    if row.netboot != "open" or until is None:
        return row.netboot
    return f"open until {until.astimezone():%H:%M}"


def _last_run(row: Row, now: datetime) -> str:
    """What came of the last run, whoever led it."""
    run = row.last_run
    return ", ".join(filter(None, (run.verdict, run.who, _ago(run.ended, now)))) if run else ""


def _last(run: KeptRun | None, row: Row, now: datetime) -> str:
    """What this computer has recorded, where that is another run than the last one of all."""
    if run is None or (row.last_run and run.run == row.last_run.run):
        return ""
    ago = _ago(run.began.isoformat(), now) if run.began else ""
    return f"{run.verdict}, {ago}" if ago else run.verdict


def _ago(text: str, now: datetime) -> str:
    moment = parse_time(text)
    if moment is None:
        return ""
    passed = max(now - moment, timedelta()).total_seconds()
    return next(f"{passed // unit:.0f} {name} ago" for least, unit, name in SPANS if passed >= least)

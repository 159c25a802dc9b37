"""The guard on the terminal."""

from __future__ import annotations

from dataclasses import asdict

from rich.table import Table

from metalfoundry.foundry import Foundry
from metalfoundry.model.plain_text import json_text
from metalfoundry.runs.status import Row
from metalfoundry.ui.output.plain import say
from metalfoundry.ui.output.tables import Paper, table_of
from metalfoundry.ui.tasks.guard_cluster import in_cluster


def status(foundry: Foundry, json: bool) -> None:
    """The guard in the cluster and on the jump host, and who has acknowledged which claim."""
    deployed, seen = foundry.cluster_guard(), foundry.guard_status()
    rows = [row for row in foundry.status(foundry.servers(None)) if row.run]
    if json:
        kept = ("server", "hardware", "run", "until", "guard")
        claims = [{key: getattr(row, key) for key in kept} for row in rows]
        cluster = asdict(deployed) if deployed else None
        say(json_text({"cluster": cluster, "guard": asdict(seen), "claims": claims}, indent=2))
        return
    in_cluster(deployed)
    if seen.state == "none":
        say("no guard runs on the jump host; one is started with the next claim")
    else:
        since = f" for {seen.since // 60} min" if seen.since is not None else ""
        say(f"{seen.guard}, pid {seen.pid}, {seen.state}{since}, version {seen.version}")
    say(f"last close: {seen.closed or 'none'}")
    if rows:
        guarded = seen.state == "guarding" or (deployed is not None and deployed.guarding)
        Paper().table(_table(rows, "not yet" if guarded else "nobody"))


def _table(rows: list[Row], silent: str) -> Table:
    table = table_of("server", "netboot", "until", "guard", "run")
    for row in rows:
        table.add_row(row.server, row.netboot, row.until, row.guard or silent, row.run)
    return table


def log(foundry: Foundry) -> None:
    """Its log."""
    say(foundry.guard_log(), end="")


def stop(foundry: Foundry, force: bool) -> None:
    """End it."""
    runs = foundry.guard_status().state != "none"
    foundry.stop_guard(force=force)
    say("the guard on the jump host has ended" if runs else "no guard runs on the jump host")

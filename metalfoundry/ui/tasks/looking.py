"""The tasks that look at the site, or do one small thing to it, on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from metalfoundry.foundry import Foundry
from metalfoundry.model.errors import UsageError
from metalfoundry.model.inventory import Server
from metalfoundry.model.plain_text import json_text
from metalfoundry.model.program import ours
from metalfoundry.runs.status import Row
from metalfoundry.ui.output.plain import say
from metalfoundry.ui.output.tables import Paper, table_of
from metalfoundry.ui.tasks.confirm import typed


def netboot_status(foundry: Foundry, servers: Sequence[Server], json: bool) -> None:
    """Only the windows."""
    rows = foundry.status(servers)
    if json:
        kept = ("server", "hardware", "netboot", "holder", "run", "until", "expired", "guard")
        say(json_text({"servers": [{key: row.to_json()[key] for key in kept} for row in rows]}, indent=2))
        return
    table = table_of("server", "netboot", "claim", "until", "guard", "run")
    for row in rows:
        until = f"{row.until} (expired)" if row.expired else row.until
        table.add_row(row.server, _netboot(row), row.holder, until, row.guard, row.run)
    Paper().table(table)


def init(foundry: Foundry, servers: Sequence[Server]) -> None:
    """The one-time step."""
    for server in servers:
        made = foundry.init(server.name)
        say(f"{server.name}: {'added a closed netboot block' if made else 'already has its netboot block'}")


def protect(foundry: Foundry, servers: Sequence[Server], reason: str) -> None:
    """Protect servers."""
    if not reason.strip():
        raise UsageError("a protection needs a reason", next=ours("protect", servers[0].name, "--reason", "WHY"))
    for server in servers:
        done = foundry.protect(server, reason.strip())
        say(f"{server.name}: {'is protected now' if done else 'was protected for this reason before'}")


def unprotect(foundry: Foundry, servers: Sequence[Server], *, ask: bool) -> None:
    """Take the protection of servers away, each shown with its reason."""
    why = {row.server: row.protected for row in foundry.status(servers)}
    for server in servers:
        if why[server.name] and ask:
            question = f"{server.name} is protected: {why[server.name]}. Type its name to unprotect it: "
            typed(server.name, question, ours("unprotect", server.name, "--yes"))
        done = foundry.unprotect(server)
        say(f"{server.name}: {'is no longer protected' if done else 'was not protected'}")


def _netboot(row: Row) -> Text:
    return Text(row.netboot, style="bold red" if row.netboot == "open" else "")

"""Asking a person: before a server is wiped its name has to be typed out, under the facts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from metalfoundry.model.errors import Declined
from metalfoundry.model.program import ours
from metalfoundry.ui.output.plain import say

if TYPE_CHECKING:
    from metalfoundry.runs.options import Identity
    from metalfoundry.runs.status import Row


def confirm(identity: Identity) -> None:
    """Show the facts and have the server's name typed. Raises Declined for another answer, or without a terminal."""
    say(described(identity), file=sys.stderr)
    name = identity.server
    typed(name, f"This wipes {name}. Type its name to go on: ", ours("provision", name, "--yes"))


def confirm_many(rows: Sequence[Row]) -> None:
    """Show what stands where, and have the number of servers typed. Raises as `confirm`."""
    from metalfoundry.ui.output.tables import Paper, table_of

    table = table_of("server", "Hardware", "now", "netboot", "Workflow", "held by")
    for row in rows:
        workflow = f"{row.workflow} {row.state}".strip()
        table.add_row(row.server, row.hardware, row.machine, row.netboot, workflow, row.holder)
    Paper(sys.stderr).table(table)
    names, count = ",".join(row.server for row in rows), len(rows)
    typed(str(count), f"This wipes {count} servers. Type how many to go on: ", ours("provision", names, "--yes"))


def typed(answer: str, question: str, command: str) -> None:
    """Ask `question`. Raises Declined for another answer; without a terminal, with the `command` that does not ask."""
    if not sys.stdin.isatty():
        raise Declined("this needs a confirmation, and there is no terminal to ask on", next=command)
    say(question, end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != answer:
        raise Declined(
            f"the answer was not {answer}, so nothing was changed", next="look again, and type it where you are sure"
        )


def described(identity: Identity) -> str:
    """The facts as lines of text."""
    days = f", up {identity.uptime_seconds / 86400:.1f} days" if identity.uptime_seconds is not None else ""
    lines = [
        f"{identity.server}: Hardware {identity.hardware} at {identity.address}",
        f"  MAC       {', '.join(identity.macs) or 'none recorded'}",
        f"  now       {identity.system}{days}",
    ]
    if identity.serial:
        lines.append(f"  serial    {identity.serial}")
    lines.append(f"  Workflow  {identity.workflow}")
    lines += [f"  agent     {identity.worker}"] if identity.worker else []
    return "\n".join([*lines, *([f"  reboot    {identity.reboot}"] if identity.reboot else [])])

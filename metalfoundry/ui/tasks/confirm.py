"""Asking a person before a server is wiped: the facts first, then its name typed out."""

from __future__ import annotations

import sys

from metalfoundry.model.errors import Declined
from metalfoundry.model.program import ours
from metalfoundry.runs.options import Identity
from metalfoundry.ui.output.plain import say


def confirm(identity: Identity) -> None:
    """Show the facts and have the server's name typed. Raises Declined for another answer, or without a terminal."""
    say(described(identity), file=sys.stderr)
    if not sys.stdin.isatty():
        raise Declined(
            f"{identity.server} would be wiped, and nobody is here to confirm it",
            where="stdin is no terminal",
            next=ours("provision", identity.server, "--yes"),
        )
    say(f"This wipes {identity.server}. Type its name to go on: ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline().strip()
    if answer != identity.server:
        raise Declined(f"{identity.server} was not confirmed", next="nothing was changed")


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
    return "\n".join([*lines, *([f"  agent     {identity.worker}"] if identity.worker else [])])

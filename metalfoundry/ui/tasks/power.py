"""`fab power` and `fab reboot` on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from metalfoundry.foundry import Foundry
from metalfoundry.model.errors import UsageError
from metalfoundry.model.inventory import Server
from metalfoundry.model.plain_text import json_text
from metalfoundry.model.program import ours
from metalfoundry.runs.power import ACTIONS
from metalfoundry.ui.output.plain import say
from metalfoundry.ui.tasks.confirm import typed


def power(foundry: Foundry, servers: Sequence[Server], action: str, *, ask: bool, json: bool = False) -> None:
    """Have the BMCs of these servers do it; `status` only looks."""
    known = ACTIONS.get(action)
    if known is None and action != "status":
        step = f"{ours('power', servers[0].name, 'status')}, or on, off, cycle"
        raise UsageError(f"power knows no {action!r}", next=step)
    if known is None:
        _status(foundry, servers, json)
        return
    if json:
        raise UsageError("only `status` prints JSON", next=ours("power", servers[0].name, "status", "--json"))
    for server in servers:
        if ask:
            question = f"This {_DOES[known]} {server.name}, whatever runs there. Type its name to go on: "
            typed(server.name, question, ours("power", server.name, known, "--yes"))
        job = foundry.power(server, known)
        say(f"{server.name}: {_DONE[known]} (Job {job})")


def reboot(foundry: Foundry, servers: Sequence[Server], *, netboot_once: bool, ask: bool) -> None:
    """Reboot these servers, one after the other."""
    for server in servers:
        if ask:
            once = ("--netboot-once",) if netboot_once else ()
            question = f"This reboots {server.name}, whatever runs there. Type its name to go on: "
            typed(server.name, question, ours("reboot", server.name, *once, "--yes"))
        done = foundry.reboot(server, netboot_once=netboot_once)
        way = "over SSH" if done.by == "ssh" else "by its BMC"
        answers = f"; {done.system} answers, boot id {done.boot_id}" if done.boot_id else ""
        say(f"{server.name}: rebooted {way}{answers}")


def _status(foundry: Foundry, servers: Sequence[Server], json: bool) -> None:
    if json:
        machines = [{"server": server.name} | foundry.power_status(server).to_json() for server in servers]
        say(json_text({"servers": machines}, indent=2))
        return
    for server in servers:
        machine = foundry.power_status(server)
        why = f": {machine.message}" if machine.message else ""
        say(f"{server.name}: {machine.power} (BMC {machine.name}; {_REACHED[machine.contactable]}{why})")


_DOES = {"on": "switches on", "off": "switches off", "cycle": "power-cycles"}
_REACHED = {None: "Rufio has not yet looked", True: "Rufio reaches it", False: "Rufio does not reach it"}
_DONE = {"on": "switched on", "off": "switched off", "cycle": "power-cycled"}

"""A server's power by hand, through its BMC; and one reboot, by whatever way can do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from metalfoundry.commands import bmc
from metalfoundry.commands.bmc import BmcMachine, Task, job_name, netboot_once
from metalfoundry.commands.claims import old_systems
from metalfoundry.commands.machine import MachineFacts
from metalfoundry.model.errors import NeverInstalled, PreflightError, TransportError, VerificationFailed
from metalfoundry.model.events import Notice
from metalfoundry.model.inventory import Server
from metalfoundry.model.inventory_fields import Rung
from metalfoundry.model.program import ours
from metalfoundry.model.resources import Hardware
from metalfoundry.model.states import BmcState
from metalfoundry.runs.provision import run_id
from metalfoundry.runs.strangers import NOT_PROVEN, refuse_stranger
from metalfoundry.site.bmc import Bmc
from metalfoundry.site.cluster import Cluster
from metalfoundry.site.machine import ANSWERS, Machine, Watcher
from metalfoundry.site.protection import refuse_protected
from metalfoundry.site.site import Site
from metalfoundry.site.window import Window
from metalfoundry.transport.clock import Deadline

READ_SECONDS, JOB_SECONDS = 60.0, 900.0
LOOK_SECONDS = 0.25

Action = Literal["on", "off", "cycle"]
_TASKS: Mapping[Action, tuple[Task, ...]] = {"on": (bmc.ON,), "off": (bmc.OFF,), "cycle": (bmc.CYCLE,)}
ACTIONS: Mapping[str, Action] = {action: action for action in _TASKS}


@dataclass(frozen=True, slots=True)
class Rebooted:
    """How a server was rebooted, and what came up: its boot id and system, "" where that was not waited for, or its
    system was not known before."""

    by: Rung
    boot_id: str = ""
    system: str = ""


def power(site: Site, server: Server, action: Action) -> str:
    """Have its BMC do it, and wait for that; return the Job's name. Raises Declined, ClaimedError, and PreflightError
    where netboot is open (but for `off`), there is no BMC, or the Job fails.
    """
    here = site.on(site.bus.scoped(server=server.name))
    return _by_bmc(here, server, refusing(here, server, boots=action != "off"), _TASKS[action])


def status(site: Site, server: Server) -> BmcMachine:
    """Its power as Rufio has seen it last; nothing is written. Raises PreflightError."""
    here = site.on(site.bus.scoped(server=server.name))
    deadline = Deadline.after(site.clock, READ_SECONDS)
    return _bmc_of(here, server, Cluster(here).hardware(server.hardware, deadline).hardware).look(deadline)


def reboot(site: Site, server: Server, *, netboot: bool = False, wait: bool = True) -> Rebooted:
    """Reboot it over SSH, else by its BMC, as its inventory says; with `netboot` it asks the network once. Unless
    `wait` is False, what comes up is waited for. Raises as `power`, and what the last way raised; IdentityError where
    another machine answers, which is left alone, and VerificationFailed where the installer comes up.
    """
    here = site.on(site.bus.scoped(server=server.name))
    hardware = refusing(here, server, boots=True)
    left = [rung for rung in server.reboot if rung == "ssh" or (rung == "bmc" and hardware.bmc_ref)]
    known: tuple[MachineFacts, ...] = ()
    machine = Machine.of(here, server, hardware)
    while left:
        rung = left.pop(0)
        try:
            if rung == "bmc":
                _by_bmc(here, server, hardware, netboot_once(hardware) if netboot else (bmc.OFF, bmc.ON), wait=wait)
            else:
                known = _looks(machine, hardware)
                _over_ssh(machine, hardware, netboot)
            break
        except ANSWERS:
            raise
        except (NeverInstalled, PreflightError) as error:
            if not left:
                raise
            here.bus.emit(Notice(f"{error}; next: {'by its BMC' if left[0] == 'bmc' else 'over SSH'}", "warning"))
            hardware = refusing(here, server, boots=True)
    else:
        raise PreflightError(
            f"{server.name} has no way to be rebooted but by a person",
            where=f"servers.{server.name}.reboot in the inventory, spec.bmcRef of the Hardware",
            next="reboot it by hand, or give it another way there",
        )
    seen = _come_back(machine, hardware, known) if known and wait else MachineFacts()
    return Rebooted(rung, seen.boot_id, seen.os_name)


def refusing(site: Site, server: Server, *, boots: bool) -> Hardware:
    """Its Hardware as it is now. Raises Declined for a protected server, ClaimedError for one that a live run holds,
    and, where it `boots`, PreflightError while netboot is open: that boot would wipe it.
    """
    deadline = Deadline.after(site.clock, READ_SECONDS)
    hardware = Cluster(site).hardware(server.hardware, deadline).hardware
    refuse_protected({server.name: hardware})
    Window(site, server, "").claim.refuse_live(hardware)
    if boots and hardware.open_interfaces():
        raise PreflightError(
            f"netboot of {server.name} is open: this boot would wipe it",
            where=f"Hardware {server.hardware}",
            next=f"{ours('netboot.close', server.name)}; to re-install it: {ours('provision', server.name)}",
        )
    return hardware


def _bmc_of(site: Site, server: Server, hardware: Hardware) -> Bmc:
    if not hardware.bmc_ref:
        raise PreflightError(
            f"the Hardware of {server.name} names no BMC (spec.bmcRef)",
            where=f"Hardware {server.hardware}",
            next=f"give it one; there are: {site.kubectl_hint('get', bmc.MACHINES)}",
        )
    return Bmc(site, hardware)


def _by_bmc(site: Site, server: Server, hardware: Hardware, tasks: Sequence[Task], *, wait: bool = True) -> str:
    """One Job, from its creation to its end (unless nobody waits); return its name."""
    one, job = _bmc_of(site, server, hardware), job_name(server.hardware, run_id(site.clock, server.name))
    one.create(job, tasks, Deadline.after(site.clock, READ_SECONDS))
    site.bus.emit(Notice(f"the BMC {one.name} of {server.name} has its Job {job}"))
    if not wait:
        return job
    ended = one.follow(job, Deadline.after(site.clock, JOB_SECONDS), lambda: False)
    if ended is None:
        raise PreflightError(
            f"the Job {job} has not ended within {JOB_SECONDS:.0f} s, and goes on",
            where=f"Machine {one.name}",
            next=site.kubectl_hint("get", f"{bmc.JOBS}/{job}", "-o", "yaml"),
        )
    if ended.state == BmcState.FAILED:
        raise one.failure(ended)
    return job


def _over_ssh(machine: Machine, hardware: Hardware, netboot: bool) -> None:
    deadline = Deadline.after(machine.site.clock, READ_SECONDS)
    if netboot and (why := machine.boot_network_next(hardware.mac_for(machine.server.mac), deadline)):
        raise PreflightError(
            f"{machine.server.name} cannot be told to boot from the network: {why}",
            where=machine.host.name,
            next="install efibootmgr there, or switch netboot on in its firmware",
        )
    machine.reboot(deadline)


def _looks(machine: Machine, hardware: Hardware) -> tuple[MachineFacts, ...]:
    """What is known of the machine, the last what it says now. Raises IdentityError where another one answers."""
    old, look = old_systems(hardware), machine.facts(Deadline.after(machine.site.clock, READ_SECONDS))
    if not refuse_stranger(machine, hardware, old, look):
        machine.site.bus.emit(Notice(f"the machine {NOT_PROVEN}", "warning"))
    return (*old, look)


def _come_back(machine: Machine, hardware: Hardware, known: Sequence[MachineFacts]) -> MachineFacts:
    """What answers with another boot id, its host key checked; `known` is what is known of the machine, the last what
    answered before. Raises PreflightError where nothing does in time, IdentityError for another machine, and
    VerificationFailed for the installer.
    """
    site, seconds = machine.site, machine.site.inventory.timeouts.boot
    deadline, heard = Deadline.after(site.clock, seconds), "nothing was heard of it"
    quiet = replace(machine, site=replace(site, transport=site.lookout))
    watcher = Watcher(site, lambda: quiet.facts(Deadline.after(site.clock, READ_SECONDS)))
    while not deadline.expired():
        look = watcher.poll()
        if isinstance(look, MachineFacts):
            refuse_stranger(machine, hardware, known, look)
            if look.boot_id != known[-1].boot_id:
                _refuse_installer(machine, look)
                return look
            heard = "it has not rebooted: the boot id is the same"
        elif isinstance(look, TransportError):
            heard = str(look)
        site.clock.wait(LOOK_SECONDS, site.cancel)
    raise PreflightError(
        f"{machine.server.name} did not come back within {seconds:.0f} s: {heard}",
        where=machine.host.address,
        next="look at its console",
        evidence=heard,
    )


def _refuse_installer(machine: Machine, look: MachineFacts) -> None:
    if look.in_hook:
        name = machine.server.name
        raise VerificationFailed(
            f"{name} was rebooted, and went into the installer: its netboot was opened meanwhile",
            where=f"boot id {look.boot_id}",
            next=f"who opened it, and is it to be installed? {ours('status', name)}",
        )

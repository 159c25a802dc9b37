"""The library's front door.

    from metalfoundry import Foundry, Options

    with Foundry.load("inventory.yaml") as foundry:
        report = foundry.provision("colo-server-01", Options(reason="new disk"))
        print(report.verdict, report.closed)

Nothing here prints, asks or exits: errors are raised as model/errors.py draws them, or stand in a report.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from metalfoundry.commands import rights
from metalfoundry.commands.bmc import BmcMachine
from metalfoundry.commands.guard import GuardSeen
from metalfoundry.commands.guard_cluster import GuardDeployment
from metalfoundry.commands.history import HistoryEntry
from metalfoundry.commands.log_parser import LogLine
from metalfoundry.diagnosis.check import Check
from metalfoundry.model.bus import Bus, Sink
from metalfoundry.model.errors import TransportError, UsageError
from metalfoundry.model.events import Retried
from metalfoundry.model.hosts import Host
from metalfoundry.model.inventory import Inventory, Server
from metalfoundry.model.inventory_reader import load, of
from metalfoundry.model.program import ours
from metalfoundry.runs import (
    attach,
    audit,
    doctor,
    guard_cluster,
    logs,
    named_servers,
    netboot_by_hand,
    new_inventory,
    plan,
    power,
    protection,
    provision,
    published,
    status,
    troubleshoot,
)
from metalfoundry.runs.attach import Followed
from metalfoundry.runs.audit import OpenWindow
from metalfoundry.runs.fleet import Fleet, Policy
from metalfoundry.runs.logs import Ask, Log
from metalfoundry.runs.new_inventory import TakeKeys
from metalfoundry.runs.options import Options
from metalfoundry.runs.plan import Plan
from metalfoundry.runs.power import Action, Rebooted
from metalfoundry.runs.report import Report
from metalfoundry.runs.status import Row
from metalfoundry.runs.troubleshoot import Diagnosis
from metalfoundry.site.chronicle import Chronicle
from metalfoundry.site.proof import Proof
from metalfoundry.site.site import Background, Site
from metalfoundry.site.surveys import Surveys
from metalfoundry.site.watching import Hub
from metalfoundry.transport.base import Transport
from metalfoundry.transport.clock import Cancel, Clock, Stop, SystemClock
from metalfoundry.transport.gates import CancelGate, Gate, Gated, PlanGate
from metalfoundry.transport.heeding import Heeding, HeedingMerge
from metalfoundry.transport.local import Local, Shell
from metalfoundry.transport.merge import Threaded
from metalfoundry.transport.this_computer import ThisComputer
from metalfoundry.transport.threads import Threads

END_SECONDS = 2.0


class Foundry:
    """One inventory, opened for work. A context manager: leaving it drops the SSH connections."""

    def __init__(
        self,
        inventory: Inventory,
        *,
        sinks: Iterable[Sink] = (),
        clock: Clock | None = None,
        transport: Transport | None = None,
        local: Local | None = None,
    ) -> None:
        """`sinks` get every Record; `clock`, `transport` and `local` default to the real ones."""
        self.inventory = inventory
        self.clock = clock or SystemClock()
        self.stop = Stop()
        self._bus = Bus(lambda: self.clock.now().wall, list(sinks))
        self._transport = transport or _ssh(self.clock, self._retrying)
        self._local = local or Shell()
        self._threads = Threads()
        self._chronicle = Chronicle()
        self._fleets: list[Fleet] = []
        self._hub = Hub(self._site(), self._threads)
        self._surveys = Surveys(self._site(), self._threads)

    @classmethod
    def load(cls, path: str | Path | None = None, *, sinks: Iterable[Sink] = ()) -> Foundry:
        """Open the inventory at `path`, or at $METALFOUNDRY_INVENTORY, or ./inventory.yaml.

        Raises InventoryError with every fault at once.
        """
        return cls(load(path), sinks=sinks)

    @classmethod
    def of(cls, inventory: Mapping[str, Any], *, folder: str | Path = "", sinks: Iterable[Sink] = ()) -> Foundry:
        """Open an inventory given as plain values with the keys of the file; relative paths start at `folder`.

        Raises InventoryError with every fault at once.
        """
        return cls(of(inventory, folder), sinks=sinks)

    @classmethod
    def new_inventory(
        cls,
        jump: str,
        take_keys: TakeKeys,
        *,
        kubectl: str = "",
        namespace: str = "",
        smee: str = "",
        defaults: Mapping[str, str] | None = None,
        sinks: Iterable[Sink] = (),
    ) -> str:
        """The text of a first inventory of the site behind `jump`, `[USER@]HOST[:PORT]`, made of what stands there.

        `take_keys` is shown the host keys that known_hosts does not have, and raises Declined where they stay unknown.
        `defaults` are keys of every server (`identity` and `known_hosts` of the jump host, too). Raises InventoryError,
        TransportError, PreflightError, and UsageError where `namespace` must be given.
        """
        known, keys = new_inventory.place(jump, smee, defaults or {})
        with cls(known, sinks=sinks) as foundry:
            site = foundry._site(planning=True)
            return new_inventory.explore(site, keys, take_keys, namespace, shlex.split(kubectl)).text()

    def __enter__(self) -> Foundry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the runs of every fleet, drop every connection, and let what still reads from one come to its end."""
        for fleet in self._fleets:
            fleet.close()
        self._hub.close()
        self._transport.close()
        self._threads.join(END_SECONDS)

    def servers(
        self,
        names: str | None,
        *,
        but: str | None = None,
        labels: Mapping[str, str] | None = None,
        unfinished: str | None = None,
    ) -> list[Server]:
        """The servers of `NAME[,NAME…]` without those of `but`; NAME may be a pattern such as `colo-*`, or `all`. None
        for all. Of these, where given, only those whose Hardware carries all `labels`, read by one remote command, and
        only those that did not end well in the recorded run, or fleet, of the id `unfinished`.

        Raises InventoryError for an unknown one, UsageError where none is left, there is no such record, or what is
        given is empty, PreflightError and TransportError where the labels cannot be read.
        """
        return named_servers.named(self._site(), names, but, labels, unfinished)

    def provision(self, server: str | Server, options: Options | None = None) -> Report:
        """Re-install one server. Errors of the run are in the report; `report.error` is None when it went well."""
        return provision.provision(self._site(cancel=self.stop.begin()), self._server(server), options or Options())

    def provision_many(
        self, servers: Sequence[str | Server], options: Options | None = None, policy: Policy | None = None
    ) -> Fleet:
        """Re-install several servers: an iterator of their reports as they end; see Fleet and Policy.

        Runs begin with its first `next`, in threads of their own. Sinks and `options.confirm` are called from these:
        sinks one at a time, `confirm` perhaps several. The iterator belongs to one thread; `cancel` and `cancel_runs`
        may come from any. Leaving the Foundry ends what still runs, and waits for it. Raises PreflightError where the
        labels that `policy.spread` asks for cannot be read, Declined where one of the servers is protected.
        """
        chosen, policy = {server.name: server for server in self._all(servers)}, policy or Policy()
        named_servers.refuse_any_protected(self._site(), chosen.values())
        domains = named_servers.labels(self._site(), chosen.values(), policy.spread) if policy.spread else None

        def one(name: str, cancel: Cancel) -> Report:
            site = replace(self._site(cancel=cancel), watches=self._hub, surveys=self._surveys)
            return provision.provision(site, chosen[name], options or Options())

        fleet = Fleet(
            list(chosen), one, policy, threads=self._threads, begin=self.stop.begin, domains=domains, clock=self.clock
        )
        self._fleets.append(fleet)
        return fleet

    def cancel_runs(self, reason: str) -> None:
        """End every run of this Foundry that is under way, from any thread, as Ctrl-C does: what it did is taken back,
        and its report says interrupted. `provision` still returns that report; a run that begins later is not touched.
        """
        self.stop.set(reason)

    def plan(self, server: str | Server, options: Options | None = None) -> Plan:
        """What provision would find and say, with nothing written. Raises what Preflight raises."""
        return plan.plan(self._site(planning=True), self._server(server), options or Options())

    def attach(self, server: str | Server) -> Followed:
        """Follow the run that holds one server, whoever started it, to its end; events go to the sinks."""
        return attach.attach(self._site(), self._server(server))

    def cancel(self, server: str | Server, reason: str = "") -> Proof:
        """End the run that holds one server, whoever started it; its window is closed first. Raises ClaimedError,
        UnsafeError.
        """
        return attach.cancel(self._site(), self._server(server), reason)

    def reboot(self, server: str | Server, *, netboot_once: bool = False, wait: bool = True) -> Rebooted:
        """Reboot one server over SSH, else by its BMC; with `netboot_once` it asks the network once. What comes up is
        waited for, where `wait` says so. Raises as `power`, NeverInstalled or TransportError of the last way,
        IdentityError where another machine answers, and VerificationFailed where the installer comes up.
        """
        return power.reboot(self._site(), self._server(server), netboot=netboot_once, wait=wait)

    def power(self, server: str | Server, action: Action) -> str:
        """Have its BMC switch one server "on" or "off", or "cycle" it; return the Job's name when it is Completed.
        Raises Declined for a protected server, ClaimedError while a live run holds it, PreflightError while netboot is
        open (but for "off"), without a BMC, and when the Job fails.
        """
        return power.power(self._site(), self._server(server), action)

    def power_status(self, server: str | Server) -> BmcMachine:
        """Whether one server is on, as Rufio saw it last. Raises PreflightError."""
        return power.status(self._site(planning=True), self._server(server))

    def status(self, servers: Sequence[str | Server] | None = None, *, probe: bool = False) -> list[Row]:
        """One row for each of `servers` (None: all, and every other Hardware that there is), from one remote command.
        `probe`: each machine is asked what it is, at most 3 seconds. Raises PreflightError.
        """
        return status.status(self._site(), servers if servers is None else self._all(servers), probe)

    def watch_status(
        self, servers: Sequence[str | Server] | None = None, *, probe: bool = False
    ) -> Iterator[list[Row]]:
        """As `status`, and all rows again whenever one has changed. Raises PreflightError."""
        return status.watch(self._site(), servers if servers is None else self._all(servers), probe)

    def history(self, server: str | Server) -> list[HistoryEntry]:
        """The last runs on one server, whoever led them, the last one first, as they stand on its Hardware. Raises
        PreflightError.
        """
        return published.history(self._site(), self._server(server))

    def known_hosts(self, servers: Sequence[str | Server] | None = None) -> dict[str, list[str]]:
        """For each of `servers` (None: all) by name, the lines of OpenSSH's known_hosts for the keys that are pinned or
        published; none where there are none. Raises PreflightError.
        """
        return published.known_hosts(self._site(), self._all(servers))

    def doctor(self, servers: Sequence[str | Server] | None = None) -> list[Check]:
        """Every check of the site, then of each of `servers` (None: all); nothing is written, and what fails
        raises nothing.
        """
        return doctor.doctor(self._site(planning=True), self._all(servers))

    def troubleshoot(self, name: str, *, all: bool = False) -> Diagnosis:
        """Why the server, Hardware or Workflow of this name hangs; `all` keeps findings that others explain.

        Raises InventoryError where nothing has that name, TransportError where the jump host is not reached.
        """
        return troubleshoot.troubleshoot(self._site(), name, all=all)

    def troubleshoot_all(self, *, all: bool = False) -> list[Diagnosis]:
        """A diagnosis for each server whose Workflow has not finished well, or whose window nobody holds."""
        return troubleshoot.troubleshoot_all(self._site(), all=all)

    def logs(self, name: str, ask: Ask | None = None) -> Log:
        """What the machine and the control plane wrote about this server, by time. Raises as `troubleshoot`."""
        return logs.fetch(self._site(), name, ask or Ask())

    def follow_logs(self, name: str, ask: Ask | None = None) -> Iterator[LogLine | None]:
        """The same as it comes, through reboots and lost links; None about four times a second in silence.

        Never ends by itself: close the iterator.
        """
        return logs.follow(self._site(), name, ask or Ask())

    def open_netboot(self, server: str | Server, reason: str, seconds: float = 600.0) -> str:
        """Open one server's window by hand, for `seconds`; return the run id that holds it. Raises ClaimedError."""
        return netboot_by_hand.open_netboot(self._site(), self._server(server), reason, seconds)

    def close_netboot(self, server: str | Server) -> Proof:
        """Close one server's window, whoever opened it by hand. Raises ClaimedError while a live run holds it."""
        return netboot_by_hand.close_netboot(self._site(), self._server(server))

    def break_claim(self, server: str | Server, run: str, reason: str = "") -> Proof:
        """Close the window of run `run` on one server and take its claim away. Raises ClaimedError for another run."""
        return netboot_by_hand.break_claim(self._site(), self._server(server), run, reason)

    def audit(self, *, close: bool = False) -> list[OpenWindow]:
        """Every open window in the namespace; with `close`, those that nobody holds are closed. Raises UnsafeError."""
        return audit.audit(self._site(), close)

    def guard_status(self) -> GuardSeen:
        """The guard on the jump host, which closes windows when their clients cannot."""
        return netboot_by_hand.guard_status(self._site())

    def guard_log(self) -> str:
        """The last lines of its log; "" where there is none."""
        return netboot_by_hand.guard_log(self._site())

    def stop_guard(self, *, force: bool = False) -> None:
        """End it; with claims only by `force`, which closes their windows. Raises PreflightError when it stays."""
        netboot_by_hand.stop_guard(self._site(), force)

    def guard_manifests(self, image: str = "") -> str:
        """The objects of the guard in the cluster as YAML; `image` instead of the inventory's."""
        return guard_cluster.manifests(self._site(), image)

    def install_guard(self, image: str = "") -> list[str]:
        """Apply these objects, and wait until that guard guards. What is left there of a sweeper is removed; return its
        names. Raises PreflightError.
        """
        return guard_cluster.install(self._site(), image)

    def remove_guard(self, *, force: bool = False) -> None:
        """Delete these objects; while runs hold servers only by `force`. Raises PreflightError."""
        guard_cluster.remove(self._site(), force=force)

    def cluster_guard(self) -> GuardDeployment | None:
        """The guard in the cluster as it stands; None when it is not installed. Raises PreflightError."""
        return guard_cluster.status(self._site())

    def protect(self, server: str | Server, reason: str) -> bool:
        """Keep one server from being installed, until `unprotect`; say whether anything was to do. Raises ClaimedError
        while a run holds it.
        """
        return protection.set_protection(self._site(), self._server(server), reason)

    def unprotect(self, server: str | Server) -> bool:
        """Let one server be installed again; say whether anything was to do. Raises as `protect`."""
        return protection.set_protection(self._site(), self._server(server), None)

    def operator_role(self, *, user: str = "", group: str = "", service_account: str = "") -> str:
        """Role and RoleBinding of an operator as YAML, for whoever is named; `service_account` may be NAMESPACE:NAME.
        Raises UsageError where nobody is.
        """
        namespace = self.inventory.site.namespace
        named = rights.subjects(namespace, user, group, service_account)
        if not named:
            raise UsageError("nobody is named who is to have the rights", next=ours("rbac.print", "--user", "NAME"))
        return rights.manifests(namespace, named)

    def init(self, server: str | Server) -> bool:
        """Make a closed `netboot` block where the Hardware has none; say whether something was to do."""
        return netboot_by_hand.init(self._site(), self._server(server))

    def _server(self, server: str | Server) -> Server:
        return self.inventory.server(server) if isinstance(server, str) else server

    def _all(self, servers: Sequence[str | Server] | None) -> list[Server]:
        if servers is None:
            return list(named_servers.everyone(self._site()).values())
        return [self._server(one) for one in servers]

    def _retrying(self, host: Host, error: TransportError, seconds: float) -> None:
        own = host.name if host.name in self.inventory.servers else ""
        self._bus.broadcast(Retried(host.name, str(error), seconds), own)

    def _site(self, planning: bool = False, cancel: Cancel | None = None) -> Site:
        """With `cancel`, whatever waits there hears it."""
        transport, merge = self._transport, Threaded(self._threads)
        heeds = cancel or Cancel()
        gates: list[Gate] = [PlanGate()] if planning else [CancelGate(heeds)]
        gated = Gated(Heeding(transport, heeds, self._threads) if cancel else transport, gates, self.clock)
        return Site(
            self.inventory,
            gated,
            gated,
            self.clock,
            self._bus,
            heeds,
            merge=HeedingMerge(merge, heeds),
            local=self._local,
            background=Background(self._threads),
            chronicle=self._chronicle,
        ).on(self._bus)


def _ssh(clock: Clock, retrying: Callable[[Host, TransportError, float], None]) -> Transport:
    """Imported here: paramiko takes its time, and a caller with a transport of its own needs none of it."""
    from metalfoundry.transport.ssh import SshTransport

    return ThisComputer(SshTransport(clock, retrying=retrying))

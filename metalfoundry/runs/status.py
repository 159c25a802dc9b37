"""One look at the whole site, or one after the other as it changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from metalfoundry.commands.claims import acknowledgement, claim_of, stamp
from metalfoundry.commands.history import HistoryEntry, past_runs
from metalfoundry.commands.queue import Waiting, waiting
from metalfoundry.model.errors import (
    AuthError,
    DeadlineExceeded,
    HostKeyError,
    MachineSlow,
    MetalfoundryError,
    PortClosed,
)
from metalfoundry.model.foreign import parse_time
from metalfoundry.model.inventory import Server
from metalfoundry.model.resources import Hardware, Workflow
from metalfoundry.runs.selection import why_not
from metalfoundry.site.cluster import Cluster
from metalfoundry.site.machine import Machine
from metalfoundry.site.overview import surveys
from metalfoundry.site.site import Site
from metalfoundry.site.survey import Survey
from metalfoundry.transport.clock import Deadline

READ_SECONDS = 30.0
PROBE_SECONDS = 3.0
PROBES_AT_ONCE = 8
UNLISTED = "it is not in the inventory"
WATCH_SECONDS = 7 * 24 * 3600.0
SILENCES: Mapping[type[MetalfoundryError], str] = {
    HostKeyError: "its host key is not the known one",
    AuthError: "it refuses our keys",
    PortClosed: "no sshd",
    MachineSlow: "slow: it answers SSH, and does not say what it is",
    DeadlineExceeded: "silent",
}


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one server. `netboot`: open, closed, or unknown where the Hardware is missing.

    `holder`, `run`, `until` tell whose claim it is ("" for none); `expired` that its time is over. `since`: the last
    moment at which the Workflow moved, by what it says itself. `machine`: what answers there, "" where nobody looked.
    `guard`: the one that has acknowledged the claim.
    `protected`: why it must not be installed, "" where it may. `refused`: why a provision would refuse it, as far as
    this tells, "" where nothing speaks against it. `server`: "" for a Hardware that the inventory lets nobody name.
    `last_run`: the last one that ended, whoever led it, as it stands on the Hardware; None where none is told of.
    `waiting`: the runs that wait for it, in turn.
    """

    server: str
    hardware: str
    netboot: str
    holder: str = ""
    run: str = ""
    until: str = ""
    expired: bool = False
    workflow: str = ""
    state: str = ""
    action: str = ""
    since: str = ""
    machine: str = ""
    guard: str = ""
    protected: str = ""
    refused: str = ""
    last_run: HistoryEntry | None = None
    waiting: tuple[Waiting, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON-able object."""
        told = {name: getattr(self, name) for name in self.__slots__}
        waiting = [{"run": place.run, "holder": place.holder, "since": place.since} for place in self.waiting]
        return told | {"last_run": self.last_run.to_json() if self.last_run else None, "waiting": waiting}


def status(site: Site, servers: Sequence[Server] | None, probe: bool = False) -> list[Row]:
    """One row for each server (None: for each of the inventory, and every other Hardware of the namespace), from one
    remote command; with `probe` each machine is asked what it is, too.
    """
    if servers is not None and not servers:
        return []
    survey = Cluster(site).survey(Deadline.after(site.clock, READ_SECONDS))
    return _rows(site, survey, servers, _machines(site, survey, _nameable(site, survey, servers)) if probe else {})


def watch(site: Site, servers: Sequence[Server] | None, probe: bool = False) -> Iterator[list[Row]]:
    """The rows now, and all of them again whenever one has changed; with `probe` a changed one is asked anew.

    Made of two watches, without asking again and again. Raises what `status` raises.
    """
    if servers is not None and not servers:
        yield []
        return
    machines: dict[str, str] = {}
    known: list[Row] = []
    for survey in surveys(site, Deadline.after(site.clock, WATCH_SECONDS)):
        rows = _rows(site, survey, servers, machines) if survey is not None else known
        if survey is None or rows == known:
            continue
        if probe:
            news = {row.server for row in rows if row not in known}
            changed = [server for server in _nameable(site, survey, servers) if server.name in news]
            machines |= _machines(site, survey, changed)
            rows = _rows(site, survey, servers, machines)
        known = rows
        yield rows


def _rows(site: Site, survey: Survey, servers: Sequence[Server] | None, machines: Mapping[str, str]) -> list[Row]:
    named = _nameable(site, survey, servers)
    rows = [replace(_row(site, survey, server), machine=machines.get(server.name, "")) for server in named]
    known = {server.hardware for server in named}
    others = [Server(name=name, hardware=name) for name in survey.hardware if name not in known and servers is None]
    return rows + [replace(_row(site, survey, other), server="", refused=UNLISTED) for other in others]


def _nameable(site: Site, survey: Survey, servers: Sequence[Server] | None) -> list[Server]:
    return list(site.inventory.everyone(survey.hardware).values()) if servers is None else list(servers)


def _row(site: Site, survey: Survey, server: Server) -> Row:
    hardware = survey.hardware.get(server.hardware)
    if hardware is None:
        return Row(server.name, server.hardware, "unknown", refused=why_not(server, survey))
    claim, word = claim_of(hardware), acknowledgement(hardware)
    macs = [interface.mac for interface in hardware.interfaces]
    workflow = _newest(survey.of_agent([hardware.agent_id or "", *macs], server.hardware))
    return Row(
        server=server.name,
        hardware=server.hardware,
        netboot="open" if hardware.open_interfaces() else "closed",
        holder=claim.note.holder if claim else "",
        run=claim.run if claim else "",
        until=claim.note.expires if claim else "",
        expired=bool(claim) and not (claim and claim.live(site.now())),
        workflow=workflow.name if workflow else "",
        state=workflow.state if workflow else "",
        action=workflow.current.name if workflow and workflow.current else "",
        since=_moved(workflow) if workflow else "",
        guard=word.guard if word else "",
        protected=hardware.protected or "",
        refused=why_not(server, survey),
        last_run=next(iter(past_runs(hardware)), None),
        waiting=tuple(replace(place, until="") for place in waiting(hardware, site.now())),
    )


def _newest(workflows: Sequence[Workflow]) -> Workflow | None:
    """A live one before a finished one, then the youngest."""
    return max(workflows, key=lambda one: (one.live, one.meta.created), default=None)


def _moved(workflow: Workflow) -> str:
    """The last moment it tells of: made, or an action started or ended. An action that runs may not say since when."""
    moments = [parse_time(workflow.meta.created)]
    for action in workflow.actions:
        begun = parse_time(action.started or "")
        moments.append(begun + timedelta(seconds=action.seconds or 0.0) if begun else None)
    last = max((moment for moment in moments if moment), default=None)
    return stamp(last) if last else ""


def _machines(site: Site, survey: Survey, servers: Sequence[Server]) -> dict[str, str]:
    """What answers at each server now, in words; no more than PROBES_AT_ONCE are asked at the same time."""
    with ThreadPoolExecutor(PROBES_AT_ONCE, thread_name_prefix="probe") as pool:
        found = pool.map(lambda server: _machine(site, survey.hardware.get(server.hardware), server), servers)
        return dict(zip((server.name for server in servers), found, strict=True))


def _machine(site: Site, hardware: Hardware | None, server: Server) -> str:
    here = site.on(site.bus.scoped(server=server.name))
    machine = Machine.of(here, server, hardware)
    try:
        seen = machine.facts(Deadline.after(site.clock, PROBE_SECONDS))
    except MetalfoundryError as error:
        return next((words for kind, words in SILENCES.items() if isinstance(error, kind)), "not reached")
    if seen.in_hook:
        return "HookOS"
    return f"{seen.os_name or 'an unknown system'}{f' ({seen.hostname})' if seen.hostname else ''}"

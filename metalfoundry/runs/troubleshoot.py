"""Why does it hang? Look once at the cluster and at the machine, at the same time; judge; say what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from metalfoundry.commands.claims import claim_of, stamp
from metalfoundry.commands.gather import Wanted
from metalfoundry.commands.machine import MachineFacts
from metalfoundry.diagnosis.engine import exit_code, judge
from metalfoundry.diagnosis.facts import Facts, Seen, absent, seen
from metalfoundry.diagnosis.findings import Finding
from metalfoundry.diagnosis.summary import Summary, summarize
from metalfoundry.model import redact
from metalfoundry.model.inventory import Server
from metalfoundry.runs.build_facts import address_of, concerned, facts_of, in_question
from metalfoundry.site.cluster import Cluster
from metalfoundry.site.site import Site
from metalfoundry.site.snapshot import ClusterSnapshot, MachineSnapshot, snapshot_cluster, snapshot_machine
from metalfoundry.site.survey import Survey
from metalfoundry.transport.clock import Deadline

SCHEMA = 1
LOOK_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was seen of one server, and what it means; `name` is what was asked about, a server or a Workflow.

    `findings` are never empty; the first one is the answer. `exit_code`: 0, 30 to 33, or 40 (a trap is armed).
    """

    name: str
    server: str
    facts: Facts
    summary: Summary
    findings: tuple[Finding, ...]
    exit_code: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The schema of docs/troubleshoot-json.md, version 1; no secret is left in what others have said."""
        return redact.data(self._whole())  # type: ignore[no-any-return]

    def _whole(self) -> dict[str, Any]:
        after = self.facts.aftermath
        workflow = seen(self.facts.workflow) or (after.deleted if after else None)
        gone = after is not None and absent(after.workflow)
        return {
            "schema": SCHEMA,
            "name": self.name,
            "server": self.server,
            "hardware": self.facts.configured.hardware,
            "workflow": workflow.name if workflow else None,
            "state": ("DELETED" if gone else workflow.state) if workflow else None,
            "version": str(self.facts.version) if self.facts.version else None,
            "at": stamp(self.facts.now),
            "exit_code": self.exit_code,
            "witnesses": self.summary.to_json(),
            "findings": [finding.to_json() for finding in self.findings],
            "not_seen": self.facts.unseen(),
            "seconds": round(self.seconds, 3),
        }


def troubleshoot(
    site: Site,
    name: str,
    *,
    all: bool = False,
    before: MachineFacts | None = None,
    started: datetime | None = None,
    seconds: float = LOOK_SECONDS,
) -> Diagnosis:
    """Diagnose the server, Hardware or Workflow of this name within `seconds`; `all` keeps what others explain.

    `before` and `started` are a run's own: what the machine said before, and when it was rebooted. Raises
    TransportError where the jump host is not reached, InventoryError where nothing has that name.
    """
    begun = site.clock.now().mono
    facts = gathered(site, name, seconds)
    facts = replace(
        facts,
        before=Seen(before, "the run's preflight") if before else facts.before,
        started=Seen(started, "the run") if started else facts.started,
    )
    return judged(facts, site.clock.now().mono - begun, all)


def gathered(site: Site, name: str, seconds: float) -> Facts:
    """What can be seen of the server, Hardware or Workflow of this name, within `seconds`. Raises as `troubleshoot`."""
    deadline = Deadline.after(site.clock, seconds)
    server = known_server(site, name)
    looking = _look(site, server, None, deadline) if server and server.address else None
    cluster = snapshot_cluster(site, _wanted(site, name, server), deadline)
    server = server or _unknown(site, name, cluster)
    machine = looking.result() if looking else _look_now(site, server, cluster, deadline)
    return facts_of(site, name, server, cluster, machine)


def troubleshoot_all(site: Site, *, all: bool = False) -> list[Diagnosis]:
    """Every server whose Workflow has not finished well, and every window that nobody holds; the cluster is read once
    to find them. All machines are asked at the same time. Raises as `troubleshoot`."""
    survey = Cluster(site).survey(Deadline.after(site.clock, LOOK_SECONDS))
    now = site.clock.now().wall
    names = [server for server in _servers(site, survey) if _concerns(survey, server, now)]
    deadline = Deadline.after(site.clock, LOOK_SECONDS * (1 + len(names)))
    looks = [_look(site, server, address_of(survey.hardware.get(server.hardware)), deadline) for server in names]
    found = []
    for server, look in zip(names, looks, strict=True):
        begun = site.clock.now().mono
        cluster = snapshot_cluster(site, _wanted(site, server.name, server), deadline)
        facts = facts_of(site, server.name, server, cluster, look.result())
        found.append(judged(facts, site.clock.now().mono - begun, all))
    return found


def judged(facts: Facts, seconds: float, all: bool = False) -> Diagnosis:
    """The diagnosis that these facts, gathered in `seconds`, give."""
    findings = judge(facts, all=all)
    name = facts.configured.server
    return Diagnosis(facts.name, name, facts, summarize(facts), findings, exit_code(findings), seconds)


def known_server(site: Site, name: str) -> Server | None:
    """The inventory's server of that name, or for the Hardware of that name."""
    servers = site.inventory.servers
    return servers.get(name) or next((server for server in servers.values() if server.hardware == name), None)


def _wanted(site: Site, name: str, server: Server | None) -> Wanted:
    smee = site.inventory.site.smee or ""
    if server is None:
        return Wanted(workflow=name, smee=smee)
    address = server.address or ""
    names = (server.name, *(() if address.startswith("127.") else (address,)))
    return Wanted(hardware=server.hardware, mac=server.mac or "", names=names, smee=smee)


def _unknown(site: Site, name: str, cluster: ClusterSnapshot) -> Server:
    """The server behind a Workflow of that name, or a Hardware that the inventory does not have."""
    survey = cluster.survey
    workflow = survey.workflows.get(name)
    hardware = workflow.hardware_ref if workflow else name if name in survey.hardware else ""
    if not hardware:
        site.inventory.server(name)  # raises, with the nearest name
    known = next((server for server in site.inventory.servers.values() if server.hardware == hardware), None)
    if known is None and site.inventory.rest is not None:
        return site.inventory.server(hardware)
    return known or Server(name=hardware, hardware=hardware)


def _look(site: Site, server: Server, address: str | None, deadline: Deadline) -> Future[MachineSnapshot]:
    return site.background(lambda: snapshot_machine(site, server, address, deadline))


def _look_now(site: Site, server: Server, cluster: ClusterSnapshot, deadline: Deadline) -> MachineSnapshot:
    survey = cluster.survey
    return snapshot_machine(site, server, address_of(survey.hardware.get(server.hardware)), deadline)


def _servers(site: Site, survey: Survey) -> list[Server]:
    """The inventory's, and one for each Hardware that it does not know."""
    known = list(site.inventory.servers.values())
    names = {server.hardware for server in known}
    return known + [Server(name=name, hardware=name) for name in survey.hardware if name not in names]


def _concerns(survey: Survey, server: Server, now: datetime) -> bool:
    hardware = survey.hardware.get(server.hardware)
    workflow = in_question(concerned(survey.workflows.values(), hardware, server.hardware), server.name)
    claim = claim_of(hardware) if hardware else None
    stray = hardware is not None and bool(hardware.open_interfaces()) and not (claim and claim.live(now))
    return stray or (workflow is not None and workflow.state != "SUCCESS")


def worst(diagnoses: Sequence[Diagnosis]) -> int:
    """One exit code for several: 40 before all, 0 where nothing is wrong, 50 where they differ."""
    codes = {one.exit_code for one in diagnoses} - {0}
    return 40 if 40 in codes else codes.pop() if len(codes) == 1 else 50 if codes else 0

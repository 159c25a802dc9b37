"""One look at everything that may say why a machine hangs: the cluster in one exec, the machine in another.

What comes back is what was said, part by part; a part that could not be read says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from metalfoundry.commands import examine, gather
from metalfoundry.commands.command import Command
from metalfoundry.commands.gather import Wanted
from metalfoundry.commands.kubectl import read_list
from metalfoundry.commands.kubernetes import MachineProbe
from metalfoundry.commands.machine import DEFAULT_MARKER, read_facts
from metalfoundry.commands.script import Outcome, read_script
from metalfoundry.model.errors import (
    AuthError,
    DeadlineExceeded,
    HostKeyError,
    MetalfoundryError,
    PortClosed,
    TransportError,
)
from metalfoundry.model.foreign import parse_time
from metalfoundry.model.hosts import Host, ServerKey
from metalfoundry.model.inventory import Server
from metalfoundry.model.resources import Hardware, Template, Workflow
from metalfoundry.model.states import SshAnswer
from metalfoundry.site.refused import script_unrun
from metalfoundry.site.site import Site
from metalfoundry.site.survey import Survey
from metalfoundry.transport.clock import Deadline

CLUSTER_SECONDS = 15.0
ANSWER_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """What the jump host gave, by part (commands/gather.py), and when, by its own clock.

    `ahead`: seconds by which the jump host's clock is ahead of ours.
    """

    outcomes: Mapping[str, Outcome] = field(hash=False)
    at: datetime
    ahead: float = 0.0

    @property
    def survey(self) -> Survey:
        """The namespace's objects; empty where they were not read."""
        found: dict[str, list[dict[str, Any]]] = {"Hardware": [], "Template": [], "Workflow": []}
        for item in self.items("objects"):
            found.setdefault(str(item.get("kind")), []).append(item)
        return Survey(
            {one.name: one for one in map(Hardware.of, found["Hardware"])},
            {one.name: one for one in map(Template.of, found["Template"])},
            {one.name: one for one in map(Workflow.of, found["Workflow"])},
        )

    def items(self, part: str) -> list[dict[str, Any]]:
        """The objects that one part lists; none where it failed."""
        outcome = self.outcomes.get(part)
        try:
            return read_list(outcome) if outcome and outcome.ok else []
        except ValueError:
            return []


@dataclass(frozen=True, slots=True)
class MachineSnapshot:
    """What the machine gave, by part; `seen` None where it did not answer, and `reason` says why.

    `ssh` None: it was not asked. `refused`: why its host key would let nobody log in, where another one is known.
    `ahead` as in ClusterSnapshot.
    """

    outcomes: Mapping[str, Outcome] = field(hash=False)
    ssh: SshAnswer | None = None
    reason: str = ""
    seen: MachineProbe | None = None
    at: datetime | None = None
    ahead: float = 0.0
    refused: HostKeyError | None = field(default=None, hash=False)


def snapshot_cluster(site: Site, wanted: Wanted, deadline: Deadline) -> ClusterSnapshot:
    """Read the cluster. Raises TransportError, and PreflightError where the jump host runs nothing of ours."""
    result = site.transport.run(site.jump, gather.cluster(site.kubectl, wanted), deadline.within(CLUSTER_SECONDS))
    outcomes = read_script(result.stdout)
    if "objects" not in outcomes:
        raise script_unrun(site, result)
    at, ahead = _clock(site, outcomes)
    return ClusterSnapshot(outcomes, at, ahead)


def examine_site(site: Site, hardware: Sequence[str], deadline: Deadline) -> ClusterSnapshot:
    """Read what `fab doctor` judges (commands/examine.py). Raises as `snapshot_cluster`."""
    command = examine.site(site.kubectl, hardware, site.inventory.site.smee or "")
    result = site.transport.run(site.jump, command, deadline.within(CLUSTER_SECONDS))
    outcomes = read_script(result.stdout)
    if "objects" not in outcomes:
        raise script_unrun(site, result)
    return ClusterSnapshot(outcomes, *_clock(site, outcomes))


def snapshot_machine(site: Site, server: Server, address: str | None, deadline: Deadline) -> MachineSnapshot:
    """Read the machine, whoever it is; never raises for one that does not answer within ANSWER_SECONDS, or is slow.

    HookOS makes a new host key at each boot, so the key is learned, and told to have changed by any other system.
    """
    try:
        known = server.host(site.inventory.site, address)
    except MetalfoundryError as error:
        return MachineSnapshot({}, None, error.what)
    host = known.anybody
    try:
        outcomes = _ask(site, host, gather.machine(server.verify), deadline)
    except TransportError as error:
        refused = error if isinstance(error, HostKeyError) else None
        return MachineSnapshot({}, _how(error), error.what, refused=refused)
    facts = (
        read_facts(outcomes["facts"].stdout, server.verify.marker or DEFAULT_MARKER) if "facts" in outcomes else None
    )
    if facts is None or not facts.boot_id:
        return MachineSnapshot(outcomes, SshAnswer.OK, "it answers SSH, and does not report a boot id")
    key = site.transport.server_key(host)
    facts = replace(facts, host_key=key.fingerprint if key else "")
    refused = None if facts.in_hook or key is None else _objection(known, key)
    at, ahead = _clock(site, outcomes)
    seen = gather.read_probe(outcomes, MachineProbe(facts))
    return MachineSnapshot(outcomes, SshAnswer.KEY_CHANGED if refused else SshAnswer.OK, "", seen, at, ahead, refused)


def _ask(site: Site, host: Host, command: Command, deadline: Deadline) -> dict[str, Outcome]:
    """One exec; a second one, with all the time of the inventory, where the machine took the first and was too slow."""
    try:
        result = site.transport.run(host, command, deadline.within(ANSWER_SECONDS))
    except DeadlineExceeded as error:
        if not error.sent:
            raise
        result = site.transport.run(host, command, deadline.within(site.inventory.timeouts.facts))
    return read_script(result.stdout)


def _how(error: TransportError) -> SshAnswer:
    if isinstance(error, AuthError):
        return SshAnswer.DENIED
    if isinstance(error, HostKeyError):
        return SshAnswer.KEY_CHANGED
    if isinstance(error, DeadlineExceeded) and error.sent:
        return SshAnswer.SLOW
    return SshAnswer.REFUSED if isinstance(error, PortClosed) else SshAnswer.SILENT


def _objection(host: Host, key: ServerKey) -> HostKeyError | None:
    from metalfoundry.transport.ssh_config import objection  # here: it brings paramiko, which takes its time

    return objection(host, key)


def _clock(site: Site, outcomes: Mapping[str, Outcome]) -> tuple[datetime, float]:
    """The time there, and how far it is ahead of ours; ours where it did not say."""
    here = site.clock.now().wall
    there = parse_time(gather.read_clock(outcomes.get("clock"))) or here
    return there, (there - here).total_seconds()

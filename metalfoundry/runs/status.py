"""One look at the whole site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metalfoundry.commands.netboot import claim_of
from metalfoundry.model.inventory import Server
from metalfoundry.model.resources import Workflow
from metalfoundry.site.cluster import Cluster, Survey
from metalfoundry.site.site import Site
from metalfoundry.transport.clock import Deadline


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one server. `netboot`: open, closed, or unknown where the Hardware is missing.

    `holder`, `run`, `until` tell whose claim it is ("" for none); `expired` that its time is over.
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

    def to_json(self) -> dict[str, Any]:
        """A JSON-able object."""
        return {name: getattr(self, name) for name in self.__slots__}


def status(site: Site, servers: Sequence[Server]) -> list[Row]:
    """One row for each server, from one remote command."""
    survey = Cluster(site).survey(Deadline.after(site.clock, 30.0))
    return [_row(site, survey, server) for server in servers]


def _row(site: Site, survey: Survey, server: Server) -> Row:
    hardware = survey.hardware.get(server.hardware)
    if hardware is None:
        return Row(server.name, server.hardware, "unknown")
    claim = claim_of(hardware)
    macs = [interface.mac for interface in hardware.interfaces]
    workflow = _newest(survey.of_agent([hardware.agent_id or "", *macs], server.hardware))
    return Row(
        server=server.name,
        hardware=server.hardware,
        netboot="open" if hardware.open_interfaces() else "closed",
        holder=claim.note.holder if claim else "",
        run=claim.run if claim else "",
        until=claim.note.expires if claim else "",
        expired=bool(claim) and not (claim and claim.live(site.clock.now().wall)),
        workflow=workflow.name if workflow else "",
        state=workflow.state if workflow else "",
        action=workflow.current.name if workflow and workflow.current else "",
    )


def _newest(workflows: Sequence[Workflow]) -> Workflow | None:
    """A live one before a finished one, then the youngest."""
    return max(workflows, key=lambda one: (one.live, str(one.raw["metadata"].get("creationTimestamp"))), default=None)

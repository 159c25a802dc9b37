"""Following and ending a run from elsewhere. The truth is in the cluster: claim, window, Workflow."""

from __future__ import annotations

from dataclasses import dataclass

from metalfoundry.commands import netboot
from metalfoundry.commands.base import Effect
from metalfoundry.commands.netboot import BY_HAND, ClaimSeen
from metalfoundry.model.errors import ClaimedError, PreflightError, WorkflowFailed
from metalfoundry.model.events import ClaimChanged, Notice, WindowChanged
from metalfoundry.model.inventory import Server
from metalfoundry.model.resources import Hardware, Workflow
from metalfoundry.runs.manual import break_claim
from metalfoundry.runs.progress import Progress
from metalfoundry.site.cluster import Cluster, Gone
from metalfoundry.site.proof import Proof
from metalfoundry.site.site import Site
from metalfoundry.transport.clock import Deadline

LONGEST_SECONDS = 24 * 3600.0
UNRUN = ("", "PREPARING", "PENDING")


@dataclass(frozen=True, slots=True)
class Followed:
    """How the run that was followed ended: `state` is the Workflow's last one, "DELETED" when it was removed.

    `ended`: the run gave its claim back; otherwise another run took the server, or the claim was broken (`how`).
    """

    run: str
    holder: str
    state: str
    ended: bool
    how: str = ""


def attach(site: Site, server: Server) -> Followed:
    """Follow the run that holds `server` until it ends, from events alone; nothing is written.

    Raises ClaimedError when nobody holds the server, or its window was opened by hand.
    """
    claim = _claim(site, server)
    here = site.on(site.bus.scoped(run=claim.run, server=server.name))
    here.bus.emit(ClaimChanged("followed", claim.note.holder))
    progress = Progress(here.bus, here.clock)
    state, window = "", False
    deadline = Deadline.after(site.clock, LONGEST_SECONDS)
    for seen in Cluster(here).watch(claim.note.workflow, server.hardware, deadline):
        if isinstance(seen, Workflow):
            progress.take(seen)
            state = seen.state
        elif isinstance(seen, Gone):
            state = "DELETED"
        elif isinstance(seen, Hardware):
            if bool(seen.open_interfaces()) != window:
                window = not window
                here.bus.emit(
                    WindowChanged("open" if window else "closed", expires=claim.note.expires if window else "")
                )
            found = netboot.claim_of(seen)
            if found is None or found.run != claim.run:
                progress.stop()
                how = netboot.broken(seen) if found is None else f"taken up by {found.note.holder} as {found.run}"
                return Followed(claim.run, claim.note.holder, state, ended=not how, how=how)
            claim = found
    raise WorkflowFailed(
        f"{server.name} was followed for a day without an end", next=f"fab status --server {server.name}"
    )


def cancel(site: Site, server: Server, reason: str) -> Proof:
    """End the run that holds `server`: the window is closed first, then the claim goes, and the runner stops.

    A Workflow that never ran is removed; one that runs goes on in the machine, and is kept. Raises ClaimedError when
    nobody holds the server.
    """
    claim = _claim(site, server)
    here = site.on(site.bus.scoped(run=claim.run, server=server.name))
    proof = break_claim(site, server, claim.run, f"cancelled: {reason}" if reason else "cancelled")
    cluster, deadline = Cluster(here), Deadline.after(site.clock, 60.0)
    workflow = cluster.workflow(claim.note.workflow, deadline) if claim.note.workflow else None
    if workflow is not None and workflow.state in UNRUN:
        cluster.delete_workflows([workflow.name], deadline, Effect.RESTORE)
        here.bus.emit(Notice(f"removed the Workflow {workflow.name}, which never ran"))
    elif workflow is not None and workflow.state == "RUNNING":
        here.bus.emit(Notice(f"the Workflow {workflow.name} runs on in the machine, and boots its disk afterwards"))
    return proof


def _claim(site: Site, server: Server) -> ClaimSeen:
    deadline = Deadline.after(site.clock, 30.0)
    seen = netboot.claim_of(Cluster(site).hardware(server.hardware, deadline).hardware)
    if seen is None:
        raise PreflightError(
            f"no run holds {server.name}",
            where=f"Hardware {server.hardware}",
            next=f"fab status --server {server.name}",
        )
    if seen.note.phase == BY_HAND:
        raise ClaimedError(
            f"netboot of {server.name} was opened by hand by {seen.note.holder}; there is no run",
            where=f"Hardware {server.hardware}",
            next=f"fab netboot.close {server.name}",
        )
    return seen

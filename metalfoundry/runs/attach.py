"""Following and ending a run from elsewhere. The truth is in the cluster: claim, window, Workflow."""

from __future__ import annotations

from dataclasses import dataclass

from metalfoundry.commands import claims
from metalfoundry.commands.claims import BY_HAND, ClaimSeen
from metalfoundry.commands.command import Effect
from metalfoundry.model.errors import ClaimedError, WorkflowFailed
from metalfoundry.model.events import ClaimChanged, LeaseExtended, Notice, WindowChanged
from metalfoundry.model.inventory import Server
from metalfoundry.model.program import ours
from metalfoundry.model.resources import Hardware, Workflow
from metalfoundry.model.states import ClaimState, WindowState
from metalfoundry.runs.netboot_by_hand import break_claim, look, settle, unheld
from metalfoundry.runs.progress import UNRUN, Progress
from metalfoundry.site.cluster import Cluster, Gone
from metalfoundry.site.proof import Proof
from metalfoundry.site.site import Site
from metalfoundry.site.window import TOGGLE_SECONDS
from metalfoundry.transport.clock import Cancel, Deadline

LONGEST_SECONDS = 24 * 3600.0
READ_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Followed:
    """How the run that was followed ended: `state` is the Workflow's last one, "DELETED" when it was removed.

    `ended`: the run gave its claim back; otherwise `how`: another run took it up, the claim was broken, or expired.
    """

    run: str
    holder: str
    state: str
    ended: bool
    how: str = ""


def attach(site: Site, server: Server) -> Followed:
    """Follow the run that holds `server` until it ends, from events alone; nothing is written.

    A run whose client is gone is over when its claim has expired, whatever the machine does. Raises PreflightError
    when nobody holds the server, ClaimedError when its window was opened by hand.
    """
    deadline = Deadline.after(site.clock, READ_SECONDS)
    claim = _claim(server, Cluster(site).hardware(server.hardware, deadline).hardware)
    here = site.on(site.bus.scoped(run=claim.run, server=server.name))
    here.bus.emit(ClaimChanged(ClaimState.FOLLOWED, claim.note.holder))
    following = _Following(here, claim, Progress(here.bus, here.clock))
    deadline = Deadline.after(site.clock, LONGEST_SECONDS)
    try:
        for seen in Cluster(here).watch(claim.note.workflow, server.hardware, deadline):
            end = following.take(seen)
            if end is not None:
                return end
    finally:
        following.progress.stop()
    raise WorkflowFailed(f"the run on {server.name} did not end within a day", next=ours("status", server.name))


@dataclass
class _Following:
    """What is known of a run that somebody else leads."""

    site: Site
    claim: ClaimSeen
    progress: Progress
    state: str = ""
    window: bool = False

    def take(self, seen: Workflow | Gone | Hardware | None) -> Followed | None:
        """Tell what is new; the end of the run, if this is it."""
        if isinstance(seen, Workflow):
            self.progress.take(seen)
            self.state = seen.state
        elif isinstance(seen, Gone):
            self.state = "DELETED"
        elif isinstance(seen, Hardware):
            found = claims.claim_of(seen)
            self._windows(seen, found)
            if found is None:
                return self._over(claims.broken(seen))
            if found.run != self.claim.run:
                return self._over(f"taken up by {found.note.holder} as {found.run}")
            self.claim = found
        if not self.claim.live(self.site.now()):
            return self._over(f"its client is gone: the claim expired at {self.claim.note.expires}")
        return None

    def _windows(self, seen: Hardware, found: ClaimSeen | None) -> None:
        expires = found.note.expires if found else ""
        if bool(seen.open_interfaces()) != self.window:
            self.window = not self.window
            self.site.bus.emit(
                WindowChanged(WindowState.OPEN, expires=expires)
                if self.window
                else WindowChanged(WindowState.CLOSED, "so it is seen")
            )
        elif expires and expires != self.claim.note.expires:
            self.site.bus.emit(LeaseExtended(expires))

    def _over(self, how: str) -> Followed:
        return Followed(self.claim.run, self.claim.note.holder, self.state, ended=not how, how=how)


def cancel(site: Site, server: Server, reason: str) -> Proof:
    """End the run that holds `server`: the window is closed first, then the claim goes, and the runner stops.

    A Workflow that never ran is removed; one that runs goes on in the machine, and is kept. Raises PreflightError when
    nobody holds the server, ClaimedError when its window was opened by hand, UnsafeError.
    """
    claim = _claim(server, look(site.on(site.bus.scoped(server=server.name)), server))
    here = site.on(site.bus.scoped(run=claim.run, server=server.name))
    proof = break_claim(site, server, claim.run, f"cancelled: {reason}" if reason else "cancelled")
    cluster, deadline = Cluster(here), Deadline.after(site.clock, 60.0)
    workflow = cluster.workflow(claim.note.workflow, deadline) if claim.note.workflow else None
    if workflow is not None and workflow.state in UNRUN:
        cluster.delete_workflows([workflow.name], deadline, Effect.RESTORE)
        here.bus.emit(Notice(f"removed the Workflow {workflow.name}, which never ran"))
        if workflow.state in UNRUN[:2]:  # Tinkerbell's controller may be about to open netboot for it
            site.clock.wait(TOGGLE_SECONDS, Cancel())
        proof = settle(site, server, claim.run) or proof
    elif workflow is not None and workflow.state == "RUNNING":
        here.bus.emit(Notice(f"the Workflow {workflow.name} runs on in the machine, and boots its disk afterwards"))
    return proof


def _claim(server: Server, hardware: Hardware) -> ClaimSeen:
    seen = claims.claim_of(hardware)
    if seen is None:
        raise unheld(server)
    if seen.note.phase == BY_HAND:
        raise ClaimedError(
            f"netboot of {server.name} was opened by hand by {seen.note.holder}; there is no run",
            where=f"Hardware {server.hardware}",
            next=ours("netboot.close", server.name),
        )
    return seen

"""One provision under way: its doors, what Preflight found, what came of it, and the one watch on the Workflow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from metalfoundry.commands.command import Effect
from metalfoundry.commands.machine import MachineFacts
from metalfoundry.model.errors import (
    GateClosed,
    Interrupted,
    MetalfoundryError,
    TransportError,
    WorkflowFailed,
    WorkflowTimedOut,
)
from metalfoundry.model.events import Notice, WindowChanged
from metalfoundry.model.hosts import ServerKey
from metalfoundry.model.inventory import Server
from metalfoundry.model.program import ours
from metalfoundry.model.resources import Hardware, Workflow
from metalfoundry.model.states import WindowState
from metalfoundry.runs import worker
from metalfoundry.runs.engine import Run
from metalfoundry.runs.options import Options
from metalfoundry.runs.progress import Progress
from metalfoundry.runs.target import Target
from metalfoundry.site.cluster import Cluster, Gone
from metalfoundry.site.proof import Proof
from metalfoundry.site.queue import Queue
from metalfoundry.site.site import Site
from metalfoundry.site.window import Window
from metalfoundry.transport.clock import Deadline

TINKERBELL = "tinkerbell"
"""The rung of a Workflow with a bootMode: Tinkerbell's controller has Rufio power-cycle the machine."""
DELETE_SECONDS = 60.0
READ_SECONDS = 30.0


class ProvisionRun(Run):
    """One server's run. Preflight sets `found`, what is known at its end; until then `smee` is all that was read.

    `queue`: its place among those that wait for the server, where it had to.

    What comes of it: `rebooted_at` in monotonic seconds; `hook_boot_id` of the installer; `stranger`, why what answered
    last is another machine, and since when; `closed` by our own close; `gone`, somebody deleted the Workflow;
    `facts_new` of the system that was verified, `keys_new` its host keys.
    """

    def __init__(self, site: Site, server: Server, options: Options, id: str) -> None:
        """A run on which nothing has been done yet; `site` is any bus's, the run's own is made of it."""
        bus = site.bus.scoped(run=id, server=server.name)
        super().__init__(id, bus, site.clock, site.cancel)
        self.server = server
        self.options = options
        self.window = Window(site.on(bus), server, id, options.reason)
        self.site = self.window.site
        self.cluster = Cluster(self.site)
        self.progress = Progress(bus, site.clock)
        self.found: Target | None = None
        self.smee: Mapping[str, int] | None = None
        self.queue: Queue | None = None
        self.rebooted_at: float | None = None
        self.hook_boot_id = ""
        self.stranger: tuple[str, float] | None = None
        self.closed = False
        self.gone = False
        self.facts_new: MachineFacts | None = None
        self.keys_new: tuple[ServerKey, ...] = ()
        self._watch: Iterator[Workflow | Gone | Hardware | None] | None = None

    @property
    def target(self) -> Target:
        """What Preflight found; for the phases after it."""
        assert self.found is not None, "Preflight comes first"
        return self.found

    @property
    def rungs(self) -> tuple[str, ...]:
        """How the machine may be rebooted, in order; by its BMC where its Hardware names one that we may use. Where
        Tinkerbell does it by itself, that comes first, and the others are not tried.
        """
        has_bmc = bool(self.target.hardware.bmc_ref) and not self.target.lacks
        ours = tuple(rung for rung in self.server.reboot if rung != "bmc" or has_bmc)
        ours = ours if self.options.reboot else ("person",)
        return (TINKERBELL, *ours) if self.target.document.is_power_cycled else ours

    @property
    def ending(self) -> str:
        """Why what was done is taken back."""
        return "the run was interrupted" if isinstance(self.failed, Interrupted) else "the run failed"

    @property
    def ssh_alone(self) -> bool:
        """Whether nothing but its own SSH can reboot it, so that nothing comes from one that does not answer."""
        return self.rungs == ("ssh",)

    @property
    def workflow(self) -> Workflow | None:
        """The Workflow as last seen."""
        return self.progress.workflow

    @property
    def state(self) -> str:
        """Its state; "" before it is rendered."""
        return self.workflow.state if self.workflow else ""

    @property
    def running(self) -> bool:
        """Whether an agent has reported: only RUNNING, or what can only follow it, proves that."""
        return self.progress.ran

    def follow(self) -> None:
        """Start the one watch that all later phases read from; the Workflow must have been applied."""
        limits = self.site.inventory.timeouts
        whole = limits.netboot + limits.install + limits.boot + limits.verify
        deadline = Deadline.after(self.clock, whole + 60.0)
        since = self.workflow.meta.resource_version if self.workflow else ""
        self._watch = self.cluster.watch(self.target.document.name, self.server.hardware, deadline, since)

    def step(self) -> None:
        """Wait for the next thing the watch shows, or a moment of silence, and take it in.

        Netboot that somebody opens after our close is closed again. Raises WorkflowFailed, once, when the Workflow is
        deleted under us; claim and Hardware are watched over all the same from then on.
        """
        self.window.beat()
        if self._watch is None:
            self.follow()
        assert self._watch is not None
        seen = next(self._watch, None)
        if isinstance(seen, Workflow) and not self.gone:
            self.take(seen)
        elif isinstance(seen, Hardware):
            try:
                self.window.claim.notice(seen)
            finally:  # what is open under nobody's claim is to be known when the way back begins
                opened = self.window.saw(seen)
            if opened and self.closed:
                self.bus.emit(WindowChanged(WindowState.OPENED_BY_OTHER, why="it is closed again"))
                self.close("somebody else opened it")
        elif isinstance(seen, Gone) and not self.gone:
            self._deleted()

    def reread(self) -> None:
        """Read the Workflow now: what the watch shows may have waited for us, as after a sleep. Raises as `step`, and
        TransportError.
        """
        seen = self.cluster.workflow(self.target.document.name, Deadline.after(self.clock, READ_SECONDS))
        if seen is None and not self.gone:
            self._deleted()
        elif seen is not None:
            self.take(seen)

    def close(self, why: str) -> Proof:
        """Close netboot for good. A jump host or an API server that does not answer is waited for as long as an
        installation may take, with the guard holding. Raises UnsafeError; ClaimedError when the claim is gone.
        """
        proof = self.window.close(why, self.site.inventory.timeouts.install)
        self.closed = True
        assert self.window.hardware is not None
        self.window.claim.refuse_lost(self.window.hardware)
        return proof

    def _deleted(self) -> None:
        """Say so, once; who has taken the claim away, or over, may have deleted the Workflow as well."""
        self.gone = True
        deadline = Deadline.after(self.clock, READ_SECONDS)
        with suppress(TransportError):
            self.window.claim.refuse_lost(self.cluster.hardware(self.server.hardware, deadline).hardware)
        raise WorkflowFailed(
            f"the Workflow {self.target.document.name} was deleted during the run",
            where=f"namespace {self.site.kubectl.namespace}",
            next="find out who deletes Workflows here (Flux, a colleague), then run again",
        )

    def take(self, workflow: Workflow) -> None:
        """Take in one state of the Workflow. One that is given to another machine's agent is deleted at once, and is an
        IdentityError."""
        self.progress.take(workflow)
        self.window.claim.uid = self.window.claim.uid or workflow.uid
        if workflow.state not in ("", "PREPARING"):
            self.window.toggled()
        agents = worker.foreign(workflow, self.target.hardware)
        if agents:
            error = worker.another_agent(workflow, self.target.hardware, agents)
            try:
                deadline = Deadline.after(self.clock, DELETE_SECONDS)
                self.cluster.delete_workflows([workflow.name], deadline, Effect.RESTORE)
            except MetalfoundryError as problem:
                error.what += f", which failed: {problem}"
            raise error

    def raise_if_ended(self) -> None:
        """Raise WorkflowFailed or WorkflowTimedOut when Tinkerbell has given the Workflow up."""
        current = self.workflow.current if self.workflow else None
        action = f" at action {current.name}" if current else ""
        name = self.target.document.name
        if self.state == "FAILED":
            raise WorkflowFailed(
                f"the Workflow failed{action}", where=f"Workflow {name}", next=ours("troubleshoot", self.server.name)
            )
        if self.state == "TIMEOUT":
            raise WorkflowTimedOut(
                f"the Workflow ran out of time{action}",
                where=f"Workflow {name}",
                next=ours("troubleshoot", self.server.name),
            )

    def runs_meanwhile(self) -> bool:
        """Whether an agent has reported while nobody looked, as during a sleep of this computer: then nothing is to be
        opened, nor rebooted. Raises WorkflowFailed or WorkflowTimedOut for a Workflow that is over.
        """
        if self.window.stale:
            self.reread()
            if not self.running:
                self.raise_if_ended()
        return self.running

    def ran_meanwhile(self) -> bool:
        """Whether an agent has reported after all: our watch may be behind, as after a cut link, so the object is
        asked. Where nobody answers, it has not as far as we know.
        """
        try:
            self.reread()
        except (TransportError, WorkflowFailed) as error:
            self.bus.emit(Notice(f"the Workflow could not be read: {error}", "warning"))
        return self.running

    def stop_following(self) -> None:
        """End the watch and what the timeline still shows as running."""
        watch, self._watch = self._watch, None
        close = getattr(watch, "close", None)
        if close is not None:
            close()
        self.progress.stop()

    def failed_as(self, kind: type[MetalfoundryError], error: MetalfoundryError) -> MetalfoundryError:
        """The error of a phase with the exit code of that phase (`kind`'s), where it would say that nothing was
        changed: once the claim is taken, that is not true. All others, and refusals at a gate, say what they are.
        """
        if not self.window.claim.taken or error.exit_code not in (1, 10) or isinstance(error, GateClosed):
            return error
        return kind(error.what, where=error.where, next=error.next, evidence=error.evidence)

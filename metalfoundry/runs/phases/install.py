"""Install: the Workflow is followed to what boots the new system."""

from __future__ import annotations

from metalfoundry.model.errors import WorkflowTimedOut
from metalfoundry.model.program import ours
from metalfoundry.runs.engine import NEEDED, Needed, Run
from metalfoundry.runs.job import Job
from metalfoundry.transport.clock import Deadline


class Install:
    """Follow the Workflow to the start of its boot action, or to its end."""

    title = "Install"
    failure = WorkflowTimedOut

    def needed(self, run: Run[Job]) -> Needed:
        """Always."""
        return NEEDED

    def act(self, run: Run[Job]) -> None:
        """Wait. Raises WorkflowFailed, WorkflowTimedOut."""
        job = run.job
        deadline = Deadline.after(job.site.clock, job.site.inventory.timeouts.install)
        while not _through(job):
            job.raise_if_ended()
            if deadline.expired():
                current = job.workflow.current.name if job.workflow and job.workflow.current else "no action"
                raise WorkflowTimedOut(
                    f"the Workflow did not end within {job.site.inventory.timeouts.install:.0f} s; it is at {current}",
                    where=f"Workflow {job.document.name if job.document else ''}",
                    next=ours("troubleshoot", job.server.name),
                )
            job.step()
        if not job.closed:
            job.close("the installation is over")
        run.say(f"{job.state}, {len(job.progress.actions)} actions")


def _through(job: Job) -> bool:
    """At the end, or at the start of the action that reboots: after that the Workflow may never say a word."""
    if job.state in ("POST", "SUCCESS"):
        return True
    last = job.progress.actions[-1] if job.progress.actions else None
    boots = job.workflow.boot_action() if job.workflow else None
    return bool(last and boots and last.state not in ("", "PENDING"))

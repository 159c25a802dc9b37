"""Install: the Workflow is followed to what boots the new system."""

from __future__ import annotations

from metalfoundry.model.errors import WorkflowTimedOut
from metalfoundry.model.program import ours
from metalfoundry.runs.engine import NEEDED, Needed
from metalfoundry.runs.provision_run import ProvisionRun
from metalfoundry.transport.clock import Deadline


class Install:
    """Follow the Workflow to the start of its boot action, or to its end."""

    title = "Install"
    failure = WorkflowTimedOut

    def needed(self, run: ProvisionRun) -> Needed:
        """Always."""
        return NEEDED

    def act(self, run: ProvisionRun) -> None:
        """Wait. Raises WorkflowFailed, WorkflowTimedOut."""
        deadline = Deadline.after(run.clock, run.site.inventory.timeouts.install)
        while not _through(run):
            run.raise_if_ended()
            if deadline.expired():
                current = run.workflow.current.name if run.workflow and run.workflow.current else "no action"
                raise WorkflowTimedOut(
                    f"the Workflow did not end within {run.site.inventory.timeouts.install:.0f} s; it is at {current}",
                    where=f"Workflow {run.target.document.name}",
                    next=ours("troubleshoot", run.server.name),
                )
            run.step()
        if not run.closed:
            run.close("the installation is over")
        run.say(f"{run.state}, {len(run.progress.actions)} actions")


def _through(run: ProvisionRun) -> bool:
    """At the end, or at the start of the action that reboots: after that the Workflow may never say a word."""
    if run.state in ("POST", "SUCCESS"):
        return True
    last = run.progress.actions[-1] if run.progress.actions else None
    boots = run.workflow.boot_action() if run.workflow else None
    return bool(last and boots and last.state not in ("", "PENDING"))

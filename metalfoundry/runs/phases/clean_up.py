"""Clean up: old Workflows of the same agent go."""

from __future__ import annotations

from metalfoundry.model.errors import NeverInstalled
from metalfoundry.runs.engine import Needed, Run
from metalfoundry.runs.job import Job
from metalfoundry.transport.clock import Deadline

READ_SECONDS = 60.0


class CleanUp:
    """Remove Workflows of the same agent that are over: Tinkerbell up to 0.25 serves them before the new one."""

    title = "Clean up"
    failure = NeverInstalled

    def needed(self, run: Run[Job]) -> Needed:
        """Only where there are some."""
        return Needed(bool(run.job.stale), "no old Workflow of this agent")

    def act(self, run: Run[Job]) -> None:
        """Delete them."""
        deadline = Deadline.after(run.job.site.clock, READ_SECONDS)
        run.job.cluster.delete_workflows(run.job.stale, deadline)
        run.say(f"removed {', '.join(run.job.stale)}")

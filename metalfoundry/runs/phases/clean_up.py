"""Clean up: old Workflows of the same agent go."""

from __future__ import annotations

from metalfoundry.model.errors import NeverInstalled
from metalfoundry.runs.engine import Needed
from metalfoundry.runs.provision_run import ProvisionRun
from metalfoundry.transport.clock import Deadline

READ_SECONDS = 60.0


class CleanUp:
    """Remove Workflows of the same agent that are over: Tinkerbell up to 0.25 serves them before the new one."""

    title = "Clean up"
    failure = NeverInstalled

    def needed(self, run: ProvisionRun) -> Needed:
        """Only where there are some."""
        return Needed(bool(run.target.old_workflows), "no old Workflow of this agent")

    def act(self, run: ProvisionRun) -> None:
        """Delete them."""
        deadline = Deadline.after(run.clock, READ_SECONDS)
        run.cluster.delete_workflows(run.target.old_workflows, deadline)
        run.say(f"removed {', '.join(run.target.old_workflows)}")

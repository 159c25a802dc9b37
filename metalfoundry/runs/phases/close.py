"""Close: netboot is forbidden as soon as the installer runs."""

from __future__ import annotations

from metalfoundry.model.errors import WorkflowTimedOut
from metalfoundry.runs.engine import Needed
from metalfoundry.runs.provision_run import ProvisionRun


class Close:
    """The installer runs, so nothing needs netboot any longer: from now on the server boots its disk."""

    title = "Close"
    failure = WorkflowTimedOut

    def needed(self, run: ProvisionRun) -> Needed:
        """Always, unless the inventory keeps it open to the end: Tinkerbell may have opened it by itself."""
        later = run.server.netboot_until == "end" and not run.target.in_hook
        return Needed(not later, "netboot_until is end: it is closed after Install")

    def act(self, run: ProvisionRun) -> None:
        """Close, read back, ask Smee."""
        run.say(run.close("the installer runs").hardware)

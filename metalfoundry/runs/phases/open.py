"""Open: netboot is allowed."""

from __future__ import annotations

from metalfoundry.model.errors import NeverInstalled
from metalfoundry.runs.engine import Needed
from metalfoundry.runs.provision_run import ProvisionRun

WINDOW_NOT_NEEDED = "the machine is in HookOS already and needs no netboot"


class Open:
    """Allow netboot, for a machine that still has to boot the installer."""

    title = "Open"
    failure = NeverInstalled

    def needed(self, run: ProvisionRun) -> Needed:
        """Not for a machine that is in the installer already."""
        return Needed(not (run.running or run.target.in_hook), WINDOW_NOT_NEEDED)

    def act(self, run: ProvisionRun) -> None:
        """Look, if that is some time ago; open; read back."""
        run.undo("close netboot", lambda: run.window.shut(run.ending))
        if run.runs_meanwhile():
            run.say(WINDOW_NOT_NEEDED)
            return
        run.window.open()
        run.say("netboot is open")

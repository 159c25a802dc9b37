"""Open: netboot is allowed."""

from __future__ import annotations

from metalfoundry.model.errors import NeverInstalled
from metalfoundry.runs.engine import Needed, Run
from metalfoundry.runs.job import Job

WINDOW_NOT_NEEDED = "the machine is in HookOS already and needs no netboot"


class Open:
    """Allow netboot, for a machine that still has to boot the installer."""

    title = "Open"
    failure = NeverInstalled

    def needed(self, run: Run[Job]) -> Needed:
        """Not for a machine that is in the installer already."""
        return Needed(not (run.job.running or run.job.in_hook), WINDOW_NOT_NEEDED)

    def act(self, run: Run[Job]) -> None:
        """Look, if that is some time ago; open; read back."""
        job = run.job
        run.undo("close netboot", lambda: job.window.shut("the run failed"))
        if job.runs_meanwhile():
            run.say(WINDOW_NOT_NEEDED)
            return
        job.window.open()
        run.say("netboot is open")

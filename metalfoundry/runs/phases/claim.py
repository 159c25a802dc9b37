"""Claim: the server is taken for this run."""

from __future__ import annotations

from metalfoundry.model.errors import NeverInstalled
from metalfoundry.runs.engine import NEEDED, Needed
from metalfoundry.runs.provision_run import ProvisionRun


class TakeClaim:
    """Take the server for this run; where Flux manages the Hardware, pause Flux for this one object."""

    title = "Claim"
    failure = NeverInstalled

    def needed(self, run: ProvisionRun) -> Needed:
        """Always."""
        return NEEDED

    def act(self, run: ProvisionRun) -> None:
        """Annotate. Raises ClaimedError when another run was quicker.

        An earlier run's window may be open, and its guard dead: one is started in the same exec.
        """
        run.undo("close netboot and give the claim back", lambda: run.window.end(run.ending))
        target, window = run.target, run.window
        window.claim.take(target.hardware, window.guard.ask)
        run.say(f"held by {run.site.holder} as {run.id}")

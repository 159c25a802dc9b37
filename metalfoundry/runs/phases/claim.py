"""Claim: the server is taken for this run."""

from __future__ import annotations

from metalfoundry.commands.netboot import claim_of
from metalfoundry.model.errors import NeverInstalled
from metalfoundry.runs.engine import NEEDED, Needed, Run
from metalfoundry.runs.job import Job


class Claim:
    """Take the server for this run; where Flux manages the Hardware, pause Flux for this one object."""

    title = "Claim"
    failure = NeverInstalled

    def needed(self, run: Run[Job]) -> Needed:
        """Always."""
        return NEEDED

    def act(self, run: Run[Job]) -> None:
        """Annotate. Raises ClaimedError when another run was quicker.

        An earlier run's window may be open, and its guard leaves with its claim: ours is armed in the same exec.
        """
        job = run.job
        run.undo("close netboot and give the claim back", lambda: job.window.end("the run failed"))
        assert job.hardware is not None and job.document is not None
        window, earlier = job.window, claim_of(job.hardware)
        guard = [window.guard.arming(job.document.name, job.boot_action, window.claim.lease)] if earlier else []
        window.claim.take(job.hardware, then=guard)
        run.say(f"held by {run.job.site.holder} as {run.id}")

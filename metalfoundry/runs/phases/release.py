"""Release: everything is given back."""

from __future__ import annotations

from metalfoundry.model.errors import (
    MetalfoundryError,
    UnsafeError,
    VerificationFailed,
)
from metalfoundry.model.events import Notice
from metalfoundry.model.program import ours
from metalfoundry.runs.engine import NEEDED, Needed, Run
from metalfoundry.runs.job import Job


class Release:
    """Give everything back: the Workflow is removed, the claim goes, the window is proven closed."""

    title = "Release"
    failure = VerificationFailed

    def needed(self, run: Run[Job]) -> Needed:
        """Always."""
        return NEEDED

    def act(self, run: Run[Job]) -> None:
        """Delete the Workflow (unless it is to be kept) and the claim, in one exec."""
        job = run.job
        job.stop_following()
        done = [job.document.name] if job.document and not job.options.keep_workflow else []
        try:
            job.window.release(done, well=True)
        except UnsafeError:
            raise
        except MetalfoundryError as error:  # the server is as it was asked for, whoever holds it
            step = ours("netboot.break", job.server.name, "--run", job.run)
            job.site.bus.emit(Notice(f"{error}: {job.window.standing()}; give it back with: {step}", "warning"))
            run.say(job.window.standing())
            return
        run.say(f"removed the Workflow {done[0]}" if done else "the Workflow is kept")

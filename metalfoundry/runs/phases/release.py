"""Release: everything is given back."""

from __future__ import annotations

from metalfoundry.model.errors import (
    MetalfoundryError,
    UnsafeError,
    VerificationFailed,
)
from metalfoundry.model.events import Notice
from metalfoundry.model.program import ours
from metalfoundry.runs.engine import NEEDED, Needed
from metalfoundry.runs.provision_run import ProvisionRun


class Release:
    """Give everything back: the Workflow is removed, the claim goes, the window is proven closed."""

    title = "Release"
    failure = VerificationFailed

    def needed(self, run: ProvisionRun) -> Needed:
        """Always."""
        return NEEDED

    def act(self, run: ProvisionRun) -> None:
        """Delete the Workflow (unless it is to be kept) and the claim, in one exec."""
        run.stop_following()
        done = [run.target.document.name] if not run.options.keep_workflow else []
        try:
            run.window.release(done, well=True)
        except UnsafeError:
            raise
        except MetalfoundryError as error:  # the server is as it was asked for, whoever holds it
            step = ours("netboot.break", run.server.name, "--run", run.id)
            run.bus.emit(Notice(f"{error}: {run.window.standing()}; give it back with: {step}", "warning"))
            run.say(run.window.standing())
            return
        if run.window.claim.lost is not None:
            run.bus.emit(Notice(f"{run.window.claim.lost}; its Workflow was left alone", "warning"))
            run.say(run.window.standing())
            return
        run.say(f"removed the Workflow {done[0]}" if done else "the Workflow is kept")

"""Apply: a guard has seen the claim; the Workflow is applied and seen rendered."""

from __future__ import annotations

from metalfoundry.commands.claims import claim_of
from metalfoundry.commands.command import Effect
from metalfoundry.model.errors import NeverInstalled, WorkflowFailed
from metalfoundry.model.program import ours
from metalfoundry.model.resources import Workflow
from metalfoundry.runs.engine import NEEDED, Needed
from metalfoundry.runs.progress import UNRUN
from metalfoundry.runs.provision_run import ProvisionRun
from metalfoundry.transport.clock import Deadline

READ_SECONDS = 60.0
RENDER_SECONDS = 30.0
IDLE_HOOK_SECONDS = 20.0


class Apply:
    """Apply this server's Workflow document, and no other: a whole file would open netboot on other servers."""

    title = "Apply"
    failure = NeverInstalled

    def needed(self, run: ProvisionRun) -> Needed:
        """Always."""
        return NEEDED

    def act(self, run: ProvisionRun) -> None:
        """See the guard's word, for Tinkerbell may open netboot at once; apply; see it rendered.

        Raises PreflightError without a guard, WorkflowFailed when Tinkerbell cannot render it, NeverInstalled for a
        silent machine that does not idle in HookOS.
        """
        target, document = run.target, run.target.document
        run.window.arm()
        run.undo("remove the Workflow that never ran", lambda: _remove_unrun(run))
        deadline = Deadline.after(run.clock, READ_SECONDS)
        if document.toggles and not (target.begun and target.begun.state not in ("", "PREPARING")):
            run.window.expect_toggle(document.name)
        run.take(target.begun or run.cluster.apply(document.name, document.text, deadline, target.secrets))
        _await_render(run)
        if _may_idle_in_hook(run):
            _look_for_idle_hook(run)
        run.say(f"{document.name} is {run.state}")


def _await_render(run: ProvisionRun) -> None:
    deadline = Deadline.after(run.clock, RENDER_SECONDS)
    while run.state in ("", "PREPARING") and not deadline.expired():
        failed = _render_failure(run.workflow) if run.workflow else None
        if failed:
            raise WorkflowFailed(
                f"Tinkerbell cannot render the Workflow {run.workflow.name if run.workflow else ''}: {failed}",
                where=f"namespace {run.site.kubectl.namespace}",
                next=ours("troubleshoot", run.server.name),
            )
        run.step()
    if run.state == "":  # a watch may hang
        run.reread()
    if run.state == "":
        raise WorkflowFailed(
            f"Tinkerbell has not touched the Workflow for {RENDER_SECONDS:.0f} s",
            where=f"namespace {run.site.kubectl.namespace}",
            next="is its controller running? " + run.site.kubectl_hint("get", "deployments", "-o", "wide"),
        )


def _render_failure(workflow: Workflow) -> str:
    """The message of the condition that says why it was not rendered or not prepared; "" where none does."""
    failed = (one.message for one in workflow.conditions if one.status == "False" or one.type.endswith("Failed"))
    return next(failed, "") or ("it is FAILED" if workflow.state == "FAILED" else "")


def _may_idle_in_hook(run: ProvisionRun) -> bool:
    """Whether it is worth looking: not where netboot is open already and a person is to reboot it in any case."""
    asked = run.rungs != ("person",) or not run.window.opened
    return asked and run.target.facts_now is None and not run.running and run.target.resumes is None


def _look_for_idle_hook(run: ProvisionRun) -> None:
    """Stock HookOS has no sshd; one that idles takes the Workflow within seconds, and must not be rebooted."""
    deadline = Deadline.after(run.clock, IDLE_HOOK_SECONDS)
    while not run.running and not deadline.expired():
        run.step()
    if not run.running and run.ssh_alone:
        raise NeverInstalled(
            f"{run.server.name} does not answer SSH and does not idle in HookOS, so it cannot be rebooted",
            where=run.target.ssh_error,
            next=f"switch it on, or reboot it by hand with: {ours('provision', run.server.name, '--no-reboot')}",
        )


def _remove_unrun(run: ProvisionRun) -> None:
    """Delete the Workflow unless it has run."""
    run.stop_following()
    if run.running or run.options.keep_workflow:
        return
    run.window.settle()
    name = run.target.document.name
    deadline = Deadline.after(run.clock, READ_SECONDS)
    holds = claim_of(run.cluster.hardware(run.server.hardware, deadline).hardware)
    if holds is not None and holds.run != run.id:  # who took this run up goes on with its Workflow
        return
    seen = run.cluster.workflow(name, deadline)
    if seen is not None and seen.state in UNRUN:
        run.cluster.delete_workflows([name], deadline, Effect.RESTORE)
    if seen is not None and seen.state not in UNRUN[:2]:
        run.window.toggled()

"""Apply: the guard is armed, the Workflow applied and seen rendered."""

from __future__ import annotations

from metalfoundry.commands.command import Effect
from metalfoundry.commands.netboot import claim_of
from metalfoundry.model.errors import NeverInstalled, WorkflowFailed
from metalfoundry.model.program import ours
from metalfoundry.model.resources import Workflow
from metalfoundry.runs.engine import NEEDED, Needed, Run
from metalfoundry.runs.job import Job
from metalfoundry.runs.progress import UNRUN
from metalfoundry.transport.clock import Deadline

READ_SECONDS = 60.0
RENDER_SECONDS = 30.0
IDLE_HOOK_SECONDS = 20.0


class Apply:
    """Apply this server's Workflow document, and no other: a whole file would open netboot on other servers."""

    title = "Apply"
    failure = NeverInstalled

    def needed(self, run: Run[Job]) -> Needed:
        """Always."""
        return NEEDED

    def act(self, run: Run[Job]) -> None:
        """Arm the guard, for Tinkerbell may open netboot at once; apply; see it rendered.

        Raises PreflightError without a guard, WorkflowFailed when Tinkerbell cannot render it, NeverInstalled for a
        silent machine that does not idle in HookOS.
        """
        job = run.job
        assert job.document is not None
        job.window.arm(job.document.name, job.boot_action)
        run.undo("remove the Workflow that never ran", lambda: _remove_unrun(job))
        deadline = Deadline.after(job.site.clock, READ_SECONDS)
        found = job.survey.workflows.get(job.document.name) if job.resumes and job.survey else None
        if job.document.toggles and not (found and found.state not in ("", "PREPARING")):
            job.window.expect_toggle(job.document.name)
        job.take(found or job.cluster.apply(job.document.name, job.document.text, deadline, job.secrets))
        _await_render(job)
        if _may_idle_in_hook(job):
            _look_for_idle_hook(job)
        run.say(f"{job.document.name} is {job.state}")


def _await_render(job: Job) -> None:
    deadline = Deadline.after(job.site.clock, RENDER_SECONDS)
    while job.state in ("", "PREPARING") and not deadline.expired():
        failed = _render_failure(job.workflow) if job.workflow else None
        if failed:
            raise WorkflowFailed(
                f"Tinkerbell cannot render the Workflow {job.workflow.name if job.workflow else ''}: {failed}",
                where=f"namespace {job.site.kubectl.namespace}",
                next=ours("troubleshoot", job.server.name),
            )
        job.step()
    if job.state == "":  # a watch may hang
        job.reread()
    if job.state == "":
        raise WorkflowFailed(
            f"Tinkerbell has not touched the Workflow for {RENDER_SECONDS:.0f} s",
            where=f"namespace {job.site.kubectl.namespace}",
            next="is its controller running? " + job.site.kubectl_hint("get", "deployments", "-o", "wide"),
        )


def _render_failure(workflow: Workflow) -> str:
    """The message of the condition that says why it was not rendered or not prepared; "" where none does."""
    failed = (one.message for one in workflow.conditions if one.status == "False" or one.type.endswith("Failed"))
    return next(failed, "") or ("it is FAILED" if workflow.state == "FAILED" else "")


def _may_idle_in_hook(job: Job) -> bool:
    """Whether it is worth looking: not where netboot is open already and a person is to reboot it in any case."""
    asked = job.options.reboot or not job.window.opened
    return asked and job.now is None and not job.running and job.resumes is None


def _look_for_idle_hook(job: Job) -> None:
    """Stock HookOS has no sshd; one that idles takes the Workflow within seconds, and must not be rebooted."""
    deadline = Deadline.after(job.site.clock, IDLE_HOOK_SECONDS)
    while not job.running and not deadline.expired():
        job.step()
    if not job.running and job.options.reboot:
        raise NeverInstalled(
            f"{job.server.name} does not answer SSH and does not idle in HookOS, so it cannot be rebooted",
            where=job.silence,
            next=f"switch it on, or reboot it by hand with: {ours('provision', job.server.name, '--no-reboot')}",
        )


def _remove_unrun(job: Job) -> None:
    """Delete the Workflow unless it has run."""
    job.stop_following()
    if job.running or job.options.keep_workflow or job.document is None:
        return
    deadline = Deadline.after(job.site.clock, READ_SECONDS)
    holds = claim_of(job.cluster.hardware(job.server.hardware, deadline).hardware)
    if holds is not None and holds.run != job.run:  # who took this run up goes on with its Workflow
        return
    seen = job.cluster.workflow(job.document.name, deadline)
    if seen is not None and seen.state in UNRUN:
        job.cluster.delete_workflows([job.document.name], deadline, Effect.RESTORE)
    if seen is not None and seen.state not in UNRUN[:2]:
        job.window.toggled()

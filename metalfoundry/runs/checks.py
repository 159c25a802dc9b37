"""What Preflight asks of a run before it begins, and `fab doctor` of each server: one answer to each question."""

from __future__ import annotations

from collections.abc import Sequence

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.model.errors import ClaimedError
from metalfoundry.model.program import ours
from metalfoundry.model.resources import Workflow
from metalfoundry.runs.provision_run import ProvisionRun
from metalfoundry.runs.strangers import NOT_PROVEN as NOT_PROVEN
from metalfoundry.runs.strangers import refuse_stranger
from metalfoundry.site.survey import Survey


def is_this_machine(run: ProvisionRun, before: Sequence[MachineFacts], look: MachineFacts) -> bool:
    """Whether the machine that answers is proven to be this server's; `before`: the systems that ran on it. Raises
    IdentityError where it is another one.
    """
    return refuse_stranger(run.target.machine, run.target.hardware, before, look)


def old_workflows(run: ProvisionRun, survey: Survey) -> tuple[str, ...]:
    """Old Workflows of the same agent, to be removed. Raises ClaimedError for a live one that is not own."""
    agents = [
        run.target.hardware.agent_id or "",
        *(interface.mac or "" for interface in run.target.hardware.interfaces),
    ]
    old: list[str] = []
    for workflow in survey.of_agent(agents, run.server.hardware):
        own = workflow.name == run.target.document.name and workflow.state in ("", "PREPARING", "PENDING")
        if run.target.resumes is not None and workflow.name == run.target.document.name:
            continue
        if workflow.live and not own and not run.options.replace and not _over(run, workflow):
            raise ClaimedError(
                f"the Workflow {workflow.name} of the same agent is {workflow.state or 'not rendered yet'}",
                where=f"namespace {run.site.kubectl.namespace}",
                next=f"wait for it, or: {ours('provision', run.server.name, '--replace')}",
            )
        old.append(workflow.name)
    return tuple(old)


def _over(run: ProvisionRun, workflow: Workflow) -> bool:
    """A Workflow that ended in a reboot stays RUNNING for ever; a machine that runs its own system is through it."""
    at_end = workflow.current is not None and workflow.current.name == workflow.boot_action()
    return at_end and run.target.facts_now is not None and not run.target.facts_now.in_hook

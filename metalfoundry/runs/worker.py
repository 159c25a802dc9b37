"""To whose agent a Workflow is given: it must be this server's own, or another one is wiped."""

from __future__ import annotations

from metalfoundry.model.documents import Document
from metalfoundry.model.errors import IdentityError
from metalfoundry.model.resources import Hardware, Template, Workflow
from metalfoundry.model.templates import Unresolved, workers


def assign(document: Document, template: Template, hardware: Hardware, trust: bool) -> str:
    """The agent to which every task will be given, in words, before anything is written.

    Raises IdentityError when it is not this Hardware's, and, unless `trust`, where only Tinkerbell can tell.
    """
    values = {**document.hardware_map, "Hardware": hardware.raw.get("spec")}
    try:
        found = workers(template.data, values)
        strange = next((worker for worker in found if worker.id.lower() not in hardware.agents), None)
        if strange is not None and strange.perhaps:
            raise Unresolved(f"under a condition it gives them to {strange.id}")
    except Unresolved as unknown:
        if trust:
            return f"known to Tinkerbell alone, and trusted: {unknown}"
        keys = ", ".join(document.hardware_map) or "no keys"
        error = _refused(
            document, template, f"nobody but Tinkerbell can tell ({unknown}; hardwareMap has {keys})", hardware
        )
        error.next = "look at the Template; where it is right: the same command with --trust-template"
        raise error from unknown
    if strange is not None:
        what = f"it gives task {strange.task!r} to {strange.id} ({strange.written})"
        raise _refused(document, template, what, hardware)
    return ", ".join(dict.fromkeys(worker.id for worker in found))


def foreign(workflow: Workflow, hardware: Hardware) -> list[str]:
    """The agents to which Tinkerbell has given this Workflow, and which are not this Hardware's."""
    return [agent for agent in workflow.agents if agent.lower() not in hardware.agents]


def another_agent(workflow: Workflow, hardware: Hardware, agents: list[str]) -> IdentityError:
    """The error for a Workflow that was given to `agents`, and that has been deleted for it."""
    return IdentityError(
        f"Tinkerbell gave the Workflow {workflow.name} to the agent {', '.join(agents)}, and the agent of Hardware "
        f"{hardware.name} is {_own(hardware)}; so it is deleted",
        where=f"Template {workflow.template_ref}",
        next="correct `worker` in the Template, or hardwareMap in the Workflow; then look at the machine that "
        f"{agents[0]} is: its disk may have been written",
    )


def _refused(document: Document, template: Template, why: str, hardware: Hardware) -> IdentityError:
    return IdentityError(
        f"the Template {template.name} must give its tasks to the agent of {hardware.name}, {_own(hardware)}: {why}",
        where=f"Workflow {document.name}, hardwareMap",
        next=f"correct the Workflow's hardwareMap, or `worker` in the Template {template.name}: who is named there is "
        "wiped",
    )


def _own(hardware: Hardware) -> str:
    return " or ".join(hardware.agents) or "which has neither agentID nor MAC"

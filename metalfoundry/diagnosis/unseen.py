"""What was not seen and would have changed the answer, in the words of whoever runs the servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metalfoundry.diagnosis.facts import Facts, NotSeen, seen
from metalfoundry.diagnosis.findings import Certainty, Finding
from metalfoundry.model.states import WorkflowState

_NAMES = {
    "hardware": "the Hardware",
    "template": "the Template",
    "workflow": "the Workflow",
    "claim": "the claim",
    "deployments": "Tinkerbell's Deployments",
    "bmc": "the BMC's Jobs",
    "smee": "Smee's answer for its MAC",
    "machine": "the machine itself",
    "logs.agent": "the agent's log",
    "logs.bootkit": "HookOS's bootkit log",
    "logs.action": "the actions' own output",
    "logs.console": "the machine's console",
    "logs.smee": "Smee's log",
    "logs.server": "tink-server's log",
    "logs.controller": "tink-controller's log",
}
_ALWAYS = ("workflow", "hardware")
_WAITS = ("machine", "logs.agent", "logs.bootkit", "logs.smee", "smee", "logs.server", "logs.console")
_WANTED: Mapping[str, tuple[str, ...]] = {
    WorkflowState.NONE: ("template", "logs.controller", "deployments"),
    WorkflowState.PREPARING: ("bmc", "logs.controller", *_WAITS),
    WorkflowState.PENDING: _WAITS,
    WorkflowState.RUNNING: ("machine", "logs.agent", "logs.action", "logs.server"),
    WorkflowState.POST: ("machine", "logs.controller"),
    WorkflowState.SUCCESS: ("machine", "logs.console"),
    WorkflowState.FAILED: ("logs.agent", "logs.action"),
    WorkflowState.TIMEOUT: ("machine", "logs.agent", "logs.action"),
}


def not_seen(facts: Facts, findings: Sequence[Finding]) -> str:
    """What to add below `findings`; "" where the first of them is certain, or has said it itself."""
    first = findings[0] if findings else None
    return (
        "" if first is not None and (first.certainty is Certainty.CERTAIN or first.id == "unknown") else missed(facts)
    )


def missed(facts: Facts) -> str:
    """What a rule would have asked for in this state of the Workflow and was not seen, with the reasons."""
    if isinstance(facts.workflow, NotSeen):
        wanted: tuple[str, ...] = (*_ALWAYS, *_WAITS)
    else:
        workflow = seen(facts.workflow)
        wanted = (*_ALWAYS, *(_WANTED.get(workflow.state, _WAITS) if workflow else ("machine",)))
    unseen = facts.unseen()
    by_reason: dict[str, list[str]] = {}
    for name in wanted:
        if name in unseen:
            by_reason.setdefault(unseen[name], []).append(_NAMES[name])
    return "; ".join(f"{_listed(names)} ({reason})" for reason, names in by_reason.items())


def _listed(names: Sequence[str]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]

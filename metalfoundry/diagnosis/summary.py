"""Two witnesses in words: what Tinkerbell says, what the machine says, and whether they agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from metalfoundry.diagnosis.facts import Facts, NotSeen, seen
from metalfoundry.diagnosis.verification import System, booted, doubtful, judged
from metalfoundry.model.resources import Workflow
from metalfoundry.model.states import SshAnswer


@dataclass(frozen=True, slots=True)
class Summary:
    """What Tinkerbell and the machine say, in a sentence each.

    `agree` is None where one of them could not be heard, or proves nothing.
    """

    tinkerbell: str
    machine: str
    agree: bool | None
    verdict: str

    def to_json(self) -> dict[str, Any]:
        """For --json and bundles."""
        return {"tinkerbell": self.tinkerbell, "machine": self.machine, "agree": self.agree, "verdict": self.verdict}


def summarize(facts: Facts) -> Summary:
    """Ask both, and compare."""
    agree = _agree(facts)
    verdict = {True: "They agree.", False: "They do not agree.", None: "That is not enough to compare them."}[agree]
    return Summary(tinkerbell_says(facts), machine_says(facts), agree, verdict)


def tinkerbell_says(facts: Facts) -> str:
    """The Workflow's state in a sentence, and whether netboot is open: as it is now, and said so where a run that
    failed had seen something else."""
    now = facts.latest
    workflow, netboot = seen(now.workflow), _netboot(now)
    if isinstance(now.workflow, NotSeen):
        return f"Tinkerbell could not be asked: {now.workflow.reason}.{_earlier(facts)}"
    if workflow is None:
        return f"Tinkerbell has no Workflow for {facts.configured.hardware}.{_earlier(facts)}{netboot}"
    return f"Tinkerbell says that {workflow.name} {_state(workflow)}.{netboot}"


def _earlier(facts: Facts) -> str:
    """What a failed run had seen of a Workflow that is not there any more."""
    after, workflow = facts.aftermath, seen(facts.workflow)
    if after is None:
        return ""
    if after.deleted is not None:
        return (
            f" {after.deleted.name} was deleted during the run; it was last seen as one that {_state(after.deleted)}."
        )
    return f" When the run failed, {workflow.name} was one that {_state(workflow)}." if workflow else ""


def machine_says(facts: Facts) -> str:
    """What the machine is by its own words, or how it did not answer."""
    machine = facts.machine_facts
    if machine is not None:
        name = machine.os_name or machine.os_id or "a system without a name"
        system = f"the installer ({name})" if machine.in_hook else name
        up = f", up for {machine.uptime:.0f} s" if machine.uptime is not None else ""
        return f"The machine says that it is {system}{up}{_identity(facts)}.{_key(facts)}"
    ssh = seen(facts.ssh)
    if ssh in _SSH:
        return f"The machine {_SSH[ssh]}."
    reason = facts.machine.reason if isinstance(facts.machine, NotSeen) else "it said nothing"
    return f"The machine was not heard: {reason}."


_SSH = {
    SshAnswer.SILENT: "does not answer",
    SshAnswer.REFUSED: "is on the network, and no sshd listens",
    SshAnswer.DENIED: "answers, and refuses our key",
    SshAnswer.KEY_CHANGED: "answers with another host key than the known one",
    SshAnswer.SLOW: "answers SSH, and was too slow to say what it is",
}


def _key(facts: Facts) -> str:
    if facts.key_refused is None:
        return ""
    doubt = ", so this may be another machine" if doubtful(facts) else ""
    return f" It shows another host key than the known one{doubt}."


def _state(workflow: Workflow) -> str:
    at = f" at {workflow.current.name!r}" if workflow.current and workflow.current.name else ""
    count = sum(action.state == "SUCCESS" for action in workflow.actions)
    done = f" ({count} of {len(workflow.actions)} actions done)" if workflow.actions else ""
    return {
        "": "was never rendered",
        "PREPARING": "is preparing the machine's netboot",
        "PENDING": "waits for an agent",
        "RUNNING": f"is running{at}{done}",
        "POST": f"has run, and is cleaning up{done}",
        "SUCCESS": "succeeded",
        "FAILED": f"failed{at}{done}",
        "TIMEOUT": f"ran out of time{at}{done}",
    }.get(workflow.state, f"is in state {workflow.state}")


def _netboot(facts: Facts) -> str:
    if seen(facts.hardware) is None:
        return ""
    claim = seen(facts.claim)
    holder = f", claimed by {claim.note.holder or claim.run} until {claim.note.expires}" if claim else ""
    return f" Netboot is {'open' if facts.open_interfaces else 'closed'}{holder}."


def _identity(facts: Facts) -> str:
    verdict = judged(facts)
    if verdict is None or verdict.system is System.INSTALLER:
        return ""
    if verdict.system is System.STRANGER:
        return f", and it is another machine: {verdict.why}"
    if verdict.system in (System.OLD, System.NOT_REBOOTED):
        return ", the very system of before"
    if verdict.problems:
        return ", and not as asked: " + "; ".join(verdict.problems)
    return ", the new system" if verdict.good else ""


def _agree(facts: Facts) -> bool | None:
    """SUCCESS needs the new system, RUNNING the installer (or a boot action under way), PENDING anything but it."""
    workflow, machine = seen(facts.workflow), facts.machine_facts
    if workflow is None or machine is None or doubtful(facts):
        return None
    at_boot = workflow.current is not None and workflow.current.name == facts.boot_action
    if workflow.state == "SUCCESS" or (at_boot and workflow.state in ("RUNNING", "TIMEOUT")):
        if machine.in_hook:
            return None if booted(facts) is False or workflow.state == "RUNNING" else False
        verdict = judged(facts)
        return None if verdict is None or verdict.system is System.UNPROVEN else verdict.good
    if workflow.state == "RUNNING":
        return machine.in_hook
    if workflow.state in ("FAILED", "TIMEOUT"):
        return True if machine.in_hook else None
    return not machine.in_hook if workflow.state in ("PENDING", "PREPARING") else None

"""Time: a limit is over, an action is past its own, or it is still at work."""

from __future__ import annotations

from functools import partial

from metalfoundry.commands.log_parser import ACTION, AGENT
from metalfoundry.diagnosis import findings, remedies
from metalfoundry.diagnosis.facts import Facts, seen
from metalfoundry.diagnosis.findings import FINE, NOTHING_WRONG, TIMED_OUT, Evidence, Match, Stage, certain, likely
from metalfoundry.diagnosis.queries import elapsed, ended, ended_ago, in_state, running_action, status
from metalfoundry.diagnosis.rules.actions.images import AGENT_SOURCE, agent_error, ended_badly
from metalfoundry.model.actions import Action, mapping
from metalfoundry.model.foreign import parse_time
from metalfoundry.model.states import SshAnswer

rule = partial(findings.rule, Stage.RUN)
_LATE_SECONDS = 30.0
_NEXT_SECONDS = 60.0  # for as long tink-server may hold an agent's question for the next action
_AWAY = {SshAnswer.SILENT: ", and its SSH is silent", SshAnswer.REFUSED: ", and nothing listens for SSH"}
_PROGRESS = ("written", "progress", "%", "MB/s", "downloading", "IMG_URL")
_STREAMS = ("image2disk", "oci2disk", "qemuimg2disk", "archive2disk")


@rule("late-report", TIMED_OUT, 45, link="T PR#945", explains=["installed"])
def late_report(facts: Facts) -> Match | None:
    """A TIMEOUT that is not over: the agent went on, and its report can turn it into SUCCESS."""
    workflow = in_state(facts, "TIMEOUT", "SUCCESS", "RUNNING", "POST")
    if workflow is None:
        return None
    look = remedies.ssh(facts, "cat /etc/os-release /proc/uptime")
    if workflow.state == "TIMEOUT":
        machine = seen(facts.machine)
        containers = (machine.containers or ()) if machine else ()
        working = next((item for item in containers if item.running and item.name.startswith("tinkerbell_")), None)
        if working is None:
            return None
        return certain(
            f"{workflow.name} is TIMEOUT, and the machine is still at work: its report can turn it into SUCCESS",
            evidence=[Evidence("docker ps -a", f"{working.name} {working.status}"), status(workflow)],
            remedy=look,
            advice="do not start anew while it writes the disk",
        )
    stop = parse_time(str(mapping(workflow.raw.get("status")).get("globalExecutionStop") or ""))
    last, event = ended(workflow), _timed_out(facts)
    if event is None and not (stop is not None and last is not None and last > stop):
        return None
    late = Evidence(f"Workflow {workflow.name}", f"its last action ended at {last}, its limit was {stop}")
    return likely(
        f"{workflow.name} had been TIMEOUT and is {workflow.state} by a late report: look at the machine itself",
        evidence=[event or late],
        remedy=look,
    )


def _timed_out(facts: Facts) -> Evidence | None:
    events = (item for item in seen(facts.events) or () if item.reason == "WorkflowTimedOut")
    return next((Evidence("event", f"{item.reason}: {item.message}", parse_time(item.time)) for item in events), None)


@rule("action-timeout", TIMED_OUT, 35, link=AGENT_SOURCE)
def action_timeout(facts: Facts) -> Match | None:
    """An action did not end within its timeout."""
    workflow, action = ended_badly(facts) or (None, None)
    if workflow is None or action is None or action.state != "TIMEOUT":
        return None
    limit = f"{action.timeout:.0f} s" if action.timeout is not None else "none, which counts as 0"
    what = f"{action.name!r} did not end within its timeout ({limit}, and pulling its image counts)"
    if not action.timeout:
        what = f"{action.name!r} has no timeout, and this agent takes that as 0: it ends at once"
    return certain(
        what,
        evidence=[agent_error(facts, "context deadline exceeded"), status(workflow, f"{action.name} TIMEOUT")],
        remedy=remedies.show_template(facts),
        advice=f"raise the timeout of {action.name!r} in the Template, then: {remedies.provision(facts)}",
    )


@rule("global-timeout", TIMED_OUT, 36, link="tinkerbell/tinkerbell tink/controller reconciler.go:168@v0.21")
def global_timeout(facts: Facts) -> Match | None:
    """The whole Workflow ran out of time."""
    workflow = in_state(facts, "TIMEOUT")
    if workflow is None or any(action.state == "TIMEOUT" for action in workflow.actions):
        return None
    state = mapping(workflow.raw.get("status"))
    written = state.get("globalExecutionStop")
    stop = parse_time(str(written or ""))
    event = next((item for item in seen(facts.events) or () if item.reason == "WorkflowTimedOut"), None)
    if event is None and (stop is None or facts.now <= stop):
        return None
    where = f" while {workflow.current.name!r} was running" if workflow.current else ""
    return certain(
        f"the Workflow's own limit of {state.get('globalTimeout', '?')} s was over{where}",
        evidence=[
            Evidence("event", event.message) if event else None,
            Evidence(f"Workflow {workflow.name}", f"globalExecutionStop: {written}") if stop else None,
        ],
        remedy=remedies.show_template(facts),
        advice="raise global_timeout in the Template; the machine may still be at work, so look before you start anew",
    )


@rule("action-overdue", TIMED_OUT, 29, 36, link="tink-agent ends an action at its timeout, so silence is its own")
def action_overdue(facts: Facts) -> Match | None:
    """An action is past its timeout, or none followed the last one: the machine or its agent is gone."""
    workflow, action = running_action(facts) or (None, None)
    if workflow is None or action is None or (late := _late(facts, action)) is None:
        return None
    ssh = seen(facts.ssh)
    return likely(
        f"{late}: the machine or its agent is gone{_AWAY.get(ssh, '') if ssh else ''}",
        evidence=[status(workflow, f"{action.name} {action.state}")],
        first="look at its console: does it hang, or is its power lost?",
        remedy=remedies.start_anew(facts),
    )


def _late(facts: Facts, action: Action) -> str | None:
    """What should have been reported of the action by now, and was not."""
    took, ago = elapsed(facts), ended_ago(facts)
    if action.state == "SUCCESS" and ago is not None and ago > _NEXT_SECONDS:
        return f"{action.name!r} ended {ago:.0f} s ago, and no other action was begun since"
    if action.state != "RUNNING" or not _past(action, took):
        return None
    return f"{action.name!r} began {took:.0f} s ago and its timeout is {action.timeout:.0f} s, no end was reported"


def _past(action: Action, took: float | None) -> bool:
    return took is not None and action.timeout is not None and took > action.timeout + _LATE_SECONDS


@rule("in-progress", FINE, 33, link="tinkerbell/tinkerbell tink/agent/agent.go@v0.21 (a timeout includes the pull)")
def in_progress(facts: Facts) -> Match | None:
    """Nothing wrong: an action is still running, within its timeout."""
    workflow, action = running_action(facts) or (None, None)
    took = elapsed(facts)
    if workflow is None or action is None or facts.in_hook is False or _late(facts, action) or _past(action, took):
        return None
    state, logs = status(workflow, action.name), remedies.logs(facts)
    if action.state == "SUCCESS":
        what = f"{action.name!r} is done, and the next action is about to begin"
        return likely(what, reassurance=NOTHING_WRONG, evidence=[state], remedy=logs)
    limit = action.timeout
    begun = (line for line in facts.lines(AGENT, "received action") if line.get("action", "id") == action.id)
    progress = (line for line in facts.lines(ACTION, *_PROGRESS) if action.name in line.text)
    proof = [line for line in (next(progress, None), next(begun, None)) if line]
    streams = any(name in action.image for name in _STREAMS)
    verb = "image is still streaming" if streams else f"{action.name!r} is still running"
    time = f"{took:.0f} of {limit:.0f} s" if took is not None and limit else "how long is not known"
    return (certain if took is not None and proof else likely)(
        f"{verb}, {time}", reassurance=NOTHING_WRONG, evidence=proof or [state], remedy=logs
    )

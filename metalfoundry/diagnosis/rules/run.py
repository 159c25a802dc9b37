"""A Workflow that is RUNNING: working, or not moving."""

from __future__ import annotations

from collections.abc import Iterator

from metalfoundry.commands.log_parser import ACTION, AGENT, LogLine
from metalfoundry.diagnosis import remedies
from metalfoundry.diagnosis.facts import Facts, absent, seen
from metalfoundry.diagnosis.findings import FAILED, FINE, TIMED_OUT, Certainty, Evidence, Sign, Stage, rule
from metalfoundry.diagnosis.queries import agent_id, began, ended_ago, in_state, server_lines, status
from metalfoundry.model.actions import Action
from metalfoundry.model.resources import Workflow
from metalfoundry.model.states import SshAnswer

_PR700 = "T PR#700"
_GONE = ("action not found", "error getting workflow", "workflow not found")
_WRITING = ("error writing event", "permanent error reporting action")
_LATE_SECONDS = 30.0
_NEXT_SECONDS = 60.0  # for as long tink-server may hold an agent's question for the next action


def _running(facts: Facts) -> tuple[Workflow, Action] | None:
    """The RUNNING Workflow and its current action, where that has been taken up and is no boot action."""
    workflow, action = in_state(facts, "RUNNING"), facts.current_action
    if workflow is None or action is None or action.name == facts.boot_action:
        return None
    return workflow, action


def _elapsed(facts: Facts) -> float | None:
    start = began(facts)
    return max((facts.now - start).total_seconds(), 0.0) if start else None


@rule(
    "rebooted-mid-action",
    Stage.RUN,
    FAILED,
    29,
    link=f"{_PR700}; smee#125",
    since=(0, 17, 0),
    before=(0, 24, 0),
    explains=("in-progress", "action-overdue"),
)
def rebooted_mid_action(facts: Facts) -> Iterator[Sign]:
    """The machine was rebooted in the middle of an action, and tink-server does not hand that one out again."""
    running = _running(facts)
    if running is None or running[1].state != "RUNNING":
        return
    workflow, action = running
    heard = server_lines(facts, workflow.agent_id or agent_id(facts))
    line = heard[-1] if heard and heard[-1].has("current Action not in success state") else None
    machine, elapsed = facts.machine_facts, _elapsed(facts)
    fresh = (
        machine is not None
        and machine.in_hook
        and machine.uptime is not None
        and elapsed is not None
        and machine.uptime < elapsed - 5
    )
    if line is None and not fresh:
        return
    shown = [Evidence.of(line)] if line else []
    if fresh and machine is not None and elapsed is not None:
        shown.append(Evidence("machine", f"up for {machine.uptime:.0f} s, the action began {elapsed:.0f} s ago"))
    yield Sign(
        Certainty.CERTAIN,
        f"the machine was rebooted while {action.name!r} ran: tink-server waits for its end, and the new agent "
        "is given nothing",
        tuple(shown),
        remedies.start_anew(facts),
    )


@rule(
    "left-installer", Stage.RUN, FAILED, 29, link="netboot closes while the installer runs, so a reset boots the disk"
)
def left_installer(facts: Facts) -> Iterator[Sign]:
    """The machine was rebooted out of the installer in the middle of an action."""
    running, machine = _running(facts), facts.machine_facts
    if running is None or machine is None or machine.in_hook:
        return
    workflow, action = running
    yield Sign(
        Certainty.CERTAIN,
        f"{workflow.name} is RUNNING at {action.name!r}, and the machine runs {machine.os_name or 'another system'}: "
        "it left the installer before the end",
        (Evidence("machine", f"{machine.os_name}, up for {machine.uptime or 0:.0f} s"), status(workflow, action.name)),
        remedies.start_anew(facts),
        "a power cut, a crash, or somebody's reboot? Nothing goes on by itself",
    )


@rule("report-lost", Stage.RUN, FAILED, 30, link=_PR700, before=(0, 24, 0), explains=("in-progress", "action-overdue"))
def report_lost(facts: Facts) -> Iterator[Sign]:
    """The action is done, and the agent's report of it was lost (tink-server was restarted)."""
    running = _running(facts)
    line = next((item for item in facts.lines(AGENT, "error writing event") if not item.has(*_GONE)), None)
    if running is None or running[1].state != "RUNNING" or line is None:
        return
    action = running[1]
    done = next(
        (item for item in facts.lines(AGENT, "executed action") if item.get("action", "name") == action.name), None
    )
    retold = any(item.has("reported action status", "received action") for item in _after(facts, line))
    if retold:
        return
    yield Sign(
        Certainty.CERTAIN if done else Certainty.LIKELY,
        f"{action.name!r} has ended on the machine, and the report of it never reached tink-server",
        tuple(Evidence.of(item) for item in (line, done) if item),
        remedies.start_anew(facts),
        "this version does not report again; v0.24 does",
    )


@rule(
    "report-retrying", Stage.RUN, FAILED, 30, link=_PR700, since=(0, 24, 0), explains=("in-progress", "action-overdue")
)
def report_retrying(facts: Facts) -> Iterator[Sign]:
    """The agent reports an action again and again, and is not heard."""
    line = facts.find(AGENT, "error reporting action, retrying")
    if (
        line is None
        or in_state(facts, "RUNNING") is None
        or any(item.has("reported action status") for item in _after(facts, line))
    ):
        return
    yield Sign(
        Certainty.CERTAIN,
        "the agent cannot report to tink-server, and goes on trying",
        (Evidence.of(line),),
        remedies.kubectl(facts, "get", "deployments,endpoints"),
        "nothing is lost: bring tink-server back, and the Workflow goes on",
    )


@rule(
    "workflow-replaced",
    Stage.RUN,
    FAILED,
    34,
    link="vietcgi/gitops-metal-foundry 101e97a",
    explains=(
        "in-progress",
        "report-lost",
        "no-workflow",
        "idle-in-hook",
        "still-booting",
        "agent-waits",
        "action-overdue",
    ),
)
def workflow_replaced(facts: Facts) -> Iterator[Sign]:
    """The Workflow was deleted or replaced (Flux, kubectl) while it ran."""
    workflow, deleted = seen(facts.workflow), facts.aftermath.deleted if facts.aftermath else None
    line = next((item for item in facts.lines(AGENT, *_WRITING) if item.has(*_GONE)), None)
    if line is None and absent(facts.workflow):
        line = facts.find(AGENT, *_WRITING)
    other = _stranger(facts, workflow) if line is None and workflow else None
    proven = (line or other) and not any(item.has("received action") for item in _after(facts, line))
    if not proven and deleted is None:
        return
    gone = "was deleted" if absent(facts.workflow) else "was replaced by another one of the same name"
    shown = [Evidence.of(item) for item in (line, other) if item]
    if deleted is not None:
        shown.append(Evidence(f"watch on Workflow {deleted.name}", f"deleted in state {deleted.state or 'not set'}"))
    while_ = "while the machine worked on it, so the machine is left half installed"
    if deleted is not None and not deleted.has_run:
        while_ = "before any machine began with it"
    yield Sign(
        Certainty.CERTAIN,
        f"the Workflow {gone} {while_}",
        tuple(shown),
        remedies.provision(facts),
        first="keep the Workflow out of what Flux or a colleague applies and prunes, until the installation is over",
    )


def _stranger(facts: Facts, workflow: Workflow) -> LogLine | None:
    """The agent's last action where it belongs to a Workflow of this name that had other actions."""
    line = facts.find(AGENT, "received action")
    ids = {action.id for action in workflow.actions if action.id}
    if line is None or not ids or line.get("action", "workflow_id").rsplit("/", 1)[-1] != workflow.name:
        return None
    return line if line.get("action", "id") not in ids else None


def _after(facts: Facts, line: LogLine | None) -> tuple[LogLine, ...]:
    lines = facts.log(AGENT)
    return lines[lines.index(line) + 1 :] if line in lines and line is not None else ()


_PROGRESS = ("written", "progress", "%", "MB/s", "downloading", "IMG_URL")


@rule(
    "in-progress",
    Stage.RUN,
    FINE,
    33,
    link="tinkerbell/tinkerbell tink/agent/agent.go@v0.21 (a timeout includes the pull)",
)
def in_progress(facts: Facts) -> Iterator[Sign]:
    """Nothing wrong: an action is still running, within its timeout."""
    running = _running(facts)
    if running is None or facts.in_hook is False:
        return
    workflow, action = running
    elapsed, limit = _elapsed(facts), action.timeout
    if action.state == "SUCCESS":
        what = f"nothing wrong: {action.name!r} is done, and the next action is about to begin"
        if (ended_ago(facts) or 0.0) > _NEXT_SECONDS:
            return
        yield Sign(Certainty.LIKELY, what, (status(workflow, action.name),), remedies.logs(facts))
        return
    if elapsed is not None and limit is not None and elapsed > limit + _LATE_SECONDS:
        return
    received = next(
        (item for item in facts.lines(AGENT, "received action") if item.get("action", "id") == action.id), None
    )
    progress = next((item for item in facts.lines(ACTION, *_PROGRESS) if action.name in item.text), None)
    shown = [Evidence.of(item) for item in (progress, received) if item]
    took = f"{elapsed:.0f} of {limit:.0f} s" if elapsed is not None and limit else "how long is not known"
    verb = "image is still streaming" if _streams(action) else f"{action.name!r} is still running"
    yield Sign(
        Certainty.CERTAIN if elapsed is not None and (received or progress) else Certainty.LIKELY,
        f"nothing wrong: {verb}, {took}",
        tuple(shown) or (status(workflow, action.name),),
        remedies.logs(facts),
    )


def _streams(action: Action) -> bool:
    return any(word in action.image for word in ("image2disk", "oci2disk", "qemuimg2disk", "archive2disk"))


@rule(
    "action-overdue",
    Stage.RUN,
    TIMED_OUT,
    29,
    36,
    link="tink-agent ends an action at its timeout, so silence is its own",
    explains=("in-progress",),
)
def action_overdue(facts: Facts) -> Iterator[Sign]:
    """An action is past its timeout, or none followed the last one: the machine or its agent is gone."""
    running, ssh = _running(facts), seen(facts.ssh)
    if running is None or (late := _late(facts, running[1])) is None:
        return
    workflow, action = running
    away = _AWAY.get(ssh, "") if ssh else ""
    yield Sign(
        Certainty.LIKELY,
        f"{late}: the machine or its agent is gone{away}",
        (status(workflow, f"{action.name} {action.state}"),),
        remedies.start_anew(facts),
        first="look at its console: does it hang, or is its power lost?",
    )


_AWAY = {SshAnswer.SILENT: ", and its SSH is silent", SshAnswer.REFUSED: ", and nothing listens for SSH"}


def _late(facts: Facts, action: Action) -> str | None:
    """What should have been reported of the action by now, and was not."""
    elapsed, ago = _elapsed(facts), ended_ago(facts)
    if action.state == "SUCCESS" and ago is not None and ago > _NEXT_SECONDS:
        return f"{action.name!r} ended {ago:.0f} s ago, and no other action was begun since"
    if action.state != "RUNNING" or elapsed is None or action.timeout is None:
        return None
    if elapsed <= action.timeout + _LATE_SECONDS:
        return None
    return f"{action.name!r} began {elapsed:.0f} s ago and its timeout is {action.timeout:.0f} s, no end was reported"


RULES = (
    rebooted_mid_action,
    left_installer,
    report_lost,
    report_retrying,
    workflow_replaced,
    in_progress,
    action_overdue,
)

"""The Workflow runs, and what it runs on is lost: itself, the machine's boot, or a report."""

from __future__ import annotations

from functools import partial

from metalfoundry.commands.log_parser import AGENT, LogLine
from metalfoundry.diagnosis import findings, remedies
from metalfoundry.diagnosis.facts import Facts, absent, seen
from metalfoundry.diagnosis.findings import FAILED, Evidence, Match, Stage, certain, likely
from metalfoundry.diagnosis.queries import (
    agent_id,
    elapsed,
    in_state,
    running_action,
    running_system,
    server_lines,
    status,
)
from metalfoundry.model.resources import Workflow

rule = partial(findings.rule, Stage.RUN)
_PR700 = "T PR#700"
_GONE = ("action not found", "error getting workflow", "workflow not found")
_WRITING = ("error writing event", "permanent error reporting action")


def _after(facts: Facts, line: LogLine | None) -> tuple[LogLine, ...]:
    lines = facts.log(AGENT)
    return lines[lines.index(line) + 1 :] if line in lines and line is not None else ()


@rule(
    "workflow-replaced",
    FAILED,
    34,
    link="vietcgi/gitops-metal-foundry 101e97a",
    explains=["no-workflow", "idle-in-hook", "still-booting", "agent-waits"],
)
def workflow_replaced(facts: Facts) -> Match | None:
    """The Workflow was deleted or replaced (Flux, kubectl) while it ran."""
    workflow, deleted = seen(facts.workflow), facts.aftermath.deleted if facts.aftermath else None
    line = next((item for item in facts.lines(AGENT, *_WRITING) if item.has(*_GONE)), None)
    if line is None and absent(facts.workflow):
        line = facts.find(AGENT, *_WRITING)
    foreign = _foreign_action(facts, workflow) if line is None and workflow else None
    proven = (line or foreign) and not any(item.has("received action") for item in _after(facts, line))
    if not proven and deleted is None:
        return None
    gone = "was deleted" if absent(facts.workflow) else "was replaced by another one of the same name"
    when = "while the machine worked on it, so the machine is left half installed"
    watched = None
    if deleted is not None:
        when = when if deleted.has_run else "before any machine began with it"
        watched = Evidence(f"watch on Workflow {deleted.name}", f"deleted in state {deleted.state or 'not set'}")
    return certain(
        f"the Workflow {gone} {when}",
        evidence=[line, foreign, watched],
        first="keep the Workflow out of what Flux or a colleague applies and prunes, until the installation is over",
        remedy=remedies.provision(facts),
    )


def _foreign_action(facts: Facts, workflow: Workflow) -> LogLine | None:
    """The agent's last action where it belongs to a Workflow of this name that had other actions."""
    line = facts.find(AGENT, "received action")
    ids = {action.id for action in workflow.actions if action.id}
    if line is None or not ids or line.get("action", "workflow_id").rsplit("/", 1)[-1] != workflow.name:
        return None
    return line if line.get("action", "id") not in ids else None


@rule("rebooted-mid-action", FAILED, 29, link=f"{_PR700}; smee#125", since=(0, 17, 0), before=(0, 24, 0))
def rebooted_mid_action(facts: Facts) -> Match | None:
    """The machine was rebooted in the middle of an action, and tink-server does not hand that one out again."""
    workflow, action = running_action(facts) or (None, None)
    if workflow is None or action is None or action.state != "RUNNING":
        return None
    heard = server_lines(facts, workflow.agent_id or agent_id(facts))
    line = heard[-1] if heard and heard[-1].has("current Action not in success state") else None
    machine, took, fresh = facts.machine_facts, elapsed(facts), None
    if machine is not None and machine.in_hook and machine.uptime is not None and took is not None:
        proof = f"up for {machine.uptime:.0f} s, the action began {took:.0f} s ago"
        fresh = Evidence("machine", proof) if machine.uptime < took - 5 else None
    if line is None and fresh is None:
        return None
    return certain(
        f"the machine was rebooted while {action.name!r} ran: tink-server waits for its end, and the new agent "
        "is given nothing",
        evidence=[line, fresh],
        remedy=remedies.start_anew(facts),
    )


@rule("left-installer", FAILED, 29, link="netboot closes while the installer runs, so a reset boots the disk")
def left_installer(facts: Facts) -> Match | None:
    """The machine was rebooted out of the installer in the middle of an action."""
    running, machine = running_action(facts), facts.machine_facts
    if running is None or machine is None or machine.in_hook:
        return None
    workflow, action = running
    return certain(
        f"{workflow.name} is RUNNING at {action.name!r}, and the machine runs {machine.os_name or 'another system'}: "
        "it left the installer before the end",
        evidence=[
            running_system(machine),
            status(workflow, action.name),
        ],
        remedy=remedies.start_anew(facts),
        advice="a power cut, a crash, or somebody's reboot? Nothing goes on by itself",
    )


@rule("report-lost", FAILED, 30, link=_PR700, before=(0, 24, 0))
def report_lost(facts: Facts) -> Match | None:
    """The action is done, and the agent's report of it was lost (tink-server was restarted)."""
    _, action = running_action(facts) or (None, None)
    line = next((item for item in facts.lines(AGENT, "error writing event") if not item.has(*_GONE)), None)
    if action is None or action.state != "RUNNING" or line is None:
        return None
    if any(item.has("reported action status", "received action") for item in _after(facts, line)):
        return None
    executed = facts.lines(AGENT, "executed action")
    end = next((item for item in executed if item.get("action", "name") == action.name), None)
    return (certain if end else likely)(
        f"{action.name!r} has ended on the machine, and the report of it never reached tink-server",
        evidence=[line, end],
        remedy=remedies.start_anew(facts),
        advice="this version does not report again; v0.24 does",
    )


@rule("report-retrying", FAILED, 30, link=_PR700, since=(0, 24, 0))
def report_retrying(facts: Facts) -> Match | None:
    """The agent reports an action again and again, and is not heard."""
    line = facts.find(AGENT, "error reporting action, retrying") if in_state(facts, "RUNNING") else None
    if line is None or any(item.has("reported action status") for item in _after(facts, line)):
        return None
    return certain(
        "the agent cannot report to tink-server, and goes on trying",
        evidence=[line],
        remedy=remedies.kubectl(facts, "get", "deployments,endpoints"),
        advice="nothing is lost: bring tink-server back, and the Workflow goes on",
    )

"""HookOS's agent gets no work, or was never heard."""

from __future__ import annotations

from functools import partial

from metalfoundry.commands.log_parser import AGENT, SERVER, LogLine
from metalfoundry.diagnosis import findings, remedies
from metalfoundry.diagnosis.facts import Facts, absent, seen
from metalfoundry.diagnosis.findings import (
    FINE,
    NEVER_INSTALLED,
    NOTHING_WRONG_YET,
    Evidence,
    Match,
    Stage,
    certain,
    likely,
    possible,
)
from metalfoundry.diagnosis.queries import (
    HOOK_BOOT_SECONDS,
    agent_id,
    agent_spoke,
    asked_since,
    running_system,
    seconds_since,
    served,
    server_lines,
    status,
    waiting,
)
from metalfoundry.diagnosis.rules.agent.connection import complaint_of
from metalfoundry.model.resources import Workflow
from metalfoundry.model.states import SshAnswer

rule = partial(findings.rule, Stage.AGENT)
_NOTHING = ("no workflow found", "no workflows found", "task not assigned to agent", "no tasks found in workflow")
_NEW_SECONDS = 90.0


def _recent(facts: Facts, line: LogLine) -> bool:
    since = asked_since(facts)
    return since is None or line.time is None or line.time >= since


def _answer(facts: Facts, agent: str) -> LogLine | None:
    """tink-server's last line about this agent since it counts."""
    return next((line for line in reversed(server_lines(facts, agent)) if _recent(facts, line)), None)


@rule("wrong-agent-id", NEVER_INSTALLED, 25, link="T#425, T#485, T PR#586")
def wrong_agent_id(facts: Facts) -> Match | None:
    """The machine's agent asks by another id than the Workflow waits for."""
    workflow = waiting(facts)
    wanted = (workflow.agent_id if workflow else None) or ""  # tink-server compares it letter by letter
    asks = agent_id(facts) or facts.mac
    if workflow is None or not wanted or not asks or asks == wanted:
        return None
    # No work for this agent: by its own last complaint, or by tink-server's journal.
    lines = (complaint_of(facts), _answer(facts, asks))
    line = next((line for line in lines if line and line.has(*_NOTHING)), None)
    machine = facts.machine_facts
    known = bool(machine and machine.in_hook and agent_id(facts))
    if not (line or known):
        return _nobodys_id(facts, workflow, wanted)
    return certain(
        f"the agent asks for work as {asks}, and {workflow.name} waits for {wanted}",
        evidence=[
            line,
            Evidence("machine's kernel command line", f"worker_id={asks}") if known else None,
            Evidence(f"Workflow {workflow.name}", f"status.agentID: {wanted}"),
        ],
        first=f"give hardwareMap (as a rule device_1) the id {asks}; or let the Hardware's agentID be {wanted} (v0.23)",
        remedy=remedies.start_anew(facts),
    )


def _nobodys_id(facts: Facts, workflow: Workflow, wanted: str) -> Match | None:
    """The Workflow waits for an id that the Hardware does not have: nothing needs to be heard to see that."""
    hardware = seen(facts.hardware)
    if hardware is None or wanted in (hardware.agent_id, *(item.mac for item in hardware.interfaces)):
        return None
    own = hardware.agent_id or ", ".join(item.mac for item in hardware.interfaces)
    return (likely if served(facts) else possible)(
        f"{workflow.name} waits for the agent {wanted}, and an agent of {hardware.name} asks as {own}",
        evidence=[Evidence(f"Workflow {workflow.name}", f"status.agentID: {wanted}")],
        first=f"give hardwareMap (as a rule device_1) the id {own}",
        remedy=remedies.start_anew(facts),
    )


def _others(facts: Facts, workflow: Workflow | None) -> list[Workflow]:
    """The other Workflows that the same agent would be served."""
    wanted = ((workflow.agent_id if workflow else None) or "").lower()
    if workflow is None or not wanted:
        return []
    listed = [item for item in seen(facts.workflows) or () if (item.agent_id or "").lower() == wanted]
    return [item for item in listed if (item.uid, item.name) != (workflow.uid, workflow.name)]


@rule("two-live-workflows", NEVER_INSTALLED, 27, link="tink#399", explains=["still-booting", "hook-starting"])
def two_live_workflows(facts: Facts) -> Match | None:
    """Two live Workflows wait for the same agent, and the other one is served."""
    workflow = waiting(facts)
    others = [item for item in _others(facts, workflow) if item.live and item.state]
    if workflow is None or not others:
        return None
    first = next((item for item in others if item.state == "RUNNING"), others[0])
    proof = [status(item, f"agent {item.agent_id}") for item in (workflow, first)]
    if first.state == "RUNNING":
        return certain(
            f"{first.name} runs on this machine, and {workflow.name} waits behind it",
            evidence=proof,
            remedy=remedies.delete_workflows(facts, workflow.name),
            advice="the other one is writing the disk: let it end, then apply this one again",
        )
    return likely(
        f"{workflow.name} and {first.name} both wait for the agent {workflow.agent_id}: which one runs is chance",
        evidence=proof,
        remedy=remedies.delete_workflows(facts, first.name),
        advice="keep the one you want",
    )


@rule("discovery-error", NEVER_INSTALLED, 28, link="T PR#410", since=(0, 19, 0), before=(0, 22, 0))
def discovery_error(facts: Facts) -> Match | None:
    """tink-server fails at discovering the machine, and hands out no work."""
    line = facts.find((AGENT, SERVER), "error auto discovering Hardware") if waiting(facts) else None
    if line is None:
        return None
    return certain(
        "tink-server's auto discovery fails for this machine, and until v0.22 that keeps its work back",
        evidence=[line],
        remedy=remedies.list_hardware(facts),
        advice="two Hardware objects with this MAC? Remove one; or switch auto discovery off, or upgrade to v0.22.0",
    )


@rule(
    "shadowed",
    NEVER_INSTALLED,
    26,
    link="tinkerbell/tinkerbell tink/server/internal/grpc/grpc.go@v0.21; T PR#964",
    since=(0, 18, 0),
    before=(0, 26, 0),
)
def shadowed(facts: Facts) -> Match | None:
    """A finished Workflow of the same agent stands before this one."""
    workflow = waiting(facts)
    finished = [item for item in _others(facts, workflow) if item.finished]
    if workflow is None or not finished or not (agent_spoke(facts) or facts.in_hook or served(facts)):
        return None
    line = _answer(facts, workflow.agent_id or "")
    line = line if line and line.has("Workflow not in pending or running state") else None
    if line is None and complaint_of(facts) is not None:
        return None
    return (certain if line else likely)(
        f"{finished[0].name} ({finished[0].state}) has the same agent, and tink-server looks at it before "
        f"{workflow.name}",
        evidence=[line, *(status(item, f"agent {item.agent_id}") for item in finished)],
        remedy=remedies.delete_workflows(facts, *(item.name for item in finished)),
        advice="nothing else is needed: the agent goes on asking and is served within seconds",
    )


@rule("hook-silent", NEVER_INSTALLED, 17, 19, 21, link="HookOS without sshd: only its console tells more")
def hook_silent(facts: Facts) -> Match | None:
    """The machine fetched the installer, and no agent was heard since."""
    line = served(facts)
    gone = seconds_since(facts, line.time) if line else None
    if waiting(facts) is None or gone is None or gone <= HOOK_BOOT_SECONDS or agent_spoke(facts):
        return None
    where = "its sshd answers" if seen(facts.ssh) == SshAnswer.OK else "it has no sshd, or no network"
    listened = facts.log_seen(AGENT) or facts.log_seen(SERVER)
    return (likely if listened else possible)(
        f"the machine fetched the installer's script {gone:.0f} s ago, and no agent was heard since ({where})",
        evidence=[line],
        remedy=remedies.logs(facts, "smee"),
        advice="look at its console: no address (driver or firmware of the NIC), or /var/log/hook-bootkit.log says why "
        "the agent's image was not pulled",
    )


@rule("agent-waits", FINE, link="tink-agent asks again within a minute")
def agent_waits(facts: Facts) -> Match | None:
    """Nothing wrong yet: the agent is connected and is about to be served."""
    workflow, complaint, age = waiting(facts), complaint_of(facts), facts.age or 0
    heard = agent_spoke(facts) or (facts.in_hook and facts.log(AGENT))
    if workflow is None or not heard or facts.in_hook is False or age > _NEW_SECONDS:
        return None
    if complaint is not None and not (complaint.has(*_NOTHING) and not _recent(facts, complaint)):
        return None
    return likely(
        f"the agent is up, and {workflow.name} is {age:.0f} s old",
        reassurance=NOTHING_WRONG_YET,
        evidence=[*facts.log(AGENT), *server_lines(facts, facts.mac)][-1:],
        remedy=remedies.logs(facts),
    )


@rule(
    "idle-in-hook",
    FINE,
    link="tinkerbell/tinkerbell smee PR#133 (the installer is served without a Workflow)",
)
def idle_in_hook(facts: Facts) -> Match | None:
    """The machine idles in HookOS, and no Workflow asks it for anything."""
    machine = facts.machine_facts
    if not absent(facts.workflow) or machine is None or not machine.in_hook or facts.find(AGENT, "error writing event"):
        return None
    return certain(
        "the machine idles in the installer, and there is no Workflow for it",
        evidence=[running_system(machine)],
        remedy=remedies.provision(facts),
        advice="a Workflow starts there at once, without a reboot",
    )

"""HookOS's agent runs, and gets no work."""

from __future__ import annotations

from collections.abc import Iterator

from metalfoundry.commands.log_parser import AGENT, SERVER, LogLine
from metalfoundry.diagnosis import remedies
from metalfoundry.diagnosis.facts import Facts, absent, seen
from metalfoundry.diagnosis.findings import FINE, NEVER_INSTALLED, Certainty, Evidence, Sign, Stage, rule
from metalfoundry.diagnosis.queries import agent_id, agent_spoke, asked_since, served, server_lines, status, waiting
from metalfoundry.diagnosis.rules.connect import complaint_of
from metalfoundry.model.resources import Workflow

_NOTHING = ("no workflow found", "no workflows found", "task not assigned to agent", "no tasks found in workflow")


@rule(
    "wrong-agent-id",
    Stage.AGENT,
    NEVER_INSTALLED,
    25,
    link="T#425, T#485, T PR#586",
    explains=("hook-silent", "agent-waits"),
)
def wrong_agent_id(facts: Facts) -> Iterator[Sign]:
    """The machine's agent asks by another id than the Workflow waits for."""
    workflow = waiting(facts)
    wanted = (workflow.agent_id if workflow else None) or ""  # tink-server compares it letter by letter
    if workflow is None or not wanted:
        return
    asks = agent_id(facts) or facts.mac
    line = _nothing_for(facts, asks)
    machine = facts.machine_facts
    known = bool(machine and machine.in_hook and agent_id(facts))
    if not asks or asks == wanted:
        return
    if not (line or known):
        yield from _nobodys_id(facts, workflow, wanted)
        return
    shown = [Evidence.of(line)] if line else []
    if known:
        shown.append(Evidence("machine's kernel command line", f"worker_id={asks}"))
    yield Sign(
        Certainty.CERTAIN,
        f"the agent asks for work as {asks}, and {workflow.name} waits for {wanted}",
        (*shown, Evidence(f"Workflow {workflow.name}", f"status.agentID: {wanted}")),
        remedies.start_anew(facts),
        first=f"give hardwareMap (as a rule device_1) the id {asks}; or let the Hardware's agentID be {wanted} (v0.23)",
    )


def _nobodys_id(facts: Facts, workflow: Workflow, wanted: str) -> Iterator[Sign]:
    """The Workflow waits for an id that the Hardware does not have: nothing needs to be heard to see that."""
    hardware = seen(facts.hardware)
    if hardware is None or wanted in (hardware.agent_id, *(item.mac for item in hardware.interfaces)):
        return
    own = hardware.agent_id or ", ".join(item.mac for item in hardware.interfaces)
    yield Sign(
        Certainty.LIKELY if served(facts) else Certainty.POSSIBLE,
        f"{workflow.name} waits for the agent {wanted}, and an agent of {hardware.name} asks as {own}",
        (Evidence(f"Workflow {workflow.name}", f"status.agentID: {wanted}"),),
        remedies.start_anew(facts),
        first=f"give hardwareMap (as a rule device_1) the id {own}",
    )


def _nothing_for(facts: Facts, agent: str) -> LogLine | None:
    """The line that says there is no work for this agent: its own last complaint, or tink-server's journal."""
    line = complaint_of(facts)
    if line is not None and line.has(*_NOTHING):
        return line
    heard = [item for item in server_lines(facts, agent) if _recent(facts, item)]
    return heard[-1] if heard and heard[-1].has(*_NOTHING) else None


def _recent(facts: Facts, line: LogLine) -> bool:
    since = asked_since(facts)
    return since is None or line.time is None or line.time >= since


@rule(
    "two-live-workflows",
    Stage.AGENT,
    NEVER_INSTALLED,
    27,
    link="tink#399",
    explains=("shadowed", "agent-waits", "hook-silent", "still-booting", "hook-starting"),
)
def two_live_workflows(facts: Facts) -> Iterator[Sign]:
    """Two live Workflows wait for the same agent, and the other one is served."""
    workflow = waiting(facts)
    others = [item for item in _others(facts, workflow) if item.live and item.state]
    if workflow is None or not others:
        return
    first = next((item for item in others if item.state == "RUNNING"), others[0])
    runs = first.state == "RUNNING"
    what = (
        f"{first.name} runs on this machine, and {workflow.name} waits behind it"
        if runs
        else (f"{workflow.name} and {first.name} both wait for the agent {workflow.agent_id}: which one runs is chance")
    )
    yield Sign(
        Certainty.CERTAIN if runs else Certainty.LIKELY,
        what,
        tuple(status(item, f"agent {item.agent_id}") for item in (workflow, first)),
        remedies.delete_workflows(facts, workflow.name if runs else first.name),
        "the other one is writing the disk: let it end, then apply this one again" if runs else "keep the one you want",
    )


def _others(facts: Facts, workflow: Workflow | None) -> list[Workflow]:
    """The other Workflows that the same agent would be served."""
    if workflow is None or not workflow.agent_id:
        return []
    wanted = workflow.agent_id.lower()
    return [
        item
        for item in seen(facts.workflows) or ()
        if (item.agent_id or "").lower() == wanted and (item.uid, item.name) != (workflow.uid, workflow.name)
    ]


@rule(
    "shadowed",
    Stage.AGENT,
    NEVER_INSTALLED,
    26,
    link="tinkerbell/tinkerbell tink/server/internal/grpc/grpc.go@v0.21; T PR#964",
    since=(0, 18, 0),
    before=(0, 26, 0),
    explains=("hook-silent", "agent-waits"),
)
def shadowed(facts: Facts) -> Iterator[Sign]:
    """A finished Workflow of the same agent stands before this one."""
    workflow = waiting(facts)
    finished = [item for item in _others(facts, workflow) if item.finished]
    if workflow is None or not finished or not (agent_spoke(facts) or facts.in_hook or served(facts)):
        return
    heard = [line for line in server_lines(facts, workflow.agent_id or "") if _recent(facts, line)]
    line = heard[-1] if heard and heard[-1].has("Workflow not in pending or running state") else None
    if line is None and complaint_of(facts) is not None:
        return
    names = [item.name for item in finished]
    yield Sign(
        Certainty.CERTAIN if line else Certainty.LIKELY,
        f"{names[0]} ({finished[0].state}) has the same agent, and tink-server looks at it before {workflow.name}",
        ((Evidence.of(line),) if line else ()) + tuple(status(item, f"agent {item.agent_id}") for item in finished),
        remedies.delete_workflows(facts, *names),
        "nothing else is needed: the agent goes on asking and is served within seconds",
    )


@rule(
    "discovery-error",
    Stage.AGENT,
    NEVER_INSTALLED,
    28,
    link="T PR#410",
    since=(0, 19, 0),
    before=(0, 22, 0),
    explains=("agent-waits", "shadowed"),
)
def discovery_error(facts: Facts) -> Iterator[Sign]:
    """tink-server fails at discovering the machine, and hands out no work."""
    line = facts.find((AGENT, SERVER), "error auto discovering Hardware") if waiting(facts) else None
    if line is None:
        return
    yield Sign(
        Certainty.CERTAIN,
        "tink-server's auto discovery fails for this machine, and until v0.22 that keeps its work back",
        (Evidence.of(line),),
        remedies.list_hardware(facts),
        "two Hardware objects with this MAC? Remove one; or switch auto discovery off, or upgrade to v0.22.0",
    )


@rule("agent-waits", Stage.AGENT, FINE, link="tink-agent asks again within a minute")
def agent_waits(facts: Facts) -> Iterator[Sign]:
    """Nothing wrong yet: the agent is connected and is about to be served."""
    workflow = waiting(facts)
    complaint = complaint_of(facts)
    heard = agent_spoke(facts) or (facts.in_hook and facts.log(AGENT))
    if workflow is None or not heard or facts.in_hook is False or (facts.age or 0) > 90:
        return
    if complaint is not None and not (complaint.has(*_NOTHING) and not _recent(facts, complaint)):
        return
    last = next(iter(reversed((*facts.log(AGENT), *server_lines(facts, facts.mac)))), None)
    yield Sign(
        Certainty.LIKELY,
        f"nothing wrong yet: the agent is up, and {workflow.name} is {facts.age or 0:.0f} s old",
        (Evidence.of(last),) if last else (),
        remedies.logs(facts),
    )


@rule(
    "idle-in-hook",
    Stage.AGENT,
    FINE,
    link="tinkerbell/tinkerbell smee PR#133 (the installer is served without a Workflow)",
)
def idle_in_hook(facts: Facts) -> Iterator[Sign]:
    """The machine idles in HookOS, and no Workflow asks it for anything."""
    machine = facts.machine_facts
    if not absent(facts.workflow) or machine is None or not machine.in_hook or facts.find(AGENT, "error writing event"):
        return
    yield Sign(
        Certainty.CERTAIN,
        "the machine idles in the installer, and there is no Workflow for it",
        (Evidence("machine", f"{machine.os_name or machine.os_id}, up for {machine.uptime or 0:.0f} s"),),
        remedies.provision(facts),
        "a Workflow starts there at once, without a reboot",
    )


RULES = (
    wrong_agent_id,
    two_live_workflows,
    shadowed,
    discovery_error,
    agent_waits,
    idle_in_hook,
)

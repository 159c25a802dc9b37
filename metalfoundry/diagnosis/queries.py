"""Questions that several rules ask of the facts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from metalfoundry.commands.kubernetes import MachineProbe
from metalfoundry.commands.log_parser import AGENT, SERVER, SMEE, LogLine
from metalfoundry.commands.machine import MachineFacts
from metalfoundry.commands.smee import says_open
from metalfoundry.diagnosis.facts import Facts, seen
from metalfoundry.diagnosis.findings import Evidence
from metalfoundry.model.actions import Action, items, listed, mapping
from metalfoundry.model.foreign import parse_time
from metalfoundry.model.resources import Workflow

SETTLED_SECONDS = 30.0
HOOK_BOOT_SECONDS = 240.0
_LEAVING = ("stopped agent", "code = canceled")
DENIED = "does not allow it to pxe"


def in_state(facts: Facts, *states: str) -> Workflow | None:
    """The Workflow in question, where it is in one of these states."""
    workflow = seen(facts.workflow)
    return workflow if workflow and workflow.state in states else None


def waiting(facts: Facts) -> Workflow | None:
    """The Workflow, where it waits for a machine: rendered, live, and nothing of it has run."""
    workflow = in_state(facts, "PREPARING", "PENDING")
    return workflow if workflow and not workflow.has_run else None


def not_in_installer(facts: Facts) -> Workflow | None:
    """The waiting Workflow, where nothing shows that the machine is in HookOS: no agent's word, no script served."""
    workflow = waiting(facts)
    if workflow is None or facts.in_hook or agent_spoke(facts) or served(facts):
        return None
    return workflow


def condition(workflow: Workflow | None, *words: str, type: str = "") -> Evidence | None:
    """The Workflow's last condition whose message holds any of `words`."""
    for item in reversed(workflow.conditions if workflow else ()):
        if item.type.startswith(type) and any(word in item.message for word in words):
            assert workflow is not None
            line = f"{item.type}={item.status} {item.message}"
            return Evidence(f"Workflow {workflow.name} conditions", line, parse_time(item.time))
    return None


def status(workflow: Workflow, words: str = "") -> Evidence:
    """The Workflow's own state as evidence."""
    shown = f"state {workflow.state or 'not set'}" + (f", {words}" if words else "")
    return Evidence(f"Workflow {workflow.name}", shown)


def installer(facts: Facts) -> MachineProbe | None:
    """What the machine tells of itself while it is in HookOS; None elsewhere."""
    machine = seen(facts.machine)
    return machine if machine is not None and machine.facts.in_hook else None


def running_system(machine: MachineFacts) -> Evidence:
    """What the machine runs and for how long, as evidence."""
    return Evidence("machine", f"{machine.os_name or machine.os_id}, up for {machine.uptime or 0:.0f} s")


def open_interfaces(facts: Facts) -> Evidence:
    """The interfaces that may netboot, as evidence."""
    listed = ", ".join(f"interfaces[{item.index}] {item.mac}" for item in facts.open_interfaces)
    return Evidence(f"Hardware {facts.configured.hardware}", f"allowPXE: true on {listed}")


def smee_lines(facts: Facts) -> Iterator[LogLine]:
    """Smee's lines about this machine (by MAC or address), the last first; only those that `asked_since` lets count."""
    since = asked_since(facts)
    names = facts.addresses | ({facts.mac} - {""})
    for line in reversed(facts.log(SMEE)):
        if line.host in names and (since is None or line.time is None or line.time >= since):
            yield line


def asked_since(facts: Facts) -> datetime | None:
    """From when on a sign of life counts: the run's reboot, else the Workflow's creation."""
    workflow = seen(facts.workflow)
    return seen(facts.started) or (parse_time(workflow.meta.created) if workflow else None)


def served(facts: Facts) -> LogLine | None:
    """Smee's last line that it gave this machine the installer's script; when we ask Smee, that is no sign of it."""
    return next((line for line in smee_lines(facts) if _is_script(line, "200") and not _by_other(facts, line)), None)


def perhaps_served(facts: Facts) -> bool:
    """Whether the script was given to somebody who may be the machine behind a proxy, or the jump host that asked."""
    return any(_is_script(line, "200") for line in smee_lines(facts))


def denied(facts: Facts) -> LogLine | None:
    """Smee's last line that it refused this machine."""
    return next((line for line in smee_lines(facts) if DENIED in line.text), None) or next(
        (line for line in smee_lines(facts) if _is_script(line, "404", "403") and not _by_other(facts, line)), None
    )


def smee_says(facts: Facts) -> bool | None:
    """Smee's own answer for the MAC now: True open, False closed, None unknown."""
    answers = seen(facts.smee)
    return says_open(answers) if answers else None


def agent_id(facts: Facts) -> str:
    """The id by which the machine's agent asks: its command line's, else its own log's; empty where unknown."""
    machine = facts.machine_facts
    told = machine.kernel_args.get("worker_id", "") if machine else ""
    return told or next((line.get("agentID") for line in reversed(facts.log(AGENT)) if line.get("agentID")), "")


def agent_spoke(facts: Facts) -> bool:
    """Whether an agent of this machine was heard since the Workflow's creation or the run's reboot.

    By its own log, or at tink-server: but a question that an agent had left open before is answered there for as long
    as a poll may take, with nobody to hear it; and a machine that runs another system has no agent.
    """
    since = asked_since(facts)
    own = (line for line in facts.log(AGENT) if not line.has(*_LEAVING))
    if any(since is None or line.time is None or line.time >= since for line in own):
        return True
    if facts.in_hook is False:
        return False
    polled = since + _poll(facts) if since else None
    return any(polled is None or line.time is None or line.time > polled for line in server_lines(facts, facts.mac))


def _poll(facts: Facts) -> timedelta:
    """For how long tink-server holds an agent's question for work."""
    version = facts.version
    return timedelta(minutes=5 if version and version.number < (0, 18, 0) else 1)


def server_lines(facts: Facts, agent: str) -> list[LogLine]:
    """tink-server's lines about one agent, in order."""
    return [line for line in facts.log(SERVER) if agent and line.host.lower() == agent.lower()]


def began(facts: Facts) -> datetime | None:
    """When the current action was taken up: by tink-server's or the agent's log, whichever has it."""
    action = facts.current_action
    if action is None:
        return None
    for source, words in ((SERVER, "sending action"), (AGENT, "received action")):
        for line in facts.lines(source, words):
            if action.id and action.id in (line.get("actionID"), line.get("action", "id")):
                return line.time
    return parse_time(action.started or "")


def elapsed(facts: Facts) -> float | None:
    """Seconds since the current action was taken up; none where the machine's clock is ahead."""
    took = seconds_since(facts, began(facts))
    return None if took is None else max(took, 0.0)


def seconds_since(facts: Facts, moment: datetime | None) -> float | None:
    """How long ago that was; None where nobody knows when."""
    return (facts.now - moment).total_seconds() if moment else None


def running_action(facts: Facts) -> tuple[Workflow, Action] | None:
    """The RUNNING Workflow and its current action, where that has been taken up and is no boot action."""
    workflow, action = in_state(facts, "RUNNING"), facts.current_action
    return (workflow, action) if workflow and action and action.name != facts.boot_action else None


def done(facts: Facts) -> Workflow | None:
    """The Workflow, where it says SUCCESS, or stands at a boot action that takes the machine away from it."""
    workflow, action = in_state(facts, "SUCCESS", "RUNNING", "TIMEOUT"), facts.current_action
    if workflow is None or workflow.state == "SUCCESS":
        return workflow
    return workflow if action is not None and action.name == facts.boot_action else None


def since_end(facts: Facts) -> float | None:
    """Seconds since the machine was left to boot its disk."""
    took = elapsed(facts) if in_state(facts, "RUNNING", "TIMEOUT") else None
    return ended_ago(facts) if took is None else took


def ended(workflow: Workflow) -> datetime | None:
    """When the last action that has ended did so, by the machine's clock."""
    stops = [
        parse_time(str(action.get("executionStop") or ""))
        for task in items(mapping(workflow.raw.get("status")).get("tasks"))
        for action in items(task.get("actions"))
    ]
    return max((stop for stop in stops if stop), default=None)


def ended_ago(facts: Facts) -> float | None:
    """Seconds since the Workflow's last action ended; None where none has."""
    workflow = seen(facts.workflow)
    return seconds_since(facts, ended(workflow) if workflow else None)


def raw_action(workflow: Workflow, name: str) -> dict[str, object]:
    """An action with its task's volumes and environment beside its own, as the status holds them."""
    for task in items(mapping(workflow.raw.get("status")).get("tasks")):
        for action in items(task.get("actions")):
            if action.get("name") == name:
                volumes = [*listed(task.get("volumes")), *listed(action.get("volumes"))]
                return {**action, "volumes": volumes}
    return {}


def _is_script(line: LogLine, *statuses: str) -> bool:
    return line.get("uri").endswith("auto.ipxe") and line.get("status") in statuses


def _by_other(facts: Facts, line: LogLine) -> bool:
    """Whether it may have been the jump host that asked, and not the machine."""
    client = line.get("client")
    return client.startswith("127.") or client.split(":")[0] in facts.configured.jump_addresses

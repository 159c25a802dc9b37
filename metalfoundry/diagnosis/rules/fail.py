"""A Workflow that ended as FAILED or TIMEOUT: time, images, memory, exit codes. The reason is never in the Workflow."""

from __future__ import annotations

import re
from collections.abc import Iterator

from metalfoundry.commands.log_parser import ACTION, AGENT, LogLine
from metalfoundry.commands.netboot import parse_time
from metalfoundry.diagnosis import remedies
from metalfoundry.diagnosis.facts import Facts, seen
from metalfoundry.diagnosis.findings import FAILED, TIMED_OUT, Certainty, Evidence, Sign, Stage, rule
from metalfoundry.diagnosis.queries import began, ended, in_state, status
from metalfoundry.model.actions import Action, mapping
from metalfoundry.model.resources import Workflow

_AGENT = "tinkerbell/tinkerbell tink/agent/agent.go@v0.21"
_CONTAINER = re.compile(r"[0-9a-f]{12}(?:[0-9a-f]{52})?")
GENERIC = ("exit-code", "action-failed")


def ended_badly(facts: Facts) -> tuple[Workflow, Action] | None:
    """The FAILED or TIMEOUT Workflow and the action that ended so."""
    workflow = in_state(facts, "FAILED", "TIMEOUT")
    action = (
        next((item for item in workflow.actions if item.state in ("FAILED", "TIMEOUT")), None) if workflow else None
    )
    return (workflow, action) if workflow and action else None


def agent_error(facts: Facts, *words: str) -> LogLine | None:
    """The agent's last error in executing an action, where it holds any of `words`."""
    line = facts.find(AGENT, "error executing action", "failed to execute action", "failed to pull image")
    return line if line is not None and line.has(*words) else None


def action_lines(facts: Facts, action: Action) -> Iterator[LogLine]:
    """What the action's container said, the last first. Where only a container's ID tells who spoke, time does."""
    start = began(facts)
    for line in reversed(facts.log(ACTION)):
        app = line.get("app-name")
        nameless = not app or _CONTAINER.fullmatch(app)
        if action.name in app or (nameless and (start is None or line.time is None or line.time >= start)):
            yield line


@rule("action-timeout", Stage.RUN, TIMED_OUT, 35, link=_AGENT, explains=("action-failed",))
def action_timeout(facts: Facts) -> Iterator[Sign]:
    """An action did not end within its timeout."""
    found = ended_badly(facts)
    if found is None or found[1].state != "TIMEOUT":
        return
    workflow, action = found
    line = agent_error(facts, "context deadline exceeded")
    limit = f"{action.timeout:.0f} s" if action.timeout is not None else "none, which counts as 0"
    what = f"{action.name!r} did not end within its timeout ({limit}, and pulling its image counts)"
    if not action.timeout:
        what = f"{action.name!r} has no timeout, and this agent takes that as 0: it ends at once"
    yield Sign(
        Certainty.CERTAIN,
        what,
        (*((Evidence.of(line),) if line else ()), status(workflow, f"{action.name} TIMEOUT")),
        remedies.show_template(facts),
        f"raise the timeout of {action.name!r} in the Template, then: {remedies.provision(facts)}",
    )


@rule("global-timeout", Stage.RUN, TIMED_OUT, 36, link="tinkerbell/tinkerbell tink/controller reconciler.go:168@v0.21")
def global_timeout(facts: Facts) -> Iterator[Sign]:
    """The whole Workflow ran out of time."""
    workflow = in_state(facts, "TIMEOUT")
    if workflow is None or any(action.state == "TIMEOUT" for action in workflow.actions):
        return
    said = mapping(workflow.raw.get("status"))
    stop = parse_time(str(said.get("globalExecutionStop") or ""))
    event = next((item for item in seen(facts.events) or () if item.reason == "WorkflowTimedOut"), None)
    over = stop is not None and facts.now > stop
    if not over and event is None:
        return
    shown = [Evidence("event", event.message)] if event else []
    if stop is not None:
        shown.append(Evidence(f"Workflow {workflow.name}", f"globalExecutionStop: {said.get('globalExecutionStop')}"))
    where = f" while {workflow.current.name!r} was running" if workflow.current else ""
    yield Sign(
        Certainty.CERTAIN,
        f"the Workflow's own limit of {said.get('globalTimeout', '?')} s was over{where}",
        tuple(shown),
        remedies.show_template(facts),
        "raise global_timeout in the Template; the machine may still be at work, so look before you start anew",
    )


@rule("exit-code", Stage.RUN, FAILED, 37, link=_AGENT, explains=("action-failed",))
def exit_code(facts: Facts) -> Iterator[Sign]:
    """An action's program ended with an error of its own."""
    found = ended_badly(facts)
    line = agent_error(facts, "got non 0 exit status")
    if found is None or found[1].state != "FAILED":
        return
    said = next(action_lines(facts, found[1]), None)
    if line is None and (said is None or facts.log(AGENT)):
        return
    yield Sign(
        Certainty.CERTAIN if line else Certainty.LIKELY,
        f"the program of {found[1].name!r} ended with an error" + (f"; it said last: {said.text}" if said else ""),
        tuple(Evidence.of(item) for item in (said, line) if item),
        remedies.logs(facts, "smee"),
        "action containers speak to Smee's syslog, not to the agent's log (up to v0.22)",
    )


_REFUSED = ("pull access denied", "manifest unknown", "manifest for", "toomanyrequests", "unauthorized")


@rule(
    "action-image",
    Stage.RUN,
    FAILED,
    38,
    link="vietcgi/gitops-metal-foundry fa9454f, 86fae0e; eksa#9046",
    explains=("action-failed",),
)
def action_image(facts: Facts) -> Iterator[Sign]:
    """An action's image cannot be pulled, or no container made of it."""
    found = ended_badly(facts)
    line = agent_error(facts, *_REFUSED, "error creating container")
    if found is None or line is None or line.has("No such image", "no space left on device"):
        return
    action = found[1]
    why = (
        "the registry's rate limit is reached"
        if line.has("toomanyrequests")
        else (
            "the registry has no such tag" if line.has("manifest") else "the registry refuses it, or has no such image"
        )
    )
    if not line.has(*_REFUSED):
        why = "no container could be made of it"
    yield Sign(
        Certainty.CERTAIN if line.has(*_REFUSED) else Certainty.LIKELY,
        f"the image of {action.name!r}, {action.image}, cannot be used: {why}",
        (Evidence.of(line),),
        remedies.show_template(facts),
        "correct `image:` of that action in the Template, then: " + remedies.provision(facts),
    )


@rule("no-space", Stage.RUN, FAILED, 43, link="osie#197; tink PR#450", explains=("action-failed", "action-image"))
def no_space(facts: Facts) -> Iterator[Sign]:
    """The installer's root in RAM is full, so an action's image cannot be unpacked."""
    found = ended_badly(facts)
    line = agent_error(facts, "no space left on device", "No such image")
    if found is None or line is None:
        return
    machine = seen(facts.machine)
    free = machine.disk_free if machine is not None and machine.facts.in_hook else None
    shown = [Evidence.of(line)]
    if free is not None:
        shown.append(Evidence("machine", f"{free:.0f} MiB free in the installer's root"))
    plain = line.has("no space left on device")
    if not plain and free is not None and free > 1024:
        return
    yield Sign(
        Certainty.CERTAIN if plain or (free is not None and free < 256) else Certainty.LIKELY,
        f"the machine has too little memory to hold the image of {found[1].name!r}"
        + ("" if plain else ": the pull ended without a word, as it does when the disk in RAM is full"),
        tuple(shown),
        remedies.ssh(facts, "df -h; free -m"),
        "give the machine more memory, or use smaller action images",
    )


@rule("no-docker", Stage.RUN, FAILED, link=f"{_AGENT}; hook-docker", explains=("action-failed",))
def no_docker(facts: Facts) -> Iterator[Sign]:
    """HookOS's Docker does not answer the agent."""
    found = ended_badly(facts)
    line = agent_error(facts, "Cannot connect to the Docker daemon")
    if found is None or line is None:
        return
    yield Sign(
        Certainty.CERTAIN,
        f"{found[1].name!r} could not start: Docker inside HookOS does not answer",
        (Evidence.of(line),),
        remedies.ssh(facts, "tail -n 50 /var/log/hook-docker.log"),
        "reboot the machine into HookOS again; look whether its memory suffices",
    )


@rule("late-report", Stage.RUN, TIMED_OUT, 45, link="T PR#945", explains=("installed",))
def late_report(facts: Facts) -> Iterator[Sign]:
    """A TIMEOUT that is not over: the agent went on, and its report can turn it into SUCCESS."""
    workflow = in_state(facts, "TIMEOUT", "SUCCESS", "RUNNING", "POST")
    if workflow is None:
        return
    stop = parse_time(str(mapping(workflow.raw.get("status")).get("globalExecutionStop") or ""))
    last, event = ended(workflow), _timed_out(facts)
    machine = seen(facts.machine)
    working = [
        item
        for item in (machine.containers or () if machine else ())
        if item.running and item.name.startswith("tinkerbell_")
    ]
    look = remedies.ssh(facts, "cat /etc/os-release /proc/uptime")
    if workflow.state == "TIMEOUT":
        if working:
            shown = Evidence("docker ps -a", f"{working[0].name} {working[0].status}")
            what = f"{workflow.name} is TIMEOUT, and the machine is still at work: its report can turn it into SUCCESS"
            yield Sign(
                Certainty.CERTAIN, what, (shown, status(workflow)), look, "do not start anew while it writes the disk"
            )
        return
    late = stop is not None and last is not None and last > stop
    if late or event:
        shown = event or Evidence(f"Workflow {workflow.name}", f"its last action ended at {last}, its limit was {stop}")
        what = f"{workflow.name} had been TIMEOUT and is {workflow.state} by a late report: look at the machine itself"
        yield Sign(Certainty.LIKELY, what, (shown,), look)


def _timed_out(facts: Facts) -> Evidence | None:
    found = (item for item in seen(facts.events) or () if item.reason == "WorkflowTimedOut")
    return next((Evidence("event", f"{item.reason}: {item.message}", parse_time(item.time)) for item in found), None)


@rule("action-failed", Stage.RUN, FAILED, link="the reason of a failure is never in the Workflow")
def action_failed(facts: Facts) -> Iterator[Sign]:
    """An action failed, and nothing that could be read says why."""
    workflow = in_state(facts, "FAILED")
    if workflow is None:
        return
    found = ended_badly(facts)
    what = f"{found[1].name!r} failed" if found else f"{workflow.name} is FAILED"
    blind = [name for name in ("agent", "action") if not facts.log_seen(name)]
    missing = f" (not seen: {', '.join(blind)} log)" if blind else ""
    yield Sign(
        Certainty.LIKELY,
        f"{what}, and nothing that was read says why{missing}",
        (status(workflow, found[1].name if found else ""),),
        remedies.logs(facts),
    )


RULES = (
    action_timeout,
    global_timeout,
    exit_code,
    action_image,
    no_space,
    no_docker,
    late_report,
    action_failed,
)

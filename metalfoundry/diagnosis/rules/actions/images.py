"""An action that could not start: Docker, memory, or its image. Here is also what the agent says of a failed action."""

from __future__ import annotations

from functools import partial

from metalfoundry.commands.log_parser import AGENT, LogLine
from metalfoundry.diagnosis import findings, remedies
from metalfoundry.diagnosis.facts import Facts
from metalfoundry.diagnosis.findings import FAILED, Evidence, Match, Stage, certain, likely
from metalfoundry.diagnosis.queries import in_state, installer
from metalfoundry.model.actions import Action
from metalfoundry.model.resources import Workflow

rule = partial(findings.rule, Stage.RUN)
AGENT_SOURCE = "tinkerbell/tinkerbell tink/agent/agent.go@v0.21"
_REFUSED = ("pull access denied", "manifest unknown", "manifest for", "toomanyrequests", "unauthorized")
_NO_SPACE = ("no space left on device", "No such image")


def ended_badly(facts: Facts) -> tuple[Workflow, Action] | None:
    """The FAILED or TIMEOUT Workflow and the action that ended so."""
    workflow = in_state(facts, "FAILED", "TIMEOUT")
    actions = workflow.actions if workflow else ()
    action = next((item for item in actions if item.state in ("FAILED", "TIMEOUT")), None)
    return (workflow, action) if workflow and action else None


def agent_error(facts: Facts, *words: str) -> LogLine | None:
    """The agent's last error in executing an action, where it holds any of `words`."""
    line = facts.find(AGENT, "error executing action", "failed to execute action", "failed to pull image")
    return line if line is not None and line.has(*words) else None


@rule("no-docker", FAILED, link=f"{AGENT_SOURCE}; hook-docker")
def no_docker(facts: Facts) -> Match | None:
    """HookOS's Docker does not answer the agent."""
    _, action = ended_badly(facts) or (None, None)
    line = agent_error(facts, "Cannot connect to the Docker daemon")
    if action is None or line is None:
        return None
    return certain(
        f"{action.name!r} could not start: Docker inside HookOS does not answer",
        evidence=[line],
        remedy=remedies.ssh(facts, "tail -n 50 /var/log/hook-docker.log"),
        advice="reboot the machine into HookOS again; look whether its memory suffices",
    )


@rule("no-space", FAILED, 43, link="osie#197; tink PR#450")
def no_space(facts: Facts) -> Match | None:
    """The installer's root in RAM is full, so an action's image cannot be unpacked."""
    _, action = ended_badly(facts) or (None, None)
    line, machine = agent_error(facts, *_NO_SPACE), installer(facts)
    if action is None or line is None:
        return None
    free = machine.disk_free if machine else None
    plain = line.has("no space left on device")
    if not plain and free is not None and free > 1024:
        return None
    return (certain if plain or (free is not None and free < 256) else likely)(
        f"the machine has too little memory to hold the image of {action.name!r}"
        + ("" if plain else ": the pull ended without a word, as it does when the disk in RAM is full"),
        evidence=[
            line,
            Evidence("machine", f"{free:.0f} MiB free in the installer's root") if free is not None else None,
        ],
        remedy=remedies.ssh(facts, "df -h; free -m"),
        advice="give the machine more memory, or use smaller action images",
    )


@rule("action-image", FAILED, 38, link="vietcgi/gitops-metal-foundry fa9454f, 86fae0e; eksa#9046")
def action_image(facts: Facts) -> Match | None:
    """An action's image cannot be pulled, or no container made of it."""
    _, action = ended_badly(facts) or (None, None)
    line = agent_error(facts, *_REFUSED, "error creating container")
    if action is None or line is None or line.has(*_NO_SPACE):
        return None
    refused = line.has(*_REFUSED)
    if not refused:
        why = "no container could be made of it"
    elif line.has("toomanyrequests"):
        why = "the registry's rate limit is reached"
    else:
        why = f"the registry {'has no such tag' if line.has('manifest') else 'refuses it, or has no such image'}"
    return (certain if refused else likely)(
        f"the image of {action.name!r}, {action.image}, cannot be used: {why}",
        evidence=[line],
        remedy=remedies.show_template(facts),
        advice="correct `image:` of that action in the Template, then: " + remedies.provision(facts),
    )

"""What the usual actions say before they fail: image2disk, writefile, cexec, partitions, privileges, exit codes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from metalfoundry.commands.log_parser import ACTION, AGENT, LogLine
from metalfoundry.diagnosis import findings, remedies
from metalfoundry.diagnosis.facts import Facts
from metalfoundry.diagnosis.findings import FAILED, Evidence, Match, Stage, certain, likely
from metalfoundry.diagnosis.queries import began, in_state, raw_action, status
from metalfoundry.diagnosis.rules.actions.images import AGENT_SOURCE, agent_error, ended_badly
from metalfoundry.model.actions import Action, mapping
from metalfoundry.model.resources import Workflow

rule = partial(findings.rule, Stage.RUN)
_ACTIONS = "tinkerbell/actions"
_CONTAINER = re.compile(r"[0-9a-f]{12}(?:[0-9a-f]{52})?")


def _failed(facts: Facts) -> tuple[Workflow, Action] | None:
    """The Workflow and its action that is FAILED."""
    ended = ended_badly(facts)
    return ended if ended and ended[1].state == "FAILED" else None


def _failed_with(facts: Facts, *words: str) -> tuple[Workflow, Action, LogLine] | None:
    """As `_failed`, with the last line of the action (in syslog, or in the agent's error) that has any of `words`."""
    if (failed := _failed(facts)) is None:
        return None
    lines = (line for line in _action_lines(facts, failed[1]) if line.has(*words))
    line = next(lines, None) or agent_error(facts, *words)
    return (*failed, line) if line else None


def _action_lines(facts: Facts, action: Action) -> Iterator[LogLine]:
    """What the action's container said, the last first. Where only a container's ID tells who spoke, time does."""
    start = began(facts)
    for line in reversed(facts.log(ACTION)):
        app = line.get("app-name")
        nameless = not app or _CONTAINER.fullmatch(app)
        if action.name in app or (nameless and (start is None or line.time is None or line.time >= start)):
            yield line


_WRITE_ADVICE = {
    "unknown compression suffix [": "image2disk does not know that compression: name the image .gz, .xz, .bz2 or .zst",
    "gzip: invalid header": "what came is no gzip (an error page, or COMPRESSED does not fit): fetch IMG_URL by hand",
    "IMG_URL is required": "the action has no IMG_URL in its environment",
    "no space left on device": "the image is larger than DEST_DISK: is it the right disk?",
    "404 Not Found": "there is no such image at IMG_URL",
    "error writing image to disk": "the line says what was in the way of the download or of the disk",
}
_WRITE_CAUSES = tuple(_WRITE_ADVICE)[:-1]
_NOT_FOUND = re.compile(r"(https?://\S+|image \[?\S+\]?|/dev/\S+?)\]? not found")


@rule("image-write", FAILED, 39, link=f"{_ACTIONS} image2disk")
def image_write(facts: Facts) -> Match | None:
    """The image could not be written to the disk."""
    failed = _failed_with(facts, *_WRITE_ADVICE) or _not_found(facts)
    if failed is None or (failed[2].source == AGENT and failed[2].has("No such image", "no space left on device")):
        return None
    workflow, action, line = failed
    line = next((item for item in _action_lines(facts, action) if item.has(*_WRITE_CAUSES)), line)
    target = mapping(raw_action(workflow, action.name).get("environment"))
    where = f" ({target.get('IMG_URL', '?')} to {target.get('DEST_DISK', '?')})" if target else ""
    return certain(
        f"{action.name!r} could not write the image{where}",
        evidence=[line],
        remedy=remedies.show_template(facts),
        advice=next(
            (advice for words, advice in _WRITE_ADVICE.items() if line.has(words)),
            "there is no such image, or no such disk",
        ),
    )


def _not_found(facts: Facts) -> tuple[Workflow, Action, LogLine] | None:
    failed = _failed_with(facts, " not found")
    return failed if failed and _NOT_FOUND.search(failed[2].text) and "disk" in failed[1].image else None


_NOT_READ = ("error re-probing the partitions for the specified device", "unable to re-read partition table")
_MOUNT = ("mounting block device", "error mounting [")
_MOUNT_WHY = ("no such device", "no such file or directory", "invalid argument", "unknown filesystem")


@rule("partitions-not-read", FAILED, 40, link="actions PR#73; vietcgi/gitops-metal-foundry 9883f09")
def partitions_not_read(facts: Facts) -> Match | None:
    """The kernel did not read the new partition table."""
    own, mount = _failed_with(facts, *_NOT_READ), _failed_with(facts, *_MOUNT)
    before = facts.find(ACTION, *_NOT_READ) if mount and mount[2].has("no such") else None
    failed, line = own or mount, own[2] if own else before
    if failed is None or line is None:
        return None
    return certain(
        f"the image was written, and the kernel still has the old partition table: {failed[1].name!r} failed",
        evidence=[line, mount[2] if mount and not own else None],
        remedy=remedies.show_template(facts),
        advice="put an action before it that runs `partprobe` on the disk (nsenter into pid 1), or write to an "
        "unmounted disk",
    )


@rule("wrong-partition", FAILED, 41, link="vietcgi/gitops-metal-foundry 907690c, 57591b9, bcf5cce")
def wrong_partition(facts: Facts) -> Match | None:
    """An action was pointed at the wrong partition or file system."""
    failed = _failed_with(facts, *_MOUNT)
    if failed is None:
        return None
    workflow, action, line = failed
    target = mapping(raw_action(workflow, action.name).get("environment"))
    disk, kind = target.get("DEST_DISK") or target.get("BLOCK_DEVICE") or "its device", target.get("FS_TYPE", "")
    return (certain if line.has(*_MOUNT_WHY) else likely)(
        f"{action.name!r} cannot mount {disk}" + (f" as {kind}" if kind else ""),
        evidence=[line],
        remedy=remedies.show_template(facts),
        advice="the image's root may be another partition: fdisk -l of the image says which, blkid its file system",
    )


@rule("cexec-interpreter", FAILED, 42, link=f"{_ACTIONS} cexec; vietcgi/gitops-metal-foundry 4f6ecd2, 06cadb6")
def cexec_interpreter(facts: Facts) -> Match | None:
    """cexec did not find its shell: it is not in the root file system of the new system."""
    failed = _failed_with(
        facts, 'unable to find the ["DEFAULT_INTERPRETER"]', "unable to find the [DEFAULT_INTERPRETER]"
    )
    if failed is None:
        return None
    _, action, line = failed
    return certain(
        f"{action.name!r} found no shell where it ran: BLOCK_DEVICE is not the new system's root, or CHROOT is not y",
        evidence=[line],
        remedy=remedies.show_template(facts),
        advice="set CHROOT: y and the right BLOCK_DEVICE and FS_TYPE; GRUB needs /dev, /proc and /sys bound there, too",
    )


_DENIED = ("cannot open /proc/1/ns", "operation not permitted", "permission denied", "/proc/1/ns")
_QUICK_SECONDS = 5.0


@rule("no-privilege", FAILED, 44, link="eksa#6196")
def no_privilege(facts: Facts) -> Match | None:
    """An action lacks `pid: host`, privileges or volumes."""
    if (failed := _failed(facts)) is None:
        return None
    workflow, action = failed
    lacks = _lacks(raw_action(workflow, action.name), action)
    line = next((item for item in _action_lines(facts, action) if item.has(*_DENIED)), None)
    quick = action.seconds is not None and action.seconds < _QUICK_SECONDS
    if not lacks or not (line or quick) or agent_error(facts, "All attempts fail", "error creating container"):
        return None
    return (certain if line else likely)(
        f"{action.name!r} failed at once: the Template gives it no `{lacks}`",
        evidence=[line, Evidence(f"Workflow {workflow.name}", f"{action.name} has no {lacks}")],
        remedy=remedies.show_template(facts),
        advice=f"give the action `{lacks}` in the Template, then: {remedies.provision(facts)}",
    )


def _lacks(raw: dict[str, object], action: Action) -> str:
    """What an action of this kind needs and does not have; empty where nothing is missing that can be seen."""
    words = f"{action.image} {raw.get('command')} {raw.get('environment')}"
    volumes = raw.get("volumes")
    mounted = [str(item) for item in volumes] if isinstance(volumes, list) else []
    if "nsenter" in words and raw.get("pid") != "host":
        return "pid: host"
    if any(name in action.image for name in ("2disk", "writefile", "cexec", "rootio", "grub2disk")):
        return "" if any(item.startswith("/dev:") for item in mounted) else "volumes: [/dev:/dev]"
    if "waitdaemon" in action.image and not any("docker.sock" in item for item in mounted):
        return "volumes: [/var/run/docker.sock:/var/run/docker.sock]"
    return ""


@rule("exit-code", FAILED, 37, link=AGENT_SOURCE)
def exit_code(facts: Facts) -> Match | None:
    """An action's program ended with an error of its own."""
    _, action = _failed(facts) or (None, None)
    if action is None:
        return None
    line, last = agent_error(facts, "got non 0 exit status"), next(_action_lines(facts, action), None)
    if line is None and (last is None or facts.log(AGENT)):
        return None
    return (certain if line else likely)(
        f"the program of {action.name!r} ended with an error" + (f"; it said last: {last.text}" if last else ""),
        evidence=[last, line],
        remedy=remedies.logs(facts, "smee"),
        advice="action containers speak to Smee's syslog, not to the agent's log (up to v0.22)",
    )


@rule("action-failed", FAILED, link="the reason of a failure is never in the Workflow")
def action_failed(facts: Facts) -> Match | None:
    """An action failed, and nothing that could be read says why."""
    workflow = in_state(facts, "FAILED")
    if workflow is None:
        return None
    _, action = ended_badly(facts) or (None, None)
    blind = [source for source in (AGENT, ACTION) if not facts.log_seen(source)]
    return likely(
        (f"{action.name!r} failed" if action else f"{workflow.name} is FAILED")
        + ", and nothing that was read says why"
        + (f" (not seen: {', '.join(blind)} log)" if blind else ""),
        evidence=[status(workflow, action.name if action else "")],
        remedy=remedies.logs(facts),
    )

"""What the usual actions say before they fail: image2disk, writefile, cexec, partitions, privileges."""

from __future__ import annotations

import re
from collections.abc import Iterator

from metalfoundry.commands.log_parser import ACTION, LogLine
from metalfoundry.diagnosis import remedies
from metalfoundry.diagnosis.facts import Facts
from metalfoundry.diagnosis.findings import FAILED, Certainty, Evidence, Sign, Stage, rule
from metalfoundry.diagnosis.queries import raw_action
from metalfoundry.diagnosis.rules.fail import GENERIC, action_lines, agent_error, ended_badly
from metalfoundry.model.actions import Action
from metalfoundry.model.resources import Workflow

_ACTIONS = "tinkerbell/actions"


def _said(facts: Facts, *words: str) -> tuple[Workflow, Action, LogLine] | None:
    """The action that failed and the last line of it (in syslog, or in the agent's error) with any of `words`."""
    found = ended_badly(facts)
    if found is None or found[1].state != "FAILED":
        return None
    line = next((item for item in action_lines(facts, found[1]) if item.has(*words)), None)
    line = line or agent_error(facts, *words)
    return (*found, line) if line else None


_WRITE = (
    (
        "unknown compression suffix [",
        "image2disk does not know that compression: name the image .gz, .xz, .bz2 or .zst",
    ),
    ("gzip: invalid header", "what came is no gzip (an error page, or COMPRESSED does not fit): fetch IMG_URL by hand"),
    ("IMG_URL is required", "the action has no IMG_URL in its environment"),
    ("no space left on device", "the image is larger than DEST_DISK: is it the right disk?"),
    ("404 Not Found", "there is no such image at IMG_URL"),
    ("error writing image to disk", "the line says what was in the way of the download or of the disk"),
)
_NOT_FOUND = re.compile(r"(https?://\S+|image \[?\S+\]?|/dev/\S+?)\]? not found")


@rule("image-write", Stage.RUN, FAILED, 39, link=f"{_ACTIONS} image2disk", explains=GENERIC)
def image_write(facts: Facts) -> Iterator[Sign]:
    """The image could not be written to the disk."""
    found = _said(facts, *(words for words, _ in _WRITE)) or _missing(facts)
    if found is None or (found[2].source == "agent" and found[2].has("No such image", "no space left on device")):
        return
    workflow, action, line = found
    said = [item for item in action_lines(facts, action) if item.has(*(words for words, _ in _WRITE[:-1]))]
    line = said[0] if said else line
    advice = next((step for words, step in _WRITE if line.has(words)), "there is no such image, or no such disk")
    environment = raw_action(workflow, action.name).get("environment")
    target = environment if isinstance(environment, dict) else {}
    where = f" ({target.get('IMG_URL', '?')} to {target.get('DEST_DISK', '?')})" if target else ""
    yield Sign(
        Certainty.CERTAIN,
        f"{action.name!r} could not write the image{where}",
        (Evidence.of(line),),
        remedies.show_template(facts),
        advice,
    )


def _missing(facts: Facts) -> tuple[Workflow, Action, LogLine] | None:
    found = _said(facts, " not found")
    return found if found and _NOT_FOUND.search(found[2].text) and "disk" in found[1].image else None


_NOT_READ = ("error re-probing the partitions for the specified device", "unable to re-read partition table")
_MOUNT = ("mounting block device", "error mounting [")
_MOUNT_WHY = ("no such device", "no such file or directory", "invalid argument", "unknown filesystem")


@rule(
    "partitions-not-read",
    Stage.RUN,
    FAILED,
    40,
    link="actions PR#73; vietcgi/gitops-metal-foundry 9883f09",
    explains=("wrong-partition", *GENERIC),
)
def partitions_not_read(facts: Facts) -> Iterator[Sign]:
    """The kernel did not read the new partition table."""
    own = _said(facts, *_NOT_READ)
    mount = _said(facts, *_MOUNT)
    before = facts.find(ACTION, *_NOT_READ) if mount and mount[2].has("no such") else None
    found, line = own or mount, own[2] if own else before
    if found is None or line is None:
        return
    yield Sign(
        Certainty.CERTAIN,
        f"the image was written, and the kernel still has the old partition table: {found[1].name!r} failed",
        (Evidence.of(line), *((Evidence.of(mount[2]),) if mount and not own else ())),
        remedies.show_template(facts),
        "put an action before it that runs `partprobe` on the disk (nsenter into pid 1), or write to an unmounted disk",
    )


@rule(
    "wrong-partition",
    Stage.RUN,
    FAILED,
    41,
    link="vietcgi/gitops-metal-foundry 907690c, 57591b9, bcf5cce",
    explains=GENERIC,
)
def wrong_partition(facts: Facts) -> Iterator[Sign]:
    """An action was pointed at the wrong partition or file system."""
    found = _said(facts, *_MOUNT)
    if found is None:
        return
    workflow, action, line = found
    environment = raw_action(workflow, action.name).get("environment")
    target = environment if isinstance(environment, dict) else {}
    disk, kind = target.get("DEST_DISK") or target.get("BLOCK_DEVICE") or "its device", target.get("FS_TYPE", "")
    yield Sign(
        Certainty.CERTAIN if line.has(*_MOUNT_WHY) else Certainty.LIKELY,
        f"{action.name!r} cannot mount {disk}" + (f" as {kind}" if kind else ""),
        (Evidence.of(line),),
        remedies.show_template(facts),
        "the image's root may be another partition: fdisk -l of the image says which, blkid its file system",
    )


@rule(
    "cexec-interpreter",
    Stage.RUN,
    FAILED,
    42,
    link=f"{_ACTIONS} cexec; vietcgi/gitops-metal-foundry 4f6ecd2, 06cadb6",
    explains=GENERIC,
)
def cexec_interpreter(facts: Facts) -> Iterator[Sign]:
    """cexec did not find its shell: it is not in the root file system of the new system."""
    found = _said(facts, 'unable to find the ["DEFAULT_INTERPRETER"]', "unable to find the [DEFAULT_INTERPRETER]")
    if found is None:
        return
    yield Sign(
        Certainty.CERTAIN,
        f"{found[1].name!r} found no shell where it ran: BLOCK_DEVICE is not the new system's root, or CHROOT is not y",
        (Evidence.of(found[2]),),
        remedies.show_template(facts),
        "set CHROOT: y and the right BLOCK_DEVICE and FS_TYPE; GRUB needs /dev, /proc and /sys bound there, too",
    )


_DENIED = ("cannot open /proc/1/ns", "operation not permitted", "permission denied", "/proc/1/ns")
_QUICK_SECONDS = 5.0


@rule("no-privilege", Stage.RUN, FAILED, 44, link="eksa#6196", explains=GENERIC)
def no_privilege(facts: Facts) -> Iterator[Sign]:
    """An action lacks `pid: host`, privileges or volumes."""
    found = ended_badly(facts)
    if found is None or found[1].state != "FAILED" or next(_better(facts), None):
        return
    workflow, action = found
    lacks = _lacks(raw_action(workflow, action.name), action)
    line = next((item for item in action_lines(facts, action) if item.has(*_DENIED)), None)
    quick = action.seconds is not None and action.seconds < _QUICK_SECONDS
    if not lacks or not (line or quick) or agent_error(facts, "All attempts fail", "error creating container"):
        return
    yield Sign(
        Certainty.CERTAIN if line else Certainty.LIKELY,
        f"{action.name!r} failed at once: the Template gives it no `{lacks}`",
        (
            *((Evidence.of(line),) if line else ()),
            Evidence(f"Workflow {workflow.name}", f"{action.name} has no {lacks}"),
        ),
        remedies.show_template(facts),
        f"give the action `{lacks}` in the Template, then: {remedies.provision(facts)}",
    )


def _better(facts: Facts) -> Iterator[Sign]:
    for other in (image_write, partitions_not_read, wrong_partition, cexec_interpreter):
        yield from other.check(facts)


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


RULES = (image_write, partitions_not_read, wrong_partition, cexec_interpreter, no_privilege)

"""Actions as Templates declare them and Workflows report them; and which of them ends the installer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metalfoundry.model.durations import seconds
from metalfoundry.model.foreign import number, parse_time

_WRITES = re.compile(r"2disk|rootio|writefile|syslinux|cexec")
_ZERO_TIME = "0001-01-01T00:00:00Z"
_NOT = r"(?<!no)(?<!no[-_ ])(?<!not[-_ ])(?<!skip[-_ ])(?<!without[-_ ])(?<!before[-_ ])(?<!disable[-_ ])"
_NAMED = re.compile(_NOT + r"(reboot|kexec)", re.IGNORECASE)
_RUN = re.compile(
    r"(?:^|[\s;&|(/'\"])(?:reboot|kexec|shutdown\s+(?:-\S+\s+)*-r|(?:tel)?init\s+6)(?=$|[\s;&|)'\"])"
    r"|\bsystemctl\s+(?:-\S+\s+)*(?:soft-)?reboot|\bb\b.*/proc/sysrq-trigger|/worker/reboot"
)
_INSTALLS = re.compile(r"\b(?:apt|apt-get|dnf|yum|zypper|apk)\b[^;&|]*\b(?:install|add|remove|purge)\b[^;&|]*")


def mapping(value: Any) -> Mapping[str, Any]:
    """`value` where it is a mapping, else an empty one: objects of any version are read without failing."""
    return value if isinstance(value, Mapping) else {}


def listed(value: Any) -> tuple[Any, ...]:
    """What is in a list, in order; empty where it is no list."""
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else ()


def items(value: Any) -> tuple[Mapping[str, Any], ...]:
    """The mappings of a list, in order; empty where it is no list."""
    return tuple(mapping(item) for item in listed(value))


def text(value: Any) -> str:
    """`value` as text; empty where it is absent."""
    return "" if value is None else str(value)


def state(value: Any) -> str:
    """A state without the STATE_ of the versions up to 0.12."""
    return text(value).removeprefix("STATE_")


@dataclass(frozen=True, slots=True)
class Action:
    """One action. `timeout` and `seconds` (how long it ran) in seconds; `started` is RFC 3339 by the machine's clock.

    An action of a Template has no state. None where it is not said, as `started` and `seconds` while it still runs.
    `boots`: its name, image or command reboots or kexecs. `writes`: its image is known to write the disk.
    """

    name: str
    task: str
    image: str
    state: str = ""
    timeout: float | None = None
    seconds: float | None = None
    started: str | None = None
    message: str = ""
    id: str = ""
    boots: bool = False
    writes: bool = False


def actions_of(tasks: Any) -> tuple[Action, ...]:
    """All actions of a list of tasks in order, from a Template or from the status of any version's Workflow."""
    return tuple(_action(item, text(task.get("name"))) for task in items(tasks) for item in items(task.get("actions")))


def boot_action(actions: Sequence[Action]) -> str | None:
    """The name of the last action where it reboots or kexecs: then the Workflow may never reach SUCCESS."""
    return actions[-1].name if actions and actions[-1].boots else None


def boots(action: Mapping[str, Any]) -> bool:
    """Whether this action reboots or kexecs the machine, by its name, image or command.

    waitdaemon is judged by what it wraps (its environment's IMAGE), cexec by its CMD_LINE, which is its command.
    """
    environment = mapping(action.get("environment"))
    names = [text(action.get("name")), text(action.get("image"))]
    commands = [text(environment.get("CMD_LINE"))] if "cexec" in names[1] else []
    if "waitdaemon" in names[1]:
        names.append(text(environment.get("IMAGE")))
    for key in ("command", "args"):
        commands += list(_said(action.get(key)))
    return any(_NAMED.search(name) for name in names) or any(
        _RUN.search(_INSTALLS.sub("", command)) for command in commands
    )


def _said(command: Any) -> Iterator[str]:
    if isinstance(command, str):
        yield command
    elif isinstance(command, Iterable):
        words = [text(word) for word in command]
        yield from words
        yield " ".join(words)


def _action(item: Mapping[str, Any], task: str) -> Action:
    return Action(
        name=text(item.get("name")),
        task=task,
        image=text(item.get("image")),
        state=state(item.get("state") or item.get("status")),
        timeout=number(item.get("timeout")),
        seconds=_ran(item),
        started=_time(item.get("executionStart") or item.get("startedAt")),
        message=text(item.get("message")),
        id=text(item.get("id")),
        boots=boots(item),
        writes=bool(_WRITES.search(text(item.get("image")))),
    )


def _ran(item: Mapping[str, Any]) -> float | None:
    try:
        return seconds(text(item["executionDuration"]))
    except (KeyError, ValueError):
        pass
    start, stop = parse_time(item.get("executionStart")), parse_time(item.get("executionStop"))
    if start and stop:
        return (stop - start).total_seconds()
    ended = state(item.get("status")) in {"SUCCESS", "FAILED", "TIMEOUT"}
    return number(item.get("seconds")) if ended else None


def _time(value: Any) -> str | None:
    return text(value) if value and value != _ZERO_TIME else None

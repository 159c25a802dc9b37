"""What happened, as values: runs and site emit events into a Bus (bus.py); sinks read them and never answer.

Every event travels in a Record that says when, in which run, for which server and in which phase. `to_json` is one
JSON object with `event` (the class's name) beside the event's own fields; fields are only ever added.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from metalfoundry.model import redact

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A run begins; `what` is provision, netboot.open, ...; `plan` says that it only reads."""

    what: str
    reason: str = ""
    plan: bool = False


@dataclass(frozen=True, slots=True)
class RunEnded(Event):
    """The end of every RunStarted."""

    verdict: str
    exit_code: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Resumed(Event):
    """This run takes up another one, which had `reached` that phase."""

    earlier: str
    holder: str
    since: str
    reached: str


@dataclass(frozen=True, slots=True)
class PhaseStarted(Event):
    """A phase begins to act."""

    title: str


@dataclass(frozen=True, slots=True)
class PhaseSkipped(Event):
    """A phase looked and found nothing to do."""

    title: str
    why: str


@dataclass(frozen=True, slots=True)
class PhaseEnded(Event):
    """The end of every PhaseStarted; `error` is empty when it went well. `said` is a line worth showing."""

    title: str
    seconds: float
    error: str = ""
    said: str = ""


@dataclass(frozen=True, slots=True)
class CommandStarted(Event):
    """A remote command leaves; `text` is what a person may see of it, `waiting` marks watches and probes."""

    host: str
    text: str
    effect: str
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class CommandEnded(Event):
    """The end of every CommandStarted; `exit_status` None when there was none, `error` says why."""

    host: str
    exit_status: int | None
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Retried(Event):
    """The line to `host` was lost, and is tried again in `seconds`; every run that goes over it is told."""

    host: str
    error: str
    seconds: float


@dataclass(frozen=True, slots=True)
class WorkflowChanged(Event):
    """The Workflow's state or its current action changed; state DELETED when it is gone."""

    workflow: str
    state: str
    action: str = ""
    template: str = ""


@dataclass(frozen=True, slots=True)
class ActionStarted(Event):
    """An action was first seen running; `index` counts from 1; `timeout` in seconds as in the Template."""

    action: str
    index: int
    total: int
    timeout: float


@dataclass(frozen=True, slots=True)
class ActionEnded(Event):
    """The end of every ActionStarted: state SUCCESS, FAILED, TIMEOUT, or LEFT when we stopped looking."""

    action: str
    index: int
    state: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ClaimChanged(Event):
    """The claim was taken, taken over, lost or given back."""

    state: str
    holder: str = ""


@dataclass(frozen=True, slots=True)
class LeaseExtended(Event):
    """The claim, and with it an open window, now lasts until `expires`."""

    expires: str


@dataclass(frozen=True, slots=True)
class WindowChanged(Event):
    """Netboot was opened or closed, or opened by somebody else; `proof` is what was read afterwards."""

    state: str
    why: str = ""
    proof: str = ""
    expires: str = ""


@dataclass(frozen=True, slots=True)
class WindowUnsafe(Event):
    """Netboot could not be confirmed closed, for this reason; `command` closes it by hand."""

    why: str
    command: str


@dataclass(frozen=True, slots=True)
class GuardChanged(Event):
    """A guard has acknowledged the claim: it closes netboot without us; `where` is its name."""

    state: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class MachineSeen(Event):
    """What the machine is now, in words, with its boot id where it told one."""

    system: str
    boot_id: str = ""


@dataclass(frozen=True, slots=True)
class HookStarted(Event):
    """One of the operator's own commands begins, on this computer."""

    hook: str


@dataclass(frozen=True, slots=True)
class HookEnded(Event):
    """The end of every HookStarted; `exit_status` None when it had to be ended, `error` empty when it went well."""

    hook: str
    exit_status: int | None
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """A line for the operator; `level` is info or warning."""

    text: str
    level: str = "info"


@dataclass(frozen=True, slots=True)
class Record:
    """An event with its when and where."""

    time: datetime
    event: Event
    run: str = ""
    server: str = ""
    phase: str = ""

    def to_json(self) -> dict[str, Any]:
        """A JSON-able object, without secrets."""
        return redact.data(self._whole())  # type: ignore[no-any-return]

    def _whole(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "time": self.time.isoformat(timespec="milliseconds"),
            "run": self.run,
            "server": self.server,
            "phase": self.phase,
            "event": type(self.event).__name__,
            **asdict(self.event),
        }

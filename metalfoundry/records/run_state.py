"""A run as its records tell it: phases, actions, windows, machines. The report, the live view, the timeline and the
page are made of this.

Nothing is made up: what no record has said is empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any

from metalfoundry.model import events
from metalfoundry.model.events import (
    ActionEnded,
    ActionStarted,
    CommandStarted,
    Event,
    LeaseExtended,
    MachineSeen,
    Notice,
    PhaseEnded,
    PhaseSkipped,
    PhaseStarted,
    Record,
    Resumed,
    RunEnded,
    RunStarted,
    WindowChanged,
    WorkflowChanged,
)
from metalfoundry.model.foreign import parse_time
from metalfoundry.model.states import WindowState

RUNNING, DONE, SKIPPED, FAILED, LEFT = "running", "done", "skipped", "failed", "left"


@dataclass
class Step:
    """A phase or an action. `ended` is None while it runs, `took` the seconds that its end told; `limit` is an action's
    timeout in seconds, 0 for none.
    """

    title: str
    started: datetime
    ended: datetime | None = None
    outcome: str = RUNNING
    said: str = ""
    index: int = 0
    total: int = 0
    limit: float = 0.0
    took: float | None = None

    def seconds(self, now: datetime) -> float:
        """How long it took, or has taken up to `now`."""
        return max(0.0, ((self.ended or now) - self.started).total_seconds())

    def phase_json(self) -> dict[str, Any]:
        """A phase that has ended, as it stands in a report."""
        return {"title": self.title, "outcome": self.outcome, "said": self.said, "seconds": round(self.took or 0.0, 3)}

    def action_json(self) -> dict[str, Any]:
        """An action as it stands in a report; `seconds` is None while it runs."""
        return {
            "name": self.title,
            "index": self.index,
            "total": self.total,
            "timeout": self.limit,
            "state": self.said or "RUNNING",
            "started": self.started.isoformat(timespec="milliseconds"),
            "seconds": None if self.took is None else round(self.took, 3),
        }

    @property
    def label(self) -> str:
        """Its title, with an action's place."""
        return f"{self.index}/{self.total} {self.title}" if self.total else self.title


@dataclass
class Story:
    """One run on one server. `windows` are the times netboot was open; `netboot` is "", "open" or "closed"."""

    run: str
    server: str
    what: str = ""
    reason: str = ""
    started: datetime | None = None
    latest: datetime | None = None
    end: RunEnded | None = None
    earlier: str = ""
    workflow: str = ""
    template: str = ""
    state: str = ""
    netboot: str = ""
    expires: str = ""
    phases: list[Step] = field(default_factory=list)
    actions: list[Step] = field(default_factory=list)
    windows: list[Step] = field(default_factory=list)
    changes: list[Record] = field(default_factory=list)
    machines: list[Record] = field(default_factory=list)
    notices: list[Record] = field(default_factory=list)
    commands: list[Record] = field(default_factory=list)

    def __call__(self, record: Record) -> None:
        """As a sink: take what is of this run."""
        if record.run == self.run:
            self.take(record)

    def take(self, record: Record) -> None:
        """Take in one record of this run, in the order of time, which counts in milliseconds as in the journal."""
        record = replace(record, time=record.time.replace(microsecond=record.time.microsecond // 1000 * 1000))
        self.started = self.started or record.time
        self.latest = max(self.latest or record.time, record.time)
        event = record.event
        match event:
            case PhaseStarted() | PhaseEnded() | PhaseSkipped():
                self._phase(record.time, event)
            case ActionStarted() | ActionEnded():
                self._action(record.time, event)
            case WindowChanged():
                self._window(record, event)
            case LeaseExtended(expires=expires) if self.netboot == "open":
                self.expires = expires
            case MachineSeen():
                self.machines.append(record)
            case Notice():
                self.notices.append(record)
            case CommandStarted():
                self.commands.append(record)
            case RunStarted(what=what, reason=reason):
                self.what, self.reason = what, reason
            case RunEnded():
                self.end = event
            case Resumed(earlier=earlier):
                self.earlier = earlier
            case WorkflowChanged(workflow=workflow, state=state, template=template):
                self.workflow, self.state, self.template = workflow, state, template or self.template

    def to_json(self) -> dict[str, Any]:
        """The phases that have ended and the actions that were begun, as they stand in a report."""
        return {
            "phases": [step.phase_json() for step in self.phases if step.outcome != RUNNING],
            "actions": [step.action_json() for step in self.actions],
        }

    @property
    def phase(self) -> Step | None:
        """The phase that runs."""
        return next((step for step in reversed(self.phases) if step.outcome == RUNNING), None)

    @property
    def action(self) -> Step | None:
        """The action that runs, else the last that ran."""
        steps = [step for step in self.actions if step.outcome == RUNNING] or self.actions
        return steps[-1] if steps else None

    @property
    def failed(self) -> Step | None:
        """The phase that ended with an error."""
        return next((step for step in self.phases if step.outcome == FAILED), None)

    @property
    def verdict(self) -> str:
        """As in the report; "" without an end."""
        return self.end.verdict if self.end is not None else ""

    def seconds(self, now: datetime) -> float:
        """The whole run, or what has passed of it up to `now`."""
        if self.end is not None:
            return self.end.seconds
        return max(0.0, (now - self.started).total_seconds()) if self.started else 0.0

    def _phase(self, time: datetime, event: PhaseStarted | PhaseEnded | PhaseSkipped) -> None:
        if isinstance(event, PhaseStarted):
            self.phases.append(Step(event.title, time))
        elif isinstance(event, PhaseSkipped):
            self.phases.append(Step(event.title, time, time, SKIPPED, event.why))
        else:
            step = self._running(self.phases, event.title) or self._begun(self.phases, event.title, time, event.seconds)
            step.ended, step.outcome = time, FAILED if event.error else DONE
            step.said, step.took = event.error or event.said, event.seconds

    def _action(self, time: datetime, event: ActionStarted | ActionEnded) -> None:
        if isinstance(event, ActionStarted):
            step = Step(event.action, time, index=event.index, total=event.total, limit=event.timeout)
            self.actions.append(step)
            return
        found = self._running(self.actions, event.action, event.index)
        step = found or self._begun(self.actions, event.action, time, event.seconds)
        step.ended, step.said, step.took = time, event.state, event.seconds
        step.outcome = {"SUCCESS": DONE, "LEFT": LEFT}.get(event.state, FAILED)

    def _window(self, record: Record, event: WindowChanged) -> None:
        self.changes.append(record)
        opens = event.state != WindowState.CLOSED
        self.netboot = "open" if opens else "closed"
        self.expires = event.expires if opens else ""
        running = self._running(self.windows, "netboot open")
        if opens and running is None:
            self.windows.append(Step("netboot open", record.time, said=event.state))
        elif not opens and running is not None:
            running.ended, running.outcome, running.said = record.time, DONE, event.why

    @staticmethod
    def _running(steps: list[Step], title: str, index: int = 0) -> Step | None:
        of_title = (step for step in reversed(steps) if step.title == title and step.outcome == RUNNING)
        return next((step for step in of_title if not index or step.index == index), None)

    @staticmethod
    def _begun(steps: list[Step], title: str, ended: datetime, seconds: float) -> Step:
        """A step whose start was not seen."""
        steps.append(Step(title, ended - timedelta(seconds=seconds)))
        return steps[-1]


def told(records: Iterable[Record]) -> Story:
    """The story of one run's records."""
    story = Story("", "")
    for record in records:
        story.run, story.server = story.run or record.run, story.server or record.server
        story.take(record)
    return story


def record_of(line: Mapping[str, Any]) -> Record | None:
    """A record from its JSON form; None for an event that this version does not know, or that is no event."""
    kind = getattr(events, str(line.get("event")), None)
    if not (isinstance(kind, type) and issubclass(kind, Event)):
        return None
    known = {one.name for one in fields(kind)}
    try:
        event = kind(**{key: value for key, value in line.items() if key in known})
    except TypeError:
        return None
    time = parse_time(line.get("time"))
    return Record(time, event, *(str(line.get(key, "")) for key in ("run", "server", "phase"))) if time else None

"""Turns what a watch shows of a Workflow into events and a timeline, by our own clock.

The Workflow's own times are the machine's, whose clock may be wrong, and while an action runs they are absent.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from metalfoundry.model.bus import Bus
from metalfoundry.model.events import ActionEnded, ActionStarted, WorkflowChanged
from metalfoundry.model.resources import Workflow
from metalfoundry.transport.clock import Clock

UNRUN = ("", "PREPARING", "PENDING")
ENDED = ("SUCCESS", "FAILED", "TIMEOUT")


@dataclass
class ActionSeen:
    """One action as we saw it; `seconds` by our clock, None while it runs or when it never did."""

    name: str
    index: int
    timeout: float
    state: str = "PENDING"
    first_seen: float | None = None
    seconds: float | None = None


@dataclass
class Progress:
    """The newest Workflow and the timeline of its actions."""

    bus: Bus
    clock: Clock
    workflow: Workflow | None = None
    actions: list[ActionSeen] = field(default_factory=list)
    ran: bool = False

    def take(self, workflow: Workflow) -> None:
        """Take in one state of the Workflow and emit what is new in it."""
        before, self.workflow = self.workflow, workflow
        reported = workflow.state in ("RUNNING", "POST", "SUCCESS")
        self.ran = self.ran or reported or (workflow.finished and workflow.has_run)
        action = workflow.current.name if workflow.current else ""
        if before is None or (before.state, before.current) != (workflow.state, workflow.current):
            self.bus.emit(WorkflowChanged(workflow.name, workflow.state, action, workflow.template_ref))
        if len(self.actions) != len(workflow.actions):
            self.actions = [
                ActionSeen(one.name, index, one.timeout or 0.0) for index, one in enumerate(workflow.actions, 1)
            ]
        for seen, now in zip(self.actions, workflow.actions, strict=True):
            self._advance(seen, now.state)

    def stop(self) -> None:
        """End what is still running, because nobody looks any longer."""
        for seen in self.actions:
            if seen.first_seen is not None and seen.seconds is None:
                self._end(seen, "LEFT")

    def disk(self, proven: bool = False) -> str:
        """What is on the disk when a run ends now, in words; empty where no action was begun.

        `proven`: the new system was seen running.
        """
        begun = [action for action in self.actions if action.state not in ("", "PENDING")]
        if self.workflow is None or not begun:
            return ""
        if proven:
            return "the disk holds the new system, which was seen running"
        last, state = begun[-1], self.workflow.state
        done = any(action.writes and action.state == "SUCCESS" for action in self.workflow.actions)
        written = f"the disk {'has' if done else 'may have'} been written: {last.name!r} had it last ({last.state})"
        if state == "SUCCESS":
            return f"{written}, the machine boots what is on it"
        if state == "FAILED":
            return f"{written}, and what is on it may be half a system"
        return f"{written}, and HookOS may go on without us: it writes on, and reboots by itself"

    def _advance(self, seen: ActionSeen, state: str) -> None:
        if state == seen.state or state == "PENDING":
            return
        if seen.first_seen is None:
            seen.first_seen = self.clock.now().mono
            self.bus.emit(ActionStarted(seen.name, seen.index, len(self.actions), seen.timeout))
        if state in ENDED and seen.seconds is None:
            self._end(seen, state)
        seen.state = state

    def _end(self, seen: ActionSeen, state: str) -> None:
        seen.seconds = self.clock.now().mono - (seen.first_seen or 0.0)
        self.bus.emit(ActionEnded(seen.name, seen.index, state, seen.seconds))

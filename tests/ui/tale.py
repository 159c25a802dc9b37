"""Runs made of records at fixed times, for tests of what shows them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from metalfoundry.model.events import (
    ActionEnded,
    ActionStarted,
    CommandStarted,
    Event,
    MachineSeen,
    Notice,
    PhaseEnded,
    PhaseSkipped,
    PhaseStarted,
    Record,
    RunEnded,
    RunStarted,
    WindowChanged,
    WorkflowChanged,
)

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EXPIRES = "2026-01-02T03:14:05Z"


@dataclass
class Tale:
    """Tells a run event by event; `passed` moves its clock."""

    server: str = "anvil"
    now: datetime = START
    phase: str = ""
    records: list[Record] = field(default_factory=list)

    @property
    def run(self) -> str:
        return f"20260102T030405Z-{self.server}-00c0ffee"

    def passed(self, seconds: float) -> Tale:
        self.now += timedelta(seconds=seconds)
        return self

    def said(self, *events: Event) -> Tale:
        self.records += [Record(self.now, event, self.run, self.server, self.phase) for event in events]
        return self

    def did(self, title: str, seconds: float, *events: Event, error: str = "", said: str = "") -> Tale:
        """A whole phase, with `events` at its end."""
        self.phase = title
        self.said(PhaseStarted(title)).passed(seconds).said(*events, PhaseEnded(title, seconds, error, said))
        self.phase = ""
        return self


def to_install(server: str = "anvil", reason: str = "new disk") -> Tale:
    """A run up to the start of its first action's work, 100 s after its start."""
    tale = Tale(server).said(RunStarted("provision", reason))
    tale.did("Preflight", 2, CommandStarted("jump", "kubectl get", "read"), MachineSeen("Debian 11", "b-1"))
    tale.did("Claim", 1).said(PhaseSkipped("Clean up", "nothing old"))
    tale.did("Apply", 1, WorkflowChanged("w", "PENDING", template="ubuntu-2404"))
    tale.did("Open", 1, WindowChanged("open", proof="Smee serves the installer", expires=EXPIRES))
    tale.did("Boot", 90, ActionStarted("stream-image", 1, 2, 300.0), said="the installer runs")
    tale.did("Close", 1, WindowChanged("closed", why="the installer runs", proof="allowPXE false"))
    tale.phase = "Install"
    return tale.said(PhaseStarted("Install")).passed(4)


def provisioned(server: str = "anvil") -> Tale:
    """A whole run that went well, 300 s long."""
    tale = to_install(server).passed(80)
    tale.said(ActionEnded("stream-image", 1, "SUCCESS", 85.0), ActionStarted("write-netplan", 2, 2, 90.0)).passed(20)
    tale.said(ActionEnded("write-netplan", 2, "SUCCESS", 20.0), PhaseEnded("Install", 104.0, said="SUCCESS, 2 actions"))
    tale.did("Verify", 99, MachineSeen("Ubuntu 24.04", "b-2"), said="Ubuntu 24.04")
    return tale.did("Release", 1).said(RunEnded("provisioned", 0, 300.0))


def failed(server: str = "anvil", words: str = "the Workflow failed at action stream-image") -> Tale:
    """A run that fails in its first action."""
    tale = to_install(server).said(ActionEnded("stream-image", 1, "FAILED", 5.0), PhaseEnded("Install", 4.0, words))
    tale.phase = ""
    return tale.said(Notice(f"undo: {words}", "warning")).passed(1).said(RunEnded("failed", 31, 101.0))


def last(records: Iterable[Record]) -> datetime:
    return max(record.time for record in records)

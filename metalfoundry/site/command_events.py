"""Emits CommandStarted and CommandEnded for every command."""

from __future__ import annotations

from dataclasses import dataclass

from metalfoundry.commands.command import Command
from metalfoundry.model.bus import Bus
from metalfoundry.model.events import CommandEnded, CommandStarted
from metalfoundry.model.hosts import Host
from metalfoundry.model.redact import hide
from metalfoundry.transport.base import Result


@dataclass(frozen=True, slots=True)
class CommandEvents:
    """An Observer of transport/gates.py; `waiting` marks commands that only wait for something."""

    bus: Bus
    waiting: bool = False

    def started(self, host: Host, command: Command, follows: bool) -> None:
        """A command leaves; one that is followed waits by its nature."""
        self.bus.emit(CommandStarted(host.name, command.shown, command.effect.value, self.waiting or follows))

    def ended(self, host: Host, command: Command, outcome: Result | BaseException | None, seconds: float) -> None:
        """It is over: with its result, with what was raised, or with nothing for a followed one."""
        status = outcome.exit_status if isinstance(outcome, Result) else None
        error = hide(str(outcome) or repr(outcome), command.secrets) if isinstance(outcome, BaseException) else ""
        self.bus.emit(CommandEnded(host.name, status, seconds, error))

"""A transport that tells the bus what it carries: every command has a start and an end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from metalfoundry.commands.base import Command, hide
from metalfoundry.model.events import Bus, CommandEnded, CommandStarted
from metalfoundry.model.hosts import Host, ServerKey
from metalfoundry.transport.base import Result, Transport
from metalfoundry.transport.clock import Clock, Deadline


@dataclass(frozen=True)
class Telling:
    """Wraps a Transport; `waiting` marks commands that only wait for something (watches, looks)."""

    inner: Transport
    bus: Bus
    clock: Clock
    waiting: bool = False

    def on(self, bus: Bus) -> Telling:
        """The same, told to another bus."""
        return replace(self, bus=bus)

    def run(self, host: Host, command: Command, deadline: Deadline) -> Result:
        """As Transport.run."""
        started = self._start(host, command, self.waiting)
        status, error = None, "interrupted"
        try:
            result = self.inner.run(host, command, deadline)
            status, error = result.exit_status, ""
            return result
        except Exception as problem:
            error = hide(str(problem), command.secrets)
            raise
        finally:
            self._end(host, started, status, error)

    def follow(self, host: Host, command: Command, deadline: Deadline, tick: float = 1.0) -> Iterator[str | None]:
        """As Transport.follow; a followed command is one that waits."""
        started = self._start(host, command, True)
        error = ""
        try:
            yield from self.inner.follow(host, command, deadline, tick)
        except Exception as problem:
            error = hide(str(problem), command.secrets)
            raise
        finally:
            self._end(host, started, None, error)

    def presented(self, host: Host) -> ServerKey | None:
        """As Transport.presented."""
        return self.inner.presented(host)

    def disconnect(self, host: Host) -> None:
        """As Transport.disconnect."""
        self.inner.disconnect(host)

    def close(self) -> None:
        """As Transport.close."""
        self.inner.close()

    def _start(self, host: Host, command: Command, waiting: bool) -> float:
        self.bus.emit(CommandStarted(host.name, command.shown, command.effect.value, waiting))
        return self.clock.now().mono

    def _end(self, host: Host, started: float, status: int | None, error: str) -> None:
        self.bus.emit(CommandEnded(host.name, status, self.clock.now().mono - started, error))

"""Gates before a transport: what may be said is decided here, and everything said is seen here."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Protocol

from metalfoundry.commands.command import Command, Effect
from metalfoundry.model.errors import GateClosed
from metalfoundry.model.hosts import Host
from metalfoundry.transport.base import Result, Transport, Wrapped
from metalfoundry.transport.clock import Cancel, Clock, Deadline


class Gate(Protocol):
    """Judges a command before it is sent."""

    def check(self, host: Host, command: Command) -> None:
        """Return to let it pass; raise GateClosed (or another error of the tree) to refuse it."""


class Observer(Protocol):
    """Sees every command that passed the gates, from the thread that runs it."""

    def started(self, host: Host, command: Command, follows: bool) -> None:
        """It is about to be sent; `follows`: by `follow`, to be read as it comes."""

    def ended(self, host: Host, command: Command, outcome: Result | BaseException | None, seconds: float) -> None:
        """It is over: with its Result, with what was raised, or with None for a followed command that ended."""


class PlanGate:
    """Plan mode: reads only. Refuses every WRITE and RESTORE, and keeps what would have been said in `said`."""

    def __init__(self) -> None:
        self.said: list[tuple[Host, Command]] = []
        self._lock = threading.Lock()

    def check(self, host: Host, command: Command) -> None:
        """Raise GateClosed for anything but a READ."""
        if command.effect is Effect.READ:
            return
        with self._lock:
            self.said.append((host, command))
        raise GateClosed("plan mode changes nothing", where=f"{host.name}: {command.shown}", next="run without --plan")


class CancelGate:
    """Ends whoever says anything once `cancel` is set. After it was heeded every WRITE is refused; READ and RESTORE
    pass, since the way back must stay open.
    """

    def __init__(self, cancel: Cancel) -> None:
        self._cancel = cancel

    def check(self, host: Host, command: Command) -> None:
        """Raise Cancelled when the cancel is set, GateClosed for a WRITE after that."""
        self._cancel.check()
        if command.effect is Effect.WRITE and self._cancel.reason:
            raise GateClosed(f"cancelled: {self._cancel.reason}", where=f"{host.name}: {command.shown}")


class Gated(Wrapped):
    """A Transport behind gates: all of them are asked, in order, before a command goes to `inner`."""

    def __init__(self, inner: Transport, gates: Sequence[Gate], clock: Clock, observer: Observer | None = None) -> None:
        super().__init__(inner)
        self._gates, self._clock, self._observer = tuple(gates), clock, observer

    def with_gate(self, gate: Gate) -> Gated:
        """The same transport with one gate more."""
        return Gated(self._inner, (*self._gates, gate), self._clock, self._observer)

    def observed(self, observer: Observer) -> Gated:
        """The same transport and gates, seen by `observer` instead."""
        return Gated(self._inner, self._gates, self._clock, observer)

    def run(self, host: Host, command: Command, deadline: Deadline) -> Result:
        """As Transport.run, if every gate lets it pass."""
        begun = self._enter(host, command, False)
        outcome: Result | BaseException | None = None
        try:
            outcome = self._inner.run(host, command, deadline)
            return outcome
        except BaseException as exc:
            outcome = exc
            raise
        finally:
            self._leave(host, command, outcome, begun)

    def follow(self, host: Host, command: Command, deadline: Deadline, tick: float = 1.0) -> Iterator[str | None]:
        """As Transport.follow, if every gate lets it pass."""
        begun = self._enter(host, command, True)
        outcome: BaseException | None = None
        try:
            yield from self._inner.follow(host, command, deadline, tick)
        except GeneratorExit:
            raise
        except BaseException as exc:
            outcome = exc
            raise
        finally:
            self._leave(host, command, outcome, begun)

    def _enter(self, host: Host, command: Command, follows: bool) -> float:
        for gate in self._gates:
            gate.check(host, command)
        if self._observer:
            self._observer.started(host, command, follows)
        return self._clock.now().mono

    def _leave(self, host: Host, command: Command, outcome: Result | BaseException | None, begun: float) -> None:
        if self._observer:
            self._observer.ended(host, command, outcome, self._clock.now().mono - begun)

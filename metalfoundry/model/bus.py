"""The way of an event from whoever emits it to every sink."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from metalfoundry.model.events import Event, Record


class Sink(Protocol):
    """Reads records; whatever it raises ends the sink, not the run (but for an interrupt, which is the operator's)."""

    def __call__(self, record: Record) -> None:
        """Take one record."""


@dataclass(frozen=True, slots=True)
class Bus:
    """Where events fall. `scoped` gives a bus that fills in run, server or phase; sinks are shared by all, and so is
    the phase that a run has entered. Events of several threads take turns: all sinks see them in one order."""

    now: Callable[[], datetime]
    sinks: list[Sink] = field(default_factory=list)
    run: str = ""
    server: str = ""
    phase: str = ""
    entered: dict[str, tuple[str, str]] = field(default_factory=dict)
    turn: AbstractContextManager[object] = field(default_factory=threading.RLock)

    def enter(self, phase: str) -> None:
        """From now on every record of this run is of `phase`, whichever bus it comes by; "" for none."""
        with self.turn:
            self.entered[self.run] = (self.server, phase)

    def scoped(self, *, run: str | None = None, server: str | None = None, phase: str | None = None) -> Bus:
        """The same bus with other `run`, `server` or `phase`; None leaves one as it is."""
        return replace(
            self,
            run=self.run if run is None else run,
            server=self.server if server is None else server,
            phase=self.phase if phase is None else phase,
        )

    def broadcast(self, event: Event, server: str = "") -> None:
        """Hand `event` over once for every run that is in a phase (of `server` only, where one is named); where there
        is none, once without a run.
        """
        with self.turn:  # no run ends between the look and the word
            live = [(run, own) for run, (own, phase) in list(self.entered.items()) if phase and server in ("", own)]
            for run, own in live or [(self.run, server)]:
                self.scoped(run=run, server=own).emit(event)

    def emit(self, event: Event) -> None:
        """Hand `event` to every sink; a sink that raises is dropped and logged once. An interrupt comes out when all
        have had it.
        """
        interrupt: KeyboardInterrupt | None = None
        with self.turn:
            place = self.phase or self.entered.get(self.run, ("", ""))[1]
            record = Record(self.now(), event, self.run, self.server, place)
            for sink in list(self.sinks):
                try:
                    sink(record)
                except KeyboardInterrupt as error:
                    interrupt = interrupt or error
                except BaseException as error:  # noqa: BLE001 - not even an exit may end a run that holds a window open
                    logging.getLogger(__name__).warning("a sink of events failed and is dropped: %r", error)
                    self.drop(sink)
        if interrupt is not None:
            raise interrupt

    def add(self, *sinks: Sink) -> None:
        """From now on these hear everything, too."""
        with self.turn:  # else `drop`, called by another run, might lose them
            self.sinks.extend(sinks)

    def drop(self, *sinks: Sink) -> None:
        """From now on these hear nothing; one that was dropped already is fine."""
        with self.turn:
            self.sinks[:] = [sink for sink in self.sinks if not any(sink is gone for gone in sinks)]

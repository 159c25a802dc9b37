"""Phases in order, with an undo for everything that was begun. Knows nothing of Tinkerbell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from metalfoundry.model.bus import Bus
from metalfoundry.model.errors import Cancelled, Interrupted, MetalfoundryError, Terminated, UnsafeError
from metalfoundry.model.events import Notice, PhaseEnded, PhaseSkipped, PhaseStarted
from metalfoundry.transport.clock import Cancel, Clock


@dataclass(frozen=True, slots=True)
class Needed:
    """Whether a phase has something to do, and why (not)."""

    yes: bool
    why: str = ""


NEEDED = Needed(True)


@dataclass
class Run:
    """One run: its id, its doors, what may cancel it, and the undo stack. A subclass adds what its phases share.

    `failed`: what ended it, from the moment that the taking back begins.
    """

    id: str
    bus: Bus
    clock: Clock
    cancel: Cancel = field(default_factory=Cancel)
    said: str = ""
    failed: BaseException | None = None
    _undo: list[tuple[str, Callable[[], object]]] = field(default_factory=list)

    def failed_as(self, kind: type[MetalfoundryError], error: MetalfoundryError) -> MetalfoundryError:
        """What an error of a phase whose `failure` is `kind` becomes; itself, unless a subclass knows better."""
        return error

    def undo(self, name: str, action: Callable[[], object]) -> None:
        """Make `action` ready for the case that the run fails; called before the deed that it takes back."""
        self._undo.append((name, action))

    def say(self, text: str) -> None:
        """The line that the end of the present phase shows."""
        self.said = text

    def unwind(self) -> list[tuple[str, BaseException]]:
        """Take back what was done, the last first; one that fails is reported and the rest still run.

        A second interrupt gets through at once. A cancel does not: it asks for what is being done.
        """
        self.cancel.heed()
        failed: list[tuple[str, BaseException]] = []
        while self._undo:
            name, action = self._undo.pop()
            try:
                action()
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - collected, and the worst of them is raised by `execute`
                failed.append((name, error))
                self.bus.emit(Notice(f"could not {name}: {error}", "warning"))
        return failed


R = TypeVar("R", bound=Run, contravariant=True)


class Phase(Protocol[R]):
    """One step of a run: first it looks, then it acts. Starting again continues where the world stands."""

    title: str

    @property
    def failure(self) -> type[MetalfoundryError]:
        """What an error of this phase is that has no exit code of its own; Run.failed_as decides which those are."""

    def needed(self, run: R) -> Needed:
        """Look, without writing anything."""

    def act(self, run: R) -> None:
        """Do it; `run.undo` is called before each deed."""


def execute(run: R, phases: Sequence[Phase[R]]) -> None:
    """Run `phases` in order. On any ending but success the undo stack is unwound first, on Ctrl-C as well.

    Raises what a phase raised, Interrupted for Ctrl-C or a cancel, and UnsafeError instead of either when an undo ended
    unsafe. The run went well only where this returns.
    """
    try:
        for phase in phases:
            _one(run, phase)
    except BaseException as error:
        run.failed = _interrupted(error) if isinstance(error, KeyboardInterrupt) else error
        failed = run.unwind()
        unsafe = next((problem for _, problem in failed if isinstance(problem, UnsafeError)), None)
        if unsafe is not None:
            raise unsafe from error
        if run.failed is not error:
            raise run.failed from error
        raise


def _interrupted(error: KeyboardInterrupt) -> Interrupted:
    number = error.signal if isinstance(error, Terminated) else 2
    what = f"cancelled: {error.reason}" if isinstance(error, Cancelled) else "interrupted"
    return Interrupted(what, next="run it again: it goes on from what is there", signal=number)


def _one(run: R, phase: Phase[R]) -> None:
    run.bus.enter(phase.title)
    started = run.clock.now().mono
    run.said = ""
    begun, problem = False, "interrupted"
    try:
        needed = phase.needed(run)
        if not needed.yes:
            run.bus.emit(PhaseSkipped(phase.title, needed.why))
            return
        begun = True
        run.bus.emit(PhaseStarted(phase.title))
        phase.act(run)
        problem = ""
    except MetalfoundryError as error:
        problem = error.what
        named = run.failed_as(phase.failure, error)
        if named is error:
            raise
        raise named from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        problem = repr(error)
        raise
    finally:
        if begun:
            run.bus.emit(PhaseEnded(phase.title, run.clock.now().mono - started, problem, run.said))
        run.bus.enter("")

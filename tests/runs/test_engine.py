from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from metalfoundry.model.bus import Bus
from metalfoundry.model.errors import (
    Interrupted,
    MetalfoundryError,
    PreflightError,
    Terminated,
    UnsafeError,
    WorkflowFailed,
)
from metalfoundry.model.events import Event, Notice, PhaseEnded, PhaseSkipped, PhaseStarted, Record
from metalfoundry.runs.engine import NEEDED, Needed, Run, execute
from metalfoundry.transport.clock import FakeClock


class Logged(Run):
    """A run with what happened, in order."""

    lines: list[str]


@dataclass
class Toy:
    """A phase that does what it is told."""

    title: str
    deed: Callable[[Logged], None] = lambda run: None
    look: Callable[[], Needed] = lambda: NEEDED
    failure: type[MetalfoundryError] = MetalfoundryError

    def needed(self, run: Logged) -> Needed:
        return self.look()

    def act(self, run: Logged) -> None:
        run.lines.append(self.title)
        self.deed(run)


class Case:
    """A run over toys, and what came of it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.records: list[Record] = []
        bus = Bus(lambda: self.clock.now().wall, [self], run="r1")
        self.run = Logged("r1", bus, self.clock)
        self.run.lines = []

    def __call__(self, record: Record) -> None:
        self.records.append(record)

    def execute(self, *phases: Toy) -> BaseException | None:
        try:
            execute(self.run, phases)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the test judges it
            return error
        return None

    @property
    def events(self) -> list[Event]:
        return [record.event for record in self.records]

    @property
    def lines(self) -> list[str]:
        return self.run.lines


def undoing(name: str, error: BaseException | None = None, then: BaseException | None = None) -> Toy:
    """A phase with an undo that may raise `error`; its deed may raise `then`."""

    def deed(run: Logged) -> None:
        def undo() -> None:
            run.lines.append(f"undo {name}")
            if error is not None:
                raise error

        run.undo(f"take back {name}", undo)
        if then is not None:
            raise then

    return Toy(name, deed)


def every_start_has_its_end(case: Case) -> bool:
    titles = [
        (type(event).__name__, event.title) for event in case.events if isinstance(event, (PhaseStarted, PhaseEnded))
    ]
    started = [title for kind, title in titles if kind == "PhaseStarted"]
    return titles == [(kind, title) for title in started for kind in ("PhaseStarted", "PhaseEnded")]


def test_phases_run_in_order_and_nothing_is_undone_when_all_is_well() -> None:
    case = Case()
    assert case.execute(undoing("one"), undoing("two"), Toy("three")) is None
    assert case.lines == ["one", "two", "three"]
    assert every_start_has_its_end(case)


def test_a_phase_that_is_not_needed_is_skipped_with_its_reason() -> None:
    case = Case()
    case.execute(Toy("one", look=lambda: Needed(False, "it is there")), Toy("two"))
    assert case.lines == ["two"]
    assert case.events[0] == PhaseSkipped("one", "it is there")
    assert every_start_has_its_end(case)


def test_the_end_of_a_phase_says_how_long_it_took_and_what_it_said() -> None:
    case = Case()

    def deed(run: Logged) -> None:
        case.clock.advance(2.5)
        run.say("done well")

    case.execute(Toy("one", deed), Toy("two"))
    assert case.events[1] == PhaseEnded("one", 2.5, "", "done well")
    assert case.events[3] == PhaseEnded("two", 0.0, "", "")
    assert [record.phase for record in case.records] == ["one", "one", "two", "two"]


def test_what_falls_into_a_bus_of_the_same_run_is_of_the_phase_too() -> None:
    case = Case()
    other = case.run.bus.scoped(server="anvil")
    stranger = case.run.bus.scoped(run="r2")

    def deed(run: Logged) -> None:
        other.emit(Notice("ours"))
        stranger.emit(Notice("theirs"))

    case.execute(Toy("one", deed))
    other.emit(Notice("after"))
    said = {record.event.text: record.phase for record in case.records if isinstance(record.event, Notice)}
    assert said == {"ours": "one", "theirs": "", "after": ""}


def test_a_failure_undoes_the_last_first_and_comes_out_as_it_is() -> None:
    case = Case()
    failure = WorkflowFailed("it failed")
    assert case.execute(undoing("one"), undoing("two"), undoing("three", then=failure), Toy("four")) is failure
    assert case.lines == ["one", "two", "three", "undo three", "undo two", "undo one"]
    assert every_start_has_its_end(case)
    ends = [event.error for event in case.events if isinstance(event, PhaseEnded)]
    assert ends == ["", "", "it failed"]


def test_a_failing_look_undoes_too() -> None:
    case = Case()

    def look() -> Needed:
        raise PreflightError("cannot look")

    assert isinstance(case.execute(undoing("one"), Toy("two", look=look)), PreflightError)
    assert case.lines == ["one", "undo one"]


def test_a_failing_undo_is_reported_and_the_rest_still_run() -> None:
    case = Case()
    failure = WorkflowFailed("it failed")
    raised = case.execute(undoing("one"), undoing("two", RuntimeError("stuck")), undoing("three", then=failure))
    assert raised is failure
    assert case.lines[-3:] == ["undo three", "undo two", "undo one"]
    assert Notice("could not take back two: stuck", "warning") in case.events


def test_unsafe_wins_over_the_first_failure() -> None:
    case = Case()
    unsafe = UnsafeError("open")
    raised = case.execute(undoing("one", RuntimeError("also")), undoing("two", unsafe, then=WorkflowFailed("first")))
    assert raised is unsafe
    assert isinstance(raised.__cause__, WorkflowFailed)


@pytest.mark.parametrize(("signal", "code"), [(KeyboardInterrupt(), 130), (Terminated(15), 143), (Terminated(1), 129)])
def test_an_interrupt_undoes_and_becomes_its_exit_code(signal: KeyboardInterrupt, code: int) -> None:
    case = Case()
    raised = case.execute(undoing("one"), undoing("two", then=signal), Toy("three"))
    assert isinstance(raised, Interrupted)
    assert raised.exit_code == code
    assert case.lines == ["one", "two", "undo two", "undo one"]
    assert every_start_has_its_end(case)
    assert [event.error for event in case.events if isinstance(event, PhaseEnded)] == ["", "interrupted"]


def test_a_cancel_undoes_and_the_undo_is_not_cut_short() -> None:
    case, passed = Case(), list[bool]()

    def deed(run: Logged) -> None:
        run.undo("look", lambda: passed.append(run.cancel.is_set() or run.cancel.wait(0)))
        run.cancel.set("wrong image")
        run.cancel.check()

    raised = case.execute(undoing("one"), Toy("two", deed))
    assert isinstance(raised, Interrupted)
    assert (raised.exit_code, raised.what) == (130, "cancelled: wrong image")
    assert passed == [False]
    assert case.lines == ["one", "two", "undo one"]


@pytest.mark.parametrize("exit_", [SystemExit(0), GeneratorExit()])
def test_an_exit_from_within_undoes_all_of_it_and_comes_out(exit_: BaseException) -> None:
    case = Case()
    with pytest.raises(type(exit_)):
        execute(case.run, [undoing("one"), undoing("two", SystemExit(1)), undoing("three", then=exit_)])
    assert case.lines == ["one", "two", "three", "undo three", "undo two", "undo one"]
    assert every_start_has_its_end(case)


def test_unsafe_wins_over_an_interrupt() -> None:
    case = Case()
    raised = case.execute(undoing("one", UnsafeError("open"), then=KeyboardInterrupt()))
    assert isinstance(raised, UnsafeError)


def test_a_second_interrupt_gets_through_at_once() -> None:
    case = Case()
    second = KeyboardInterrupt()
    raised = case.execute(undoing("one"), undoing("two", second, then=WorkflowFailed("first")))
    assert raised is second
    assert case.lines == ["one", "two", "undo two"]
    assert every_start_has_its_end(case)


def test_what_is_none_of_ours_undoes_and_comes_out() -> None:
    case = Case()
    bug = ZeroDivisionError("bug")
    assert case.execute(undoing("one", then=bug)) is bug
    assert case.lines == ["one", "undo one"]
    assert [event.error for event in case.events if isinstance(event, PhaseEnded)] == ["ZeroDivisionError('bug')"]


def test_unwinding_twice_undoes_once() -> None:
    case = Case()
    case.execute(undoing("one", then=WorkflowFailed("x")))
    assert case.run.unwind() == []
    assert case.lines == ["one", "undo one"]

"""A cancel from another thread ends a run as Ctrl-C does: in every phase, within a second, whatever it waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from metalfoundry import Foundry, Options, Report
from metalfoundry.lab.kubernetes.store import Object
from metalfoundry.lab.lab import Lab
from metalfoundry.model.errors import Interrupted
from metalfoundry.model.events import CommandStarted, PhaseEnded, PhaseStarted, Record
from metalfoundry.runs.options import Identity
from tests.lab.bench import NAME, SPEED, Ran, clean, hardware, provision, workflow

PHASES = ("Preflight", "Claim", "Clean up", "Apply", "Open", "Boot", "Close", "Install", "Verify", "Release")
UNTOUCHED = PHASES[: PHASES.index("Boot")]  # later the machine is in the middle of its own way, with a new host key
SLOW = {"Boot": "dead", "Install": "slow"}


@dataclass
class Cancelled:
    """A run that was cancelled: its report, and how long the phase went on."""

    report: Report
    seconds: float
    next: Report


class Canceller:
    """A sink that cancels from another thread when `due` says so; `then` is called when the phase has ended."""

    def __init__(self, due: Callable[[Record], bool], then: Callable[[], object] = lambda: None) -> None:
        self._due, self._then = due, then
        self.foundry: Foundry | None = None
        self.set_at = self.ended_at = 0.0
        self._threads: list[threading.Thread] = []

    def __call__(self, record: Record) -> None:
        if not self._threads and self._due(record):
            self._threads.append(threading.Thread(target=self._cancel))
            self._threads[0].start()
        elif self.set_at and not self.ended_at and isinstance(record.event, PhaseEnded):
            self.ended_at = time.monotonic()
            self._then()

    def _cancel(self) -> None:
        assert self.foundry is not None
        time.sleep(0.2)  # so that the phase waits for something; nothing tells us when
        self.set_at = time.monotonic()
        self.foundry.cancel_runs("wrong image")

    def run(self, lab: Lab, options: Options | None = None) -> tuple[Report, Foundry]:
        self.foundry = Foundry.load(lab.inventory, sinks=[self])
        report = self.foundry.provision(NAME, options)
        for thread in self._threads:
            thread.join()
        return report, self.foundry

    @property
    def seconds(self) -> float:
        return self.ended_at - self.set_at


def begins(phase: str) -> Callable[[Record], bool]:
    return lambda record: isinstance(record.event, PhaseStarted) and record.event.title == phase


def cancelled_in(folder: Path, phase: str) -> Cancelled:
    """A run that is cancelled in `phase`, while the jump host says nothing; and the next one of the same Foundry."""
    with Lab(folder, SLOW.get(phase, "installs"), 10 if phase == "Install" else SPEED) as lab:
        if phase == "Clean up":
            provision(lab, options=Options(keep_workflow=True))
        before = hardware(lab)

        def due(record: Record) -> bool:
            here = begins(phase)(record)
            if here:
                lab.jump.freeze()
            return here

        canceller = Canceller(due, lab.jump.thaw)
        report, foundry = canceller.run(lab)
        assert clean(lab, before)
        if phase not in ("Clean up", "Install", "Verify", "Release", "Close"):
            assert workflow(lab) is None, phase
        following = foundry.provision(NAME, Options(replace=True)) if phase in UNTOUCHED else report
        foundry.close()
        return Cancelled(report, canceller.seconds, following)


@pytest.fixture(scope="module")
def cancelled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cancelled]:
    with ThreadPoolExecutor(3) as pool:
        futures = {phase: pool.submit(cancelled_in, tmp_path_factory.mktemp("lab"), phase) for phase in PHASES}
        return {phase: future.result() for phase, future in futures.items()}


@pytest.mark.parametrize("phase", PHASES)
def test_it_ends_within_a_second_with_everything_taken_back(cancelled: dict[str, Cancelled], phase: str) -> None:
    seen = cancelled[phase]
    assert (seen.report.verdict, seen.report.exit_code) == ("interrupted", 130), seen.report.error
    assert isinstance(seen.report.error, Interrupted) and seen.report.interrupted
    assert "cancelled: wrong image: " in seen.report.error.what
    assert seen.report.phases[-1]["title"] == phase
    assert seen.report.closed is not False
    assert 0 < seen.seconds < 1.0


@pytest.mark.parametrize("phase", UNTOUCHED)
def test_the_next_run_of_the_same_foundry_is_a_run_like_any_other(cancelled: dict[str, Cancelled], phase: str) -> None:
    assert cancelled[phase].next.verdict == "provisioned", cancelled[phase].next.error


def test_while_the_jump_host_does_not_even_answer(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", speed=SPEED) as lab:
        before = hardware(lab)
        lab.jump.freeze()
        canceller = Canceller(begins("Preflight"))
        report, foundry = canceller.run(lab)
        foundry.close()
        assert report.exit_code == 130
        assert "nothing was changed" in str(report.error)
        assert canceller.seconds < 1.0
        assert hardware(lab) == before


def test_a_person_who_is_being_asked_answers_in_vain(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", speed=SPEED) as lab:
        before = hardware(lab)
        ran = Ran()
        with Foundry.load(lab.inventory, sinks=[ran]) as foundry:

            def confirm(identity: Identity) -> None:
                foundry.stop.set("too late")

            report = foundry.provision(NAME, Options(confirm=confirm))
        assert (report.exit_code, report.verdict) == (130, "interrupted")
        assert {event.effect for event in ran.each(CommandStarted) if isinstance(event, CommandStarted)} == {"read"}
        assert hardware(lab) == before


def test_a_cancel_before_a_run_is_none_of_its_business(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", speed=SPEED) as lab, Foundry.load(lab.inventory) as foundry:
        foundry.cancel_runs("nothing is under way")
        assert foundry.provision(NAME).verdict == "provisioned"


def test_a_cancel_that_comes_while_a_run_is_taken_back_changes_nothing(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", "dead", SPEED) as lab:
        before: Object = hardware(lab)
        opened: list[Foundry] = []

        def sink(record: Record) -> None:
            event = record.event
            if begins("Boot")(record) or (isinstance(event, CommandStarted) and event.effect == "restore"):
                opened[0].cancel_runs("again")

        with Foundry.load(lab.inventory, sinks=[sink]) as foundry:
            opened.append(foundry)
            report = foundry.provision(NAME)
        assert (report.exit_code, report.closed) == (130, True)
        assert clean(lab, before)

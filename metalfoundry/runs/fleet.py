"""Many runs at once: who begins when, and who does not begin any more. Knows no SSH: a run is a callable."""

from __future__ import annotations

import math
import re
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from metalfoundry.model.errors import PreflightError, UnsafeError, UsageError
from metalfoundry.model.program import ours
from metalfoundry.runs.fleet_report import fleet_json
from metalfoundry.runs.report import Netboot, Report, verdict_of
from metalfoundry.transport.clock import Cancel, Clock, SystemClock
from metalfoundry.transport.threads import LIMITS, Threads

PIECE_SECONDS = 1.0  # a wait without an end does not hear Ctrl-C everywhere


@dataclass(frozen=True, slots=True)
class Policy:
    """How many runs go on at a time, and what keeps others from beginning. Raises UsageError for what is no number.

    `parallel`: so many at a time. `canary`: so many first; where one of them fails, nothing else begins.
    `max_failures`: after so many failures nothing else begins: a number, or a share of all as
    "10%", rounded up. `keep_going`: a failure keeps nothing from beginning. `batch`: so many, and the next when all of
    them have ended (0: no batches). `spread`: a label of the Hardware; at most one at a time of each value, and of
    those without it.
    """

    parallel: int = 10
    canary: int = 1
    max_failures: int | str = 1
    keep_going: bool = False
    batch: int = 0
    spread: str = ""

    def __post_init__(self) -> None:
        for name, value, least in (("parallel", self.parallel, 1), ("canary", self.canary, 0),
                                   ("batch", self.batch, 0)):  # fmt: skip
            if value < least:
                raise UsageError(f"{name} is {value}", next=f"give a number from {least} on")
        if not re.fullmatch(r"[1-9]\d*|[1-9]\d?%|100%", str(self.max_failures)):
            raise UsageError(f"max-failures is {self.max_failures!r}", next="give a number from 1 on, or one to 100%")

    def budget(self, total: int) -> int:
        """The number of failures, of `total` runs, that keeps others from beginning."""
        asked = str(self.max_failures)
        return math.ceil(total * int(asked[:-1]) / 100) if asked.endswith("%") else int(asked)

    def stages(self, names: Sequence[str]) -> list[list[str]]:
        """Canaries and batches: each stage begins when all of the one before have ended."""
        size, rest = self.batch or max(len(names), 1), names[self.canary :]
        return [list(names[: self.canary]), *(list(rest[at : at + size]) for at in range(0, len(rest), size))]


class Schedule:
    """Which of `names` begins next. Without threads: `ready` says who begins, `ended` takes in how one came out.

    `stopped`: why nothing else begins: "interrupted", "unsafe", "canary" or "failed"; "" while others may.
    """

    def __init__(self, names: Sequence[str], policy: Policy, domains: Mapping[str, str] | None = None) -> None:
        """`domains`: the value of `policy.spread` by name."""
        self.policy, self.stopped = policy, ""
        self.waiting = list(names)
        self.running: list[str] = []
        self._stages = policy.stages(names)
        self._canaries = {*self._stages[0]} if len(self._stages) > 1 else set()
        self._budget = policy.budget(len(names))
        self._domains = (lambda name: (domains or {}).get(name, "")) if policy.spread else (lambda name: name)
        self._failures = 0

    def ready(self) -> list[str]:
        """Those that begin now, and run from now on."""
        begun: list[str] = []
        unended = {*self.waiting, *self.running}
        stage = next((stage for stage in self._stages if unended.intersection(stage)), [])
        for name in stage:
            busy = {self._domains(other) for other in self.running}
            if self.stopped or len(self.running) >= self.policy.parallel:
                break
            if name in self.waiting and self._domains(name) not in busy:
                self.waiting.remove(name)
                self.running.append(name)
                begun.append(name)
        return begun

    def ended(self, name: str, report: Report) -> None:
        """Take in that `name` runs no longer. An interrupt, and a window that is not confirmed closed, stop all that
        has not begun, whatever the policy says.
        """
        self.running.remove(name)
        self._failures += report.error is not None
        if report.exit_code == UnsafeError.exit_code:
            self.stopped = "unsafe"
        elif report.interrupted:
            self.stop()
        elif report.error is not None and not self.policy.keep_going:
            spent = "canary" if name in self._canaries else "failed" if self._failures >= self._budget else ""
            self.stopped = self.stopped or spent

    def stop(self) -> None:
        """Begin nothing else: somebody interrupts."""
        self.stopped = self.stopped or "interrupted"


class Fleet:
    """Runs under way: an iterator of their reports, in the order in which they end.

    Runs begin with the first `next`, each in a thread of its own; the iterator belongs to one thread. Ctrl-C while it
    waits does not come out: nothing else begins, every running run takes back what it did, and their reports still
    come. A second one leaves at once, and the reports say what may be open. Who goes away earlier calls `close`.
    """

    def __init__(
        self,
        names: Sequence[str],
        run: Callable[[str, Cancel], Report],
        policy: Policy,
        *,
        threads: Threads,
        begin: Callable[[], Cancel] = Cancel,
        domains: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`run` does the run of one name, ended by its Cancel; `begin` makes that Cancel."""
        self._clock = clock or SystemClock()
        self._began = self._clock.now()
        self.id = f"{self._began.wall:%Y%m%dT%H%M%SZ}-fleet.{secrets.token_hex(4)}"
        self.names = list(names)
        self.reports: dict[str, Report] = {}
        self.interrupt: KeyboardInterrupt | None = None
        self._schedule = Schedule(names, policy, domains)
        self._run, self._threads, self._new_cancel = run, threads, begin
        self._lock = threading.RLock()
        self._bell = threading.Event()
        self._cancels: dict[str, Cancel] = {}
        self._arrived: list[Report] = []
        self._told, self._handed, self._begun = 0, False, False

    @property
    def not_begun(self) -> list[str]:
        """The names whose run has not begun; at the end, never will."""
        return list(self._schedule.waiting)

    @property
    def stopped(self) -> str:
        """Why they did not begin; see Schedule."""
        return self._schedule.stopped

    @property
    def unfinished(self) -> list[str]:
        """The names whose run has not ended well, in their order: failed, interrupted, not begun, or still running."""
        return [name for name in self.names if name not in self.reports or self.reports[name].error is not None]

    def to_json(self) -> dict[str, Any]:
        """What has come of it until now: the fleet's schema, version 1."""
        with self._lock:
            seconds = self._clock.now().mono - self._began.mono
            reports, waiting = dict(self.reports), self.not_begun
            return fleet_json(self.id, self.names, reports, waiting, self.stopped, self.interrupt, seconds)

    def __iter__(self) -> Fleet:
        return self

    def __next__(self) -> Report:
        while True:
            try:
                if not self._begun:
                    self._threads.start(self._go_on, "fleet")  # there: no Ctrl-C comes between two beginnings
                    self._begun = True
                self._told, self._handed = self._told + self._handed, False
                over = self._over()
                if self._told < len(self._arrived):
                    self._handed = True
                    return self._arrived[self._told]
                if over:
                    raise StopIteration
                self._wait()
            except KeyboardInterrupt as error:
                self.cancel(error)

    def cancel(self, error: KeyboardInterrupt | None = None) -> None:
        """Begin nothing else, and end every running run, as Ctrl-C does; the second time at once. From any thread."""
        again, self.interrupt = self.interrupt is not None, error or KeyboardInterrupt()
        with self._lock:
            self._schedule.stop()
            running = [self._cancels[name] for name in self._schedule.running]
        for cancel in running:
            if again:
                cancel.insist("interrupted a second time")
            else:
                cancel.set("interrupted")
        self._bell.set()

    def close(self) -> None:
        """Cancel what runs, and wait until all of it is taken back."""
        if self._begun and not self._over():
            self.cancel()
            while not self._over():
                self._wait()

    def _go_on(self) -> None:
        with self._lock:
            while begun := self._schedule.ready():
                for name in begun:
                    self._cancels[name] = self._new_cancel()
                    try:
                        self._threads.start(partial(self._one, name), f"run-{name}")
                    except Exception as problem:  # noqa: BLE001 - whatever it is, nobody else would report that name
                        self._take(name, _unbegun(name, problem))
            self._bell.set()

    def _one(self, name: str) -> None:
        try:
            report = self._run(name, self._cancels[name])
        except BaseException as problem:  # noqa: BLE001 - a run without a report is no reason to wait for it for ever
            error = UnsafeError(f"the run of {name} ended without a report: {problem!r}", next=ours("netboot.status"))
            report = Report("", name, "unsafe", error.exit_code, error, Netboot(), (), (), 0, 0.0)
        with self._lock:
            self._take(name, report)
        self._go_on()

    def _take(self, name: str, report: Report) -> None:
        self._schedule.ended(name, report)
        self.reports[name] = report
        self._arrived.append(report)

    def _over(self) -> bool:
        """Whether nothing runs, and nothing will."""
        with self._lock:
            return not self._schedule.running and bool(self.stopped or not self._schedule.waiting)

    def _wait(self) -> None:
        self._bell.wait(PIECE_SECONDS)
        self._bell.clear()


def _unbegun(name: str, problem: Exception) -> Report:
    """The report of a run for which there was no thread."""
    what, step = f"the run of {name} could not be begun: {problem}", f"{LIMITS}; or run fewer at a time"
    error = PreflightError(what, where="this computer", next=step)
    return Report("", name, verdict_of(error), error.exit_code, error, Netboot(), (), (), 0, 0.0)

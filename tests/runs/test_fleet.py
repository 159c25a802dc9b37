"""Who begins when, and who does not begin any more: the schedule without threads, and the fleet with them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metalfoundry.model.errors import (
    Interrupted,
    MetalfoundryError,
    Terminated,
    UnsafeError,
    UsageError,
    WorkflowFailed,
)
from metalfoundry.runs.fleet import Fleet, Policy, Schedule
from metalfoundry.runs.fleet_report import causes, exit_code_of
from metalfoundry.runs.report import Netboot, Report
from metalfoundry.transport.clock import Cancel
from metalfoundry.transport.threads import Threads

GOOD: MetalfoundryError | None = None
FAILED, UNSAFE, STOPPED = WorkflowFailed("it failed"), UnsafeError("it may be open"), Interrupted("at your word")
SOME = [f"s{number}" for number in range(6)]


def report(name: str, error: MetalfoundryError | None = GOOD) -> Report:
    stopped = isinstance(error, Interrupted)
    code = error.exit_code if error else 0
    return Report(name, name, "-", code, error, Netboot(), (), (), 0, 0.0, interrupted=stopped)


def played(schedule: Schedule, ends: dict[str, MetalfoundryError | None]) -> list[list[str]]:
    """Who begins together, when all that run end together."""
    rounds = []
    while begun := schedule.ready():
        rounds.append(begun)
        for name in begun:
            schedule.ended(name, report(name, ends.get(name)))
    return rounds


def test_one_goes_first_and_the_rest_begins_when_it_has_ended_well() -> None:
    schedule = Schedule(SOME, Policy(parallel=3))
    assert played(schedule, {}) == [["s0"], ["s1", "s2", "s3"], ["s4", "s5"]]
    assert (schedule.stopped, schedule.waiting) == ("", [])


def test_a_place_that_comes_free_is_taken_at_once() -> None:
    schedule = Schedule(SOME, Policy(parallel=2, canary=0))
    assert schedule.ready() == ["s0", "s1"]
    schedule.ended("s1", report("s1"))
    assert schedule.ready() == ["s2"]


def test_no_other_begins_where_the_canary_fails_whatever_the_budget() -> None:
    schedule = Schedule(SOME, Policy(max_failures=5))
    assert played(schedule, {"s0": FAILED}) == [["s0"]]
    assert (schedule.stopped, schedule.waiting) == ("canary", SOME[1:])


def test_a_single_server_is_its_own_canary() -> None:
    assert played(Schedule(["s0"], Policy()), {}) == [["s0"]]


@pytest.mark.parametrize(("budget", "begun"), [(1, 2), (2, 4), ("1%", 2), ("33%", 4), ("34%", 6), ("100%", 6)])
def test_the_budget_of_failures_stops_what_has_not_begun(budget: int | str, begun: int) -> None:
    schedule = Schedule(SOME, Policy(parallel=2, canary=0, max_failures=budget))
    schedule.ready()
    for turn in range(begun):  # every other one fails
        name = schedule.running[0]
        schedule.ended(name, report(name, GOOD if turn % 2 else FAILED))
        schedule.ready()
    assert (schedule.running, len(schedule.waiting)) == ([], len(SOME) - begun)


def test_the_first_failure_is_enough_and_who_runs_ends() -> None:
    schedule = Schedule(SOME, Policy(parallel=2, canary=0))
    schedule.ready()
    schedule.ended("s0", report("s0", FAILED))
    assert (schedule.ready(), schedule.running, schedule.stopped) == ([], ["s1"], "failed")


def test_keep_going_begins_them_all_even_after_the_canary() -> None:
    everything = dict.fromkeys(SOME, FAILED)
    schedule = Schedule(SOME, Policy(keep_going=True))
    assert played(schedule, dict(everything)) == [["s0"], SOME[1:]]


@pytest.mark.parametrize(("error", "why"), [(UNSAFE, "unsafe"), (STOPPED, "interrupted")])
def test_a_window_that_may_be_open_and_an_interrupt_stop_it_in_any_case(error: MetalfoundryError, why: str) -> None:
    schedule = Schedule(SOME, Policy(keep_going=True, parallel=2, canary=0))
    assert played(schedule, {"s1": error}) == [["s0", "s1"]]
    assert (schedule.stopped, schedule.waiting) == (why, SOME[2:])


def test_that_a_window_may_be_open_is_said_rather_than_any_other_reason() -> None:
    schedule = Schedule(SOME, Policy(parallel=2, canary=0))
    assert played(schedule, {"s0": FAILED, "s1": UNSAFE}) == [["s0", "s1"]]
    assert schedule.stopped == "unsafe"


def test_a_batch_waits_for_all_of_the_one_before() -> None:
    schedule = Schedule(SOME, Policy(batch=3, canary=0))
    assert schedule.ready() == SOME[:3]
    schedule.ended("s0", report("s0"))
    schedule.ended("s1", report("s1"))
    assert schedule.ready() == []
    schedule.ended("s2", report("s2"))
    assert schedule.ready() == SOME[3:]


def test_of_each_value_of_a_label_one_runs_at_a_time() -> None:
    racks = {"s0": "a", "s1": "a", "s2": "b", "s3": "b"}  # s4 and s5 have none, and count as one
    schedule = Schedule(SOME, Policy(spread="rack", canary=0), racks)
    assert schedule.ready() == ["s0", "s2", "s4"]
    schedule.ended("s2", report("s2"))
    assert schedule.ready() == ["s3"]


@pytest.mark.parametrize(("name", "value"), [("parallel", 0), ("canary", -1), ("batch", -1), ("max_failures", 0),
                                             ("max_failures", "many"), ("max_failures", "101%")])  # fmt: skip
def test_what_is_no_number_is_a_usage_error(name: str, value: Any) -> None:
    with pytest.raises(UsageError):
        Policy(**{name: value})


POLICIES = st.builds(
    Policy,
    parallel=st.integers(1, 5),
    canary=st.integers(0, 3),
    max_failures=st.integers(1, 4) | st.integers(1, 100).map(lambda share: f"{share}%"),
    keep_going=st.booleans(),
    batch=st.integers(0, 4),
)
ENDS = st.lists(st.sampled_from([GOOD, GOOD, GOOD, FAILED, UNSAFE, STOPPED]), min_size=6, max_size=6)


@given(POLICIES, ENDS, st.data())
def test_whatever_happens_nobody_begins_twice_or_late_and_all_end(
    policy: Policy, ends: list[MetalfoundryError | None], data: st.DataObject
) -> None:
    schedule, begun, failures = Schedule(SOME, policy), [], 0
    begun += schedule.ready()
    while schedule.running:
        assert len(schedule.running) <= policy.parallel
        name = data.draw(st.sampled_from(schedule.running))
        error = ends[SOME.index(name)]
        failures += error is not None
        schedule.ended(name, report(name, error))
        now = schedule.ready()
        if error in (UNSAFE, STOPPED) or (not policy.keep_going and failures >= policy.budget(len(SOME))):
            assert not now
        begun += now
    assert sorted([*begun, *schedule.waiting]) == SOME
    assert bool(schedule.waiting) <= bool(schedule.stopped)


class Runs:
    """Runs that end when the test says so, or when they are cancelled, with `ends` by name."""

    def __init__(self, ends: dict[str, MetalfoundryError] | None = None) -> None:
        self.ends = ends or {}
        self.begun: list[str] = []
        self.at: Callable[[str, Cancel], object] = lambda name, cancel: None

    def __call__(self, name: str, cancel: Cancel) -> Report:
        self.begun.append(name)
        self.at(name, cancel)
        return report(name, STOPPED if cancel.is_set() else self.ends.get(name))


def fleet(runs: Runs, policy: Policy | None = None, names: Sequence[str] = SOME) -> tuple[Fleet, Threads]:
    threads = Threads()
    return Fleet(names, runs, policy or Policy(), threads=threads), threads


def test_every_report_comes_once_and_is_kept_by_name() -> None:
    runs = Runs()
    many, threads = fleet(runs)
    assert sorted(each.server for each in many) == SOME
    assert sorted(many.reports) == SOME
    assert many.not_begun == []
    assert threads.join(5)


def test_runs_go_on_at_the_same_time() -> None:
    runs, together = Runs(), threading.Barrier(6, timeout=10)
    runs.at = lambda name, cancel: together.wait()
    assert len(list(fleet(runs, Policy(canary=0))[0])) == 6


def test_after_a_failure_the_rest_is_named() -> None:
    many, _ = fleet(Runs({"s0": FAILED}))
    assert [each.server for each in many] == ["s0"]
    assert (many.not_begun, many.stopped) == (SOME[1:], "canary")


def test_a_cancel_ends_what_runs_and_begins_nothing_else() -> None:
    runs, together = Runs(), threading.Barrier(2, timeout=10)
    many, _ = fleet(runs, Policy(parallel=2, canary=0))

    def at(name: str, cancel: Cancel) -> None:
        if together.wait() == 0:
            many.cancel()
        cancel.wait(10)

    runs.at = at
    assert [each.interrupted for each in many] == [True, True]
    assert (many.not_begun, many.stopped) == (SOME[2:], "interrupted")


def test_who_takes_back_what_he_did_is_left_alone_until_it_is_asked_again() -> None:
    runs, seen = Runs(), []
    many, _ = fleet(runs, names=["s0"])

    def at(name: str, cancel: Cancel) -> None:
        many.cancel()
        cancel.heed()
        seen.append(cancel.is_set())
        many.cancel()
        cancel.heed()
        seen.append(cancel.is_set())

    runs.at = at
    list(many)
    assert seen == [False, True]


def test_ctrl_c_while_it_waits_is_a_cancel_and_the_reports_still_come() -> None:
    runs, together = Runs(), threading.Barrier(2, timeout=10)
    many, _ = fleet(runs, Policy(parallel=2, canary=0))

    def at(name: str, cancel: Cancel) -> None:
        if together.wait() == 0:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        cancel.wait(10)

    runs.at = at
    assert [each.interrupted for each in many] == [True, True]
    assert isinstance(many.interrupt, KeyboardInterrupt)


def test_who_goes_away_ends_what_runs_and_waits_for_it() -> None:
    runs, over = Runs(), []

    def at(name: str, cancel: Cancel) -> None:
        if name != "s0":
            cancel.wait(10)
        over.append(name)

    runs.at = at
    many, threads = fleet(runs, Policy(parallel=3))
    assert next(many).server == "s0"
    many.close()
    assert set(over) == set(runs.begun)
    assert threads.join(5)


def test_a_run_that_ends_without_a_report_counts_as_unsafe() -> None:
    runs = Runs()

    def at(name: str, cancel: Cancel) -> None:
        raise RuntimeError("oh")

    runs.at = at
    many, _ = fleet(runs, Policy(keep_going=True))
    (only,) = many
    assert (only.exit_code, only.server, many.stopped) == (40, "s0", "unsafe")


class Short(Threads):
    """Starts none for the runs of these."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self._short = {f"run-{name}" for name in names}

    def start(self, work: Callable[[], object], name: str) -> None:
        if name in self._short:
            raise RuntimeError("can't start new thread")
        super().start(work, name)


@pytest.mark.parametrize(
    ("short", "policy", "begun", "stopped"),
    [
        (("s0",), Policy(), [], "canary"),
        (("s1",), Policy(parallel=1, canary=0), ["s0"], "failed"),
        (("s1", "s2", "s5"), Policy(parallel=1, keep_going=True), ["s0", "s3", "s4"], ""),
        (SOME, Policy(keep_going=True), [], ""),
    ],
)
def test_a_run_for_which_there_is_no_thread_has_failed_before_it_began(
    short: Sequence[str], policy: Policy, begun: list[str], stopped: str
) -> None:
    runs = Runs()
    many = Fleet(SOME, runs, policy, threads=Short(*short))
    ended = {each.server: each for each in many}
    assert (runs.begun, many.stopped) == (begun, stopped)
    failed = [each for each in ended.values() if each.error]
    assert [each.server for each in failed] == [name for name in short if name in ended]
    for each in failed:
        assert (each.exit_code, each.verdict, each.closed) == (10, "failed", None)
        assert str(each.error).startswith(f"the run of {each.server} could not be begun: can't start new thread")
    assert sorted([*ended, *many.not_begun]) == SOME


def late(name: str) -> Report:
    """It went well, and an interrupt came while that was told."""
    return replace(report(name), interrupted=True)


@pytest.mark.parametrize(
    ("reports", "interrupt", "not_begun", "stopped", "code"),
    [
        ([report("s0")], None, [], "", 0),
        ([late("s0")], None, [], "interrupted", 0),
        ([late("s0")], None, ["s1"], "interrupted", 130),
        ([late("s0")], Terminated(15), ["s1"], "interrupted", 143),
        ([report("s0")], None, ["s1"], "failed", 50),
        ([], None, ["s1"], "interrupted", 130),
        ([report("s0", FAILED)], None, ["s1"], "canary", FAILED.exit_code),
        ([report("s0", UNSAFE), late("s1")], None, ["s2"], "unsafe", 40),
    ],
)
def test_where_one_was_not_begun_the_end_is_not_good(
    reports: list[Report], interrupt: BaseException | None, not_begun: list[str], stopped: str, code: int
) -> None:
    assert exit_code_of(reports, interrupt, not_begun, stopped) == code


def test_an_interrupt_after_the_end_of_a_run_is_the_fleets() -> None:
    many = Fleet(SOME[:2], lambda name, cancel: late(name), Policy(), threads=Threads())
    assert [each.server for each in many] == ["s0"]
    told = many.to_json()
    assert (told["verdict"], told["exit_code"], told["not_begun"]) == ("interrupted", 130, ["s1"])


def test_failures_that_differ_in_a_name_and_a_key_alone_have_one_cause() -> None:
    keys = {name: f"SHA256:{letter * 43}" for name, letter in (("s0", "a"), ("s1", "b"))}
    failed = [
        report(name, MetalfoundryError(f"{name}: the host shows ssh-ed25519 {key}")) for name, key in keys.items()
    ]
    (cause,) = causes(failed)
    assert (cause["cause"], cause["servers"]) == ("NAME: the host shows ssh-ed25519 SHA256:…", ["s0", "s1"])


def test_a_cause_names_no_run_and_a_name_is_a_whole_word() -> None:
    first, second = (
        replace(
            report(name, MetalfoundryError(f"{name} is held as 2026-{name}-7f; {name}-disk, {name}2")),
            run=f"2026-{name}-7f",
        )
        for name in ("s0", "s1")
    )
    assert [cause["cause"] for cause in causes([first])] == ["NAME is held as RUN; s0-disk, s02"]
    assert len(causes([first, second])) == 2

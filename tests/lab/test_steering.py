"""A run that is followed, ended or taken up from elsewhere: another terminal, another home, another client."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from metalfoundry import Foundry, Options, load
from metalfoundry.lab.kubernetes.store import Object
from metalfoundry.lab.lab import Lab
from metalfoundry.model.errors import ClaimedError, PreflightError
from metalfoundry.model.events import (
    ActionEnded,
    ActionStarted,
    ClaimChanged,
    CommandStarted,
    PhaseStarted,
    Record,
    Resumed,
    WindowChanged,
)
from metalfoundry.transport.clock import Instant, SystemClock
from tests.lab.bench import NAME, PROGRAM, Ran, clean, guards, hardware, is_open, provision, start, workflow
from tests.lab.client import until
from tests.lab.test_json import check

PHASES = ["Preflight", "Claim", "Apply", "Open", "Boot", "Close", "Install", "Verify", "Release"]
RUN, BROKEN = "metalfoundry.dev/run", "metalfoundry.dev/broken"


def notes(lab: Lab) -> dict[str, str]:
    return dict(hardware(lab)["metadata"].get("annotations", {}))


def killed_in(lab: Lab, phase: str) -> subprocess.Popen[str]:
    """The program, SIGKILLed as soon as it says that the phase begins."""
    process = start(lab, "provision", NAME, "--yes")
    assert process.stdout is not None
    for line in process.stdout:
        if f"  {phase} …" in line:
            process.kill()
            break
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, phase
    return process


def at_home(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    """The program in the home of somebody else, who has the inventory and nothing more."""
    home = lab.folder / "elsewhere"
    home.mkdir(exist_ok=True)
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "METALFOUNDRY_INVENTORY": str(lab.inventory), "COLUMNS": "200"}
    return subprocess.run(
        [str(PROGRAM), *words], env=env, cwd=home, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90
    )


@dataclass
class TakenUp:
    """A run that was killed in one phase and resumed by another program."""

    lab: Lab
    before: Object
    code: int
    report: dict[str, Any]
    err: str
    left: list[str]
    wiped: int


def take_up(folder: Path, phase: str) -> TakenUp:
    with Lab(folder, speed=10) as lab:
        before = hardware(lab)
        killed_in(lab, phase)
        process = start(lab, "provision", NAME, "--resume", "--yes", "--json")
        out, err = process.communicate(timeout=60)
        assert clean(lab, before), err
        machine = lab.machine(NAME)
        assert machine.state == "new", err
        return TakenUp(lab, before, process.returncode, json.loads(out), err, guards(lab), machine.wiped)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TakenUp]:
    with ThreadPoolExecutor(3) as pool:
        futures = {phase: pool.submit(take_up, tmp_path_factory.mktemp("lab"), phase) for phase in PHASES}
        return {phase: future.result() for phase, future in futures.items()}


@pytest.mark.parametrize("phase", PHASES)
def test_a_run_that_was_killed_is_taken_up_and_ends_verified(resumed: dict[str, TakenUp], phase: str) -> None:
    seen = resumed[phase]
    assert (seen.code, seen.report["verdict"]) == (0, "provisioned"), seen.err
    assert seen.wiped == 1
    assert seen.report["netboot"]["closed"] is True
    assert seen.left == []
    done = {one["title"]: one["outcome"] for one in seen.report["phases"]}
    assert (done["Verify"], done["Release"]) == ("done", "done")


@pytest.mark.parametrize("phase", [phase for phase in PHASES if phase not in ("Preflight", "Claim")])
def test_the_report_has_both_parts(resumed: dict[str, TakenUp], phase: str) -> None:
    report = resumed[phase].report
    earlier = report["earlier"]
    check("report", report)
    assert earlier["run"] == report["resumes"] != report["run"]
    titles = [one["title"] for one in earlier["phases"]]
    assert titles[0] == "Preflight"
    assert phase not in titles


@pytest.mark.parametrize("phase", ["Install", "Verify", "Release"])
def test_a_machine_that_is_on_its_way_is_not_rebooted_again(resumed: dict[str, TakenUp], phase: str) -> None:
    done = {one["title"]: one["outcome"] for one in resumed[phase].report["phases"]}
    assert (done["Open"], done["Boot"]) == ("skipped", "skipped")


def test_without_a_claim_resume_is_a_run_like_any_other(resumed: dict[str, TakenUp]) -> None:
    report = resumed["Preflight"].report
    assert report["resumes"] is None
    assert "earlier" not in report


def test_somebody_else_follows_takes_up_and_reports_without_our_records(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", "slow", speed=10) as lab:
        before = hardware(lab)
        killed_in(lab, "Install")
        held = notes(lab)[RUN]
        events = lab.folder / "events.jsonl"
        follower = ThreadPoolExecutor(1)
        following = follower.submit(at_home, lab, "attach", NAME, "--events", str(events))
        until(lambda: events.exists() and "WorkflowChanged" in events.read_text(), 30)
        done = at_home(lab, "provision", NAME, "--resume", "--yes", "--json")
        report = json.loads(done.stdout)
        assert (done.returncode, report["verdict"]) == (0, "provisioned"), done.stderr
        assert report["resumes"] == held
        assert report["earlier"] == {"run": held, "phases": [], "actions": []}
        seen = following.result(60)
        follower.shutdown()
        assert seen.returncode == 20, seen.stderr
        assert "taken up by" in seen.stdout
        assert "action 1/3 stream-ubuntu-image" in seen.stdout
        assert clean(lab, before)


def test_a_run_without_its_own_client_is_refused_with_the_way_to_take_it_up(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", speed=10) as lab:
        killed_in(lab, "Apply")
        ran = provision(lab)
        assert isinstance(ran.report and ran.report.error, ClaimedError)
        assert f"fab provision {NAME} --resume" in ran.json["error"]["next"]


class Sleeper(SystemClock):
    """The clock of a laptop that was asleep for `slept` seconds."""

    slept = 0.0

    def now(self) -> Instant:
        now = super().now()
        return Instant(now.mono, now.wall + timedelta(seconds=self.slept))


class Watched:
    """A run in this process, which stops at the start of a phase until it may go on."""

    def __init__(self, lab: Lab, phase: str, options: Options | None = None) -> None:
        self.lab, self.phase, self.options = lab, phase, options
        self.there, self.go_on = threading.Event(), threading.Event()
        self.clock = Sleeper()
        self.ran = Ran()
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with Foundry(load(self.lab.inventory), sinks=[self._stop, self.ran], clock=self.clock) as foundry:
            self.ran.report = foundry.provision(NAME, self.options)

    def _stop(self, record: Record) -> None:
        if isinstance(record.event, PhaseStarted) and record.event.title == self.phase:
            self.there.set()
            assert self.go_on.wait(60)

    def __enter__(self) -> Watched:
        self.thread.start()
        assert self.there.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self.thread.join(60)
        assert not self.thread.is_alive()

    def end(self) -> Ran:
        self.go_on.set()
        self.thread.join(60)
        return self.ran


@pytest.fixture(params=["Apply", "Boot", "Install"])
def cancelled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Lab, str, Ran]]:
    """A live run that somebody ends while it is in a phase."""
    with Lab(tmp_path / "lab", "slow", speed=10) as lab, Watched(lab, request.param) as run:
        told: list[Record] = []
        with Foundry.load(lab.inventory, sinks=[lambda record: told.append(record)]) as foundry:
            proof = foundry.cancel(NAME, "wrong image")
            holder = foundry._site().holder
        assert proof.hardware.startswith("allowPXE false")
        events = [record.event for record in told if isinstance(record.event, WindowChanged | ClaimChanged)]
        assert [event.state for event in events] == ["closed", "broken"]  # the window first
        assert not is_open(lab)
        ran = run.end()
        assert holder in ran.json["error"]["what"]
        yield lab, request.param, ran


def test_a_cancelled_run_ends_with_20_and_says_by_whom(cancelled: tuple[Lab, str, Ran]) -> None:
    lab, phase, ran = cancelled
    assert ran.json["exit_code"] == 20, ran.json["error"]
    assert "cancelled: wrong image" in ran.json["error"]["what"]
    assert not is_open(lab)
    assert RUN not in notes(lab)
    assert json.loads(notes(lab)[BROKEN])["reason"] == "cancelled: wrong image"
    assert (workflow(lab) is None) is (phase != "Install")
    assert guards(lab) == []


def test_a_dead_run_is_cancelled_and_its_workflow_that_never_ran_is_removed(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", "dead", speed=10) as lab:
        killed_in(lab, "Boot")
        assert is_open(lab)
        process = start(lab, "cancel", NAME, "--yes", "--reason", "the rack is moved")
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert "netboot is closed" in out
        assert not is_open(lab)
        assert workflow(lab) is None
        assert guards(lab) == []
        again = start(lab, "cancel", NAME, "--yes")
        assert "no run holds" in again.communicate(timeout=60)[1]
        assert again.returncode == 10


def test_the_old_client_loses_its_claim_to_the_one_that_resumes_and_writes_nothing_more(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", speed=10) as lab, Watched(lab, "Boot") as old:
        assert is_open(lab)
        new = provision(lab, options=Options(resume=True))
        assert new.json["verdict"] == "provisioned", new.json["error"]
        held = [event.holder for event in old.ran.each(ClaimChanged)]  # type: ignore[attr-defined]
        assert [event.holder for event in new.each(Resumed)] == held  # type: ignore[attr-defined]
        version, known = hardware(lab)["metadata"]["resourceVersion"], len(old.ran.records)
        old.clock.slept = 60
        ran = old.end()
        assert ran.json["exit_code"] == 20, ran.json["error"]
        assert hardware(lab)["metadata"]["resourceVersion"] == version
        said = [record.event for record in ran.records[known:]]
        assert [event for event in said if isinstance(event, CommandStarted) and event.effect == "write"] == []
        assert (lab.machine(NAME).wiped, lab.machine(NAME).state) == (1, "new")


def test_the_old_client_leaves_the_workflow_and_window_of_the_one_that_resumes(tmp_path: Path) -> None:
    """Before an agent has it: the old client's way back must not take away what the new one waits for."""
    with Lab(tmp_path / "lab", "dead", speed=10) as lab, Watched(lab, "Boot") as old:
        with Watched(lab, "Boot", Options(resume=True)) as new:
            old.clock.slept = 60
            ran = old.end()
            assert ran.json["exit_code"] == 20, ran.json["error"]
            assert "lost to" in ran.json["error"]["what"]
            assert workflow(lab) is not None
            assert is_open(lab)
            assert len(lab.machine(NAME).boots) == 1
            assert new.ran.each(Resumed)
        assert not is_open(lab)


def test_attach_tells_actions_windows_and_the_end(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", "slow", speed=20) as lab, Watched(lab, "Boot") as run:
        told = Ran()
        with Foundry.load(lab.inventory, sinks=[told]) as foundry, ThreadPoolExecutor(1) as pool:
            following = pool.submit(foundry.attach, NAME)
            until(lambda: any(isinstance(event, WindowChanged) for event in told.events))
            ran = run.end()
            seen = following.result(60)
        assert ran.json["verdict"] == "provisioned", ran.json["error"]
        assert (seen.run, seen.ended, seen.how) == (ran.json["run"], True, "")
        assert [event.state for event in told.each(WindowChanged)] == ["open", "closed"]  # type: ignore[attr-defined]
        assert len(told.each(ActionStarted)) == len(told.each(ActionEnded)) == 3
        writes = [event for event in told.each(CommandStarted) if event.effect != "read"]  # type: ignore[attr-defined]
        assert writes == []
        assert {record.run for record in told.records if record.run} == {ran.json["run"]}


def test_there_is_nothing_to_follow_on_a_server_that_nobody_holds(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab") as lab, Foundry.load(lab.inventory) as foundry:
        with pytest.raises(PreflightError, match="no run holds"):
            foundry.attach(NAME)
        foundry.open_netboot(NAME, "a try")
        for ending in (foundry.attach, foundry.cancel):
            with pytest.raises(ClaimedError, match="opened by hand") as caught:
                ending(NAME)
            assert caught.value.next == f"fab netboot.close {NAME}"
        foundry.close_netboot(NAME)

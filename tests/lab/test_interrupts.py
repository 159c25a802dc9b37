"""What comes in the middle of a run: Ctrl-C, SIGTERM, a line that is cut, a disk that is full."""

from __future__ import annotations

import json
import resource
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from metalfoundry.lab.kubernetes.store import Object
from metalfoundry.lab.lab import Lab
from metalfoundry.model.events import CommandStarted, Notice, PhaseStarted, Record
from metalfoundry.ui.tasks.errors import SAME_WISH
from tests.lab.bench import NAME, SPEED, Ran, clean, hardware, is_open, provision, start, tune

PHASES = ["Preflight", "Claim", "Apply", "Open", "Boot", "Close", "Install", "Verify", "Release"]
SIGNALS = [
    ("Preflight", signal.SIGINT, 130),
    ("Apply", signal.SIGINT, 130),
    ("Boot", signal.SIGINT, 130),
    ("Boot", signal.SIGTERM, 143),
    ("Install", signal.SIGINT, 130),
    ("Verify", signal.SIGHUP, 129),
]


@dataclass
class Stopped:
    """A program that was sent a signal."""

    lab: Lab
    before: Object
    code: int
    report: dict[str, object]
    err: str


def stop(folder: Path, phase: str, number: int) -> Stopped:
    """Run the program in a lab of its own, and signal it when it says that the phase begins."""
    with Lab(folder, "slow" if phase == "Install" else "installs", speed=10) as lab:
        before = hardware(lab)
        process = start(lab, "provision", NAME, "--yes", "--json")
        assert process.stdout is not None
        assert process.stderr is not None
        said: list[str] = []
        sent = False
        for line in process.stderr:
            said.append(line)
            if f"  {phase} …" in line and not sent:
                process.send_signal(number)
                sent = True
        out = process.stdout.read()
        code = process.wait(60)
        process.stdout.close()
        process.stderr.close()
        assert clean(lab, before), said
        return Stopped(lab, before, code, json.loads(out) if out else {}, "".join(said))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, int], Stopped]]:
    with ThreadPoolExecutor(3) as pool:
        futures = {
            (phase, number): pool.submit(stop, tmp_path_factory.mktemp("lab"), phase, number)
            for phase, number, _ in SIGNALS
        }
        yield {key: future.result() for key, future in futures.items()}


@pytest.mark.parametrize(("phase", "number", "code"), SIGNALS)
def test_a_signal_ends_with_the_window_closed_and_the_claim_given_back(
    stopped: dict[tuple[str, int], Stopped], phase: str, number: int, code: int
) -> None:
    seen = stopped[phase, number]
    assert seen.code == code, seen.err
    assert (seen.report["verdict"], seen.report["exit_code"]) == ("interrupted", code)
    looked_at = (True,) if phase != "Preflight" else (True, None)
    assert seen.report["netboot"]["closed"] in looked_at  # type: ignore[index]
    assert "error: interrupted" in seen.err
    disk = phase in ("Install", "Verify")
    assert ("been written" in seen.err and "see what the machine does" in seen.err) is disk, seen.err
    assert ("run it again" in seen.err) is not disk
    assert "Traceback" not in seen.err


def cut(folder: Path, phase: str) -> tuple[Ran, bool]:
    """A run whose every line is cut when the phase begins; whether the server is safe afterwards."""

    with Lab(folder, speed=SPEED) as lab:
        tune(lab, timeouts={"netboot": "120s"})  # enough for a link's death to be noticed on a busy computer
        before = hardware(lab)

        def scissors(record: Record) -> None:
            if isinstance(record.event, PhaseStarted) and record.event.title == phase:
                lab.jump.cut_links()

        ran = provision(lab, at=scissors)
        return ran, clean(lab, before)


@pytest.fixture(scope="module")
def severed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Ran, bool]]:
    with ThreadPoolExecutor(3) as pool:
        futures = {phase: pool.submit(cut, tmp_path_factory.mktemp("lab"), phase) for phase in PHASES}
        return {phase: future.result() for phase, future in futures.items()}


@pytest.mark.parametrize("phase", PHASES)
def test_a_run_outlives_a_line_that_is_cut(severed: dict[str, tuple[Ran, bool]], phase: str) -> None:
    ran, safe = severed[phase]
    assert safe
    assert ran.json["exit_code"] == 0, ran.json["error"]
    assert ran.json["netboot"]["closed"] is True


def test_a_line_that_is_cut_again_and_again_still_ends_closed(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", speed=SPEED) as lab:
        before = hardware(lab)
        commands, cut = count(1), list[int]()

        def scissors(record: Record) -> None:
            if isinstance(record.event, CommandStarted) and next(commands) % 3 == 0:
                cut.append(lab.jump.cut_links())

        ran = provision(lab, at=scissors)
        assert sum(cut) > 1
        assert ran.json["netboot"]["closed"] is not False, ran.json
        assert clean(lab, before)


def no_room() -> None:
    """From now on no file can grow, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def test_a_full_disk_is_a_notice_and_the_server_is_provisioned(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", speed=SPEED) as lab:
        before, known = hardware(lab), (lab.folder / "known_hosts").read_text()
        process = start(lab, "provision", NAME, "--yes", preexec_fn=no_room)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, (out, err)
        assert "could not be recorded" in out
        assert "SHA256:" in out
        assert f"{lab.folder}/known_hosts" in out
        assert "unexpected" not in err
        assert (lab.folder / "known_hosts").read_text() == known
        assert clean(lab, before)


def test_a_known_hosts_that_is_no_file_is_a_notice(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", speed=SPEED) as lab:
        before = hardware(lab)
        tune(lab, server={"known_hosts": "/dev/null", "host_key": "accept-new"})
        ran = provision(lab)
        assert ran.json["exit_code"] == 0, ran.json["error"]
        notices = [event.text for event in ran.events if isinstance(event, Notice)]
        assert any("could not be recorded" in text and "/dev/null" in text for text in notices), notices
        assert clean(lab, before)


def test_a_second_interrupt_leaves_at_once_with_the_same_exit_code_where_nothing_is_open(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", "dead", speed=SPEED) as lab:
        process = start(lab, "provision", NAME, "--yes")
        assert process.stdout is not None
        assert lab.door is not None
        for line in process.stdout:
            if "  Apply …" in line:
                lab.door.faults.delay = 5.0  # the cleaning-up takes its time
                process.send_signal(signal.SIGINT)
            if "Apply      interrupted" in line:
                time.sleep(2 * SAME_WISH[signal.SIGINT])  # a person's second is no echo of the first
                process.send_signal(signal.SIGINT)
                break
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "error: interrupted a second time: the claim stays until" in err
        assert "now:   " in err
        assert "Traceback" not in err
        assert not is_open(lab)

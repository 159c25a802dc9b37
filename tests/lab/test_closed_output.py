"""Whoever reads our output may leave at any moment: that costs the output alone."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from metalfoundry.lab.lab import Lab
from metalfoundry.ui.tasks.errors import SAME_WISH
from tests.lab.bench import NAME, PROGRAM, SPEED, is_open, start, workflow
from tests.waiting import until

pytestmark = pytest.mark.timeout(400)
PHASES = ("preflight", "claim", "apply", "open", "boot", "close", "install", "verify", "release")
MODES = ("lines", "live", "json", "events")
AT_ONCE = 4
BOTH = [f"{phase}-{mode}" for phase in PHASES for mode in MODES]


@dataclass
class Left:
    """A run whose reader left: its exit code, what it said on stderr, its own record, and the hook that was told."""

    code: int
    err: str
    report: Mapping[str, Any]
    hook: str


def state(lab: Lab, server: str) -> Path | None:
    folders = [path for path in (lab.folder / "state" / "runs").glob(f"*-{server}-????????") if path.is_dir()]
    return folders[0] if folders else None


def reached(lab: Lab, server: str, phase: str) -> bool:
    """Whether the run's own record says that it is in this phase."""
    folder = state(lab, server)
    if folder is None or not (folder / "events.jsonl").exists():
        return False
    text = (folder / "events.jsonl").read_text(encoding="utf-8")
    return f'"event": "PhaseStarted", "title": "{phase.capitalize()}"' in text


def read_until(process: subprocess.Popen[str], reading: int, lab: Lab, server: str, phase: str) -> None:
    os.set_blocking(reading, False)
    while not reached(lab, server, phase):
        assert process.poll() is None
        with suppress(BlockingIOError):
            os.read(reading, 2**20)
        time.sleep(0.01)


def leave(lab: Lab, server: str) -> Left:
    """Run it, and close what it writes to when the phase begins."""
    phase, mode = server.split("-")
    more = {"json": ["--json"], "events": ["--events", "-"]}.get(mode, [])
    reading, writing = pty.openpty() if mode == "live" else os.pipe()
    with (lab.folder / f"{server}.err").open("w+") as err:
        process = start(lab, "provision", server, "--yes", *more, stdout=writing, stderr=err, start_new_session=True)
        os.close(writing)
        read_until(process, reading, lab, server, phase)
        os.close(reading)
        code = process.wait(60)
        err.seek(0)
        said = err.read()
    folder = state(lab, server)
    assert folder is not None
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    hooks = (lab.folder / f"{server}.hook").read_text()
    return Left(code, said, report, hooks.strip())


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Future[Left]]]:
    with Lab(tmp_path_factory.mktemp("lab"), speed=SPEED, servers=BOTH) as lab:
        hooks = {name: f"echo {name} >> $METALFOUNDRY_SERVER.hook" for name in ("verified", "failed")}
        inventory = yaml.safe_load(lab.inventory.read_text())
        lab.inventory.write_text(yaml.safe_dump(inventory | {"hooks": hooks}))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            yield {server: pool.submit(leave, lab, server) for server in BOTH}
            pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("server", BOTH)
def test_a_run_goes_on_to_its_own_end(left: Mapping[str, Future[Left]], server: str) -> None:
    seen = left[server].result()
    assert (seen.code, seen.report["verdict"], seen.report["exit_code"]) == (0, "provisioned", 0), seen.err
    assert seen.report["netboot"]["closed"] is True
    assert [phase["title"] for phase in seen.report["phases"]][-1] == "Release"
    assert seen.hook == "verified"
    assert not any(word in seen.err for word in ("Traceback", "BrokenPipe", "Exception ignored", "a sink of events"))


def known(lab: Lab) -> dict[str, str]:
    return {"METALFOUNDRY_STATE": str(lab.folder / "state"), "METALFOUNDRY_INVENTORY": str(lab.inventory)}


def piped(lab: Lab, line: str) -> str:
    """What a shell line says on stderr."""
    words, environment = ["sh", "-c", line], {**os.environ, **known(lab)}
    done = subprocess.run(words, cwd=lab.folder, env=environment, capture_output=True, text=True, check=False)
    return done.stderr


CLOSED = (">&-", "2>&-", ">&- 2>&-", "| true", "2>&1 | true")
CODES = {"installs": 0, "action-fails": 31}
ENDS = {f"{scenario}-{number}": scenario for scenario in CODES for number in range(len(CLOSED))}


def end(lab: Lab, server: str) -> tuple[str, str]:
    """The exit code and stderr of a run whose output is closed from the start."""
    closed = CLOSED[int(server[-1])]
    err = piped(lab, f"{{ {PROGRAM} provision {server} --yes; echo $? >{server}.code; }} {closed}")
    return (lab.folder / f"{server}.code").read_text().strip(), err


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Future[tuple[str, str]]]]:
    with (
        Lab(tmp_path_factory.mktemp("lab"), speed=SPEED, servers=list(ENDS), each=ENDS) as lab,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        yield {server: pool.submit(end, lab, server) for server in ENDS}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("server", ENDS)
def test_the_exit_code_is_the_runs_own(ends: Mapping[str, Future[tuple[str, str]]], server: str) -> None:
    code, err = ends[server].result()
    assert code == str(CODES[ENDS[server]]), err
    assert "Exception ignored" not in err and "Traceback" not in err


@pytest.mark.parametrize("mode", ["lines", "live", "events"])
def test_a_reader_who_stays_and_does_not_read_holds_nothing_up(tmp_path: Path, mode: str) -> None:
    with Lab(tmp_path / "lab", speed=SPEED) as lab:
        reading, writing = pty.openpty() if mode == "live" else os.pipe()
        if mode == "live":
            termios.tcflow(writing, termios.TCOOFF)  # Ctrl-S
        else:
            fill(writing)
        more = ["--events", "-"] if mode == "events" else []
        with (lab.folder / "err").open("w+") as err:
            process = start(lab, "provision", NAME, "--yes", *more, stdout=writing, stderr=err)
        until(lambda: any((lab.folder / "state" / "runs").glob("*/report.json")))
        assert not is_open(lab)
        assert process.poll() is None  # its last words wait for him
        if mode == "live":
            termios.tcflow(writing, termios.TCOON)
        os.close(writing)
        text = "".join(iter(lambda: read(reading), ""))
        os.close(reading)
        assert process.wait(30) == 0
        assert "netboot is closed" in text or '"event": "RunEnded", "verdict": "provisioned"' in text
        assert (lab.folder / "err").read_text().count("left out") == 0


def test_a_fifo_of_events_that_nobody_reads_holds_nothing_up(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", speed=SPEED) as lab:
        os.mkfifo(lab.folder / "events")
        reading = os.open(lab.folder / "events", os.O_RDONLY | os.O_NONBLOCK)
        writing = os.open(lab.folder / "events", os.O_WRONLY)
        fill(writing)
        process = start(lab, "provision", NAME, "--yes", "--events", "events")
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert "netboot is closed" in out
        assert err.count("no more events are written to events: it was not read in time") == 1
        (report,) = (lab.folder / "state" / "runs").glob("*/report.json")
        assert json.loads(report.read_text())["verdict"] == "provisioned"
        assert not is_open(lab)
        os.close(writing)
        os.close(reading)


def fill(writing: int) -> None:
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while os.write(writing, b"." * 4096):
            continue
    os.set_blocking(writing, True)


def read(reading: int) -> str:
    """What is there; "" at the end, which a terminal says by an error."""
    try:
        return os.read(reading, 65536).decode(errors="replace")
    except OSError:
        return ""


def test_unsafe_stays_unsafe(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", "dead", speed=SPEED, servers=[NAME]) as lab:
        process = start(lab, "provision", NAME, "--yes")
        assert process.stdout is not None and process.stderr is not None
        while "netboot is open" not in process.stdout.readline():
            continue
        process.stdout.close()
        lab.jump.freeze()
        process.send_signal(signal.SIGINT)
        time.sleep(2 * SAME_WISH[signal.SIGINT])  # a person's second is no echo of the first
        process.send_signal(signal.SIGINT)
        err = process.stderr.read()
        process.stderr.close()
        assert process.wait(10) == 40, err
        assert "ssh " in err


def test_a_task_that_only_shows_something_ends_quietly(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", speed=SPEED) as lab:
        for words in ("status", "status --json", "runs", "netboot.status", "provision --help"):
            line = f"{{ {PROGRAM} {words}; echo $? >code; }} | true"
            assert (words, piped(lab, line)) == (words, "")
            assert (words, (lab.folder / "code").read_text().strip()) == (words, "0")


def test_a_terminal_that_is_closed_is_one_interrupt(tmp_path: Path) -> None:
    """The kernel tells the shell and, when that is gone, its foreground group; the shell tells its jobs before."""
    with Lab(tmp_path / "lab", "dead", speed=SPEED, servers=[NAME]) as lab:
        master, slave = pty.openpty()
        shell = subprocess.Popen(
            ["setsid", "--ctty", "bash", "--norc", "--noprofile", "-i"],
            stdin=slave, stdout=slave, stderr=slave, cwd=lab.folder, env={**os.environ, **known(lab), "TERM": "xterm"},
        )  # fmt: skip
        os.close(slave)
        os.write(master, f"{PROGRAM} provision {NAME} --yes\n".encode())
        end = time.monotonic() + 30
        while not is_open(lab):
            assert time.monotonic() < end
            with suppress(BlockingIOError):
                os.set_blocking(master, False)
                os.read(master, 65536)
            time.sleep(0.01)
        if lab.door is not None:
            lab.door.faults.delay = 0.3  # taking back takes its time, so that a second signal would come into it
        os.close(master)
        shell.wait(10)
        folder = state(lab, NAME)
        assert folder is not None
        while not (folder / "report.json").exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        assert (report["verdict"], report["exit_code"], report["netboot"]["closed"]) == ("interrupted", 129, True)
        assert "the claim given back" in report["error"]["what"]
        assert not is_open(lab)
        assert workflow(lab) is None

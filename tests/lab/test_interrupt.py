"""Ctrl-C, SIGTERM and SIGHUP to the real program: what is taken back, what is said, and how quickly it leaves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from metalfoundry.lab.lab import Lab
from metalfoundry.ui.tasks.errors import SAME_WISH
from tests.lab.bench import NAME, PROGRAM, guards, hardware, is_open, kept, need_ssh, start, workflow
from tests.waiting import PATIENCE


class Watched:
    """The program under way; `until` reads its lines."""

    def __init__(self, lab: Lab, *words: str) -> None:
        self.process = start(lab, "provision", NAME, "--yes", *words, stderr=subprocess.STDOUT)
        self.lines: list[str] = []
        self._came = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                with self._came:
                    self.lines.append(line)
                    self._came.notify_all()

    def until(self, words: str) -> None:
        with self._came:
            assert self._came.wait_for(lambda: any(words in line for line in self.lines), PATIENCE), self.lines

    def ended(self, within: float) -> tuple[int, str]:
        begun = time.monotonic()
        status = self.process.wait(PATIENCE)
        assert time.monotonic() - begun < within
        self._reader.join(PATIENCE)
        return status, "".join(self.lines)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path / "lab", "dead", 40.0, servers=[NAME]) as one:
        yield one


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_first_takes_everything_back_and_says_so(lab: Lab, number: int, code: int) -> None:
    before = hardware(lab)
    run = Watched(lab)
    run.until("Boot")
    run.until("netboot is open")
    os.kill(run.process.pid, number)
    status, said = run.ended(within=40)
    assert status == code, said
    assert "netboot is closed, the claim given back" in said
    assert not is_open(lab)
    assert kept(hardware(lab)) == kept(before)
    assert guards(lab) == []
    assert workflow(lab) is None
    assert lab.processes.alive(NAME) == []


def test_before_anything_was_written_it_just_ends(lab: Lab) -> None:
    before = hardware(lab)
    lab.jump.freeze()
    run = Watched(lab)
    run.until("Preflight")
    run.process.send_signal(signal.SIGINT)
    status, said = run.ended(within=30)
    assert (status, "nothing was changed" in said) == (130, True), said
    assert hardware(lab) == before


@pytest.mark.parametrize("more", [1, 4])
def test_the_second_leaves_at_once_with_the_command_that_closes(lab: Lab, more: int) -> None:
    need_ssh()
    run = Watched(lab)
    run.until("Boot")
    run.until("netboot is open")
    lab.jump.freeze()  # so that the first cannot end
    run.process.send_signal(signal.SIGINT)
    time.sleep(5 * SAME_WISH[signal.SIGINT])  # it is in the middle of taking back; nothing tells us when
    for _ in range(more):
        with suppress(ProcessLookupError):
            run.process.send_signal(signal.SIGINT)
        time.sleep(0.01)
    status, said = run.ended(within=20)
    assert status == 40, said
    assert f"netboot of {NAME} is not confirmed closed: left at a second interrupt" in said
    assert re.search(r"the guard \S+ still holds it", said)
    lab.jump.thaw()
    assert is_open(lab) and len(guards(lab)) == 1
    command = "ssh " + next(line for line in said.splitlines() if "now:" in line).split("ssh ", 1)[1]
    subprocess.run(command, shell=True, check=True, stdin=subprocess.DEVNULL)
    assert not is_open(lab)


def test_a_signal_that_was_ignored_stays_ignored(lab: Lab) -> None:
    script = f"trap '' HUP; exec {PROGRAM} provision {NAME} --yes --inventory {lab.inventory}"
    run = subprocess.Popen(["sh", "-c", script], cwd=lab.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert run.stdout is not None
    for line in run.stdout:
        if b"Boot" in line:
            break
    run.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert run.poll() is None
    run.send_signal(signal.SIGTERM)
    assert run.wait(PATIENCE) == 143
    run.stdout.close()

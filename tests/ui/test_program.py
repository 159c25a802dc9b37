"""Plain `fab`, which loads our tasks: what it writes by itself may go away like what a task writes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

FABFILE = """\
import sys
from fabric import task
from metalfoundry.fab import ns

@task
def own(c):
    sys.stdout.buffer.write(b"whole")

ns.add_task(own)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "fabfile.py").write_text(FABFILE)
    return tmp_path


def fab(
    place: Path, *words: str, stdout: int = subprocess.PIPE, env: Mapping[str, str] = os.environ
) -> subprocess.CompletedProcess[str]:
    line = [str(Path(sys.executable).with_name("fab")), *words]
    return subprocess.run(
        line, cwd=place, env=env, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("words", [("--list",), ("--help", "provision"), ("provision", "--help")])
def test_a_reader_who_has_left_is_no_error(place: Path, words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = fab(place, *words, stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_said_in_a_line(place: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = fab(place, "--list", stdout=full)
    finally:
        os.close(full)
    assert done.stderr == "warning: stdout cannot be written any more: No space left on device\n"


def test_letters_that_a_terminal_does_not_have_are_shown_by_number(place: Path) -> None:
    done = fab(place, "provision", "--help", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u" in done.stdout


def test_a_task_of_the_users_own_has_the_streams_whole(place: Path) -> None:
    done = fab(place, "own")
    assert (done.returncode, done.stdout, done.stderr) == (0, "whole", "")


def test_a_fault_in_the_command_line_is_still_said(place: Path) -> None:
    done = fab(place, "nope")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")

"""The shell around a followed command, in each shell a jump host may have as its `sh`."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from metalfoundry.commands.command import Command
from metalfoundry.transport.follow import wrap
from tests.transport.servers import is_running

SHELLS = (("dash",), ("bash", "--posix"), ("bash",), ("busybox", "sh"))


@pytest.fixture(params=SHELLS, ids="-".join)
def shell(request: pytest.FixtureRequest) -> tuple[str, ...]:
    if shutil.which(request.param[0]) is None:
        pytest.skip(f"no {request.param[0]} here")
    words: tuple[str, ...] = request.param
    return words


@contextmanager
def wrapped(shell: tuple[str, ...], command: Command, path: str = os.defpath) -> Iterator[subprocess.Popen[str]]:
    """The command under its wrapper, its stdin already sent."""
    script = wrap(command)
    pipe = subprocess.PIPE
    whole = [shutil.which(shell[0]) or shell[0], *shell[1:], "-c", script]
    with subprocess.Popen(whole, stdin=pipe, stdout=pipe, text=True, env={"PATH": path}) as process:
        assert process.stdin
        process.stdin.write(command.stdin)
        process.stdin.flush()
        yield process


def ends(pid: int) -> bool:
    for _ in range(3000):
        if not is_running(pid):
            return True
        time.sleep(0.02)
    return False


def test_it_ends_with_the_status_of_the_command_while_stdin_is_open(shell: tuple[str, ...]) -> None:
    with wrapped(shell, Command(("sh", "-c", "exit 7"))) as process:
        assert process.wait(60) == 7


def test_the_commands_own_stdin_reaches_it(shell: tuple[str, ...]) -> None:
    with wrapped(shell, Command(("cat",), stdin="one\n\\two %s\n\n")) as process:
        assert process.wait(60) == 0
        assert process.stdout and process.stdout.read() == "one\n\\two %s\n\n"


@pytest.mark.parametrize("stdin", ["", "echo $$; sleep 60 & echo $!; wait"])
def test_the_end_of_stdin_ends_it_with_its_children(shell: tuple[str, ...], stdin: str) -> None:
    argv = ("sh", "-s") if stdin else ("sh", "-c", "echo $$; sleep 60 & echo $!; wait")
    with wrapped(shell, Command(argv, stdin=stdin)) as process:
        assert process.stdin and process.stdout
        pids = [int(process.stdout.readline()) for _ in range(2)]
        process.stdin.close()
        assert process.wait(60) == 128 + 15
        assert all(ends(pid) for pid in pids)


def test_without_setsid_the_command_itself_is_ended(shell: tuple[str, ...], tmp_path: Path) -> None:
    for name in ("sh", "sleep", "head"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    with wrapped(shell, Command(("sh", "-c", "echo $$; exec sleep 60")), path=str(tmp_path)) as process:
        assert process.stdin and process.stdout
        pid = int(process.stdout.readline())
        process.stdin.close()
        assert process.wait(60) == 128 + 15
        assert ends(pid)

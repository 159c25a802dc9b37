"""A jump host that is this computer: its commands are programs of this computer, and keep every promise of the door."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from metalfoundry.commands.command import Command, Effect, Raw
from metalfoundry.model.errors import CommandError, ConnectError, DeadlineExceeded, TooMuchOutput
from metalfoundry.model.hosts import Host
from metalfoundry.transport.this_computer import ThisComputer
from tests.fakes import FakeTransport
from tests.transport.servers import ends_when, gone, soon
from tests.waiting import until

HERE = Host("localhost", "localhost", local=True)
NOBODY = 65534
THERE = Host("anvil", "192.0.2.7")


@pytest.fixture
def door() -> ThisComputer:
    return ThisComputer(FakeTransport())


def shell(text: str, **more: object) -> Command:
    return replace(Command(("sh", "-c", text)), **more)  # type: ignore[arg-type]


def lines(stream: Iterator[str | None]) -> Iterator[str]:
    return (line for line in stream if line is not None)


def test_both_streams_and_the_status(door: ThisComputer) -> None:
    result = door.run(HERE, shell("echo out; echo err >&2; exit 3"), soon())
    assert (result.exit_status, result.stdout, result.stderr) == (3, "out\n", "err\n")


def test_a_program_that_is_killed_has_the_status_of_a_shell(door: ThisComputer) -> None:
    assert door.run(HERE, shell("kill -KILL $$"), soon()).exit_status == 128 + signal.SIGKILL


def test_stdin_is_given_whole_and_ends_while_both_outputs_are_drained(door: ThisComputer) -> None:
    text = "x" * 3_000_000
    result = door.run(HERE, shell("tee /dev/stderr", stdin=text), soon())
    assert (result.stdout, result.stderr) == (text, text)


def test_who_does_not_read_its_stdin_ends_all_the_same(door: ThisComputer) -> None:
    assert door.run(HERE, shell("exec <&-; echo done", stdin="x" * 3_000_000), soon()).stdout == "done\n"


def test_a_word_is_quoted_and_a_raw_one_is_not(door: ThisComputer) -> None:
    assert door.run(HERE, Command(("echo", "a; b", Raw("| tr a c"))), soon()).stdout == "c; b\n"


def test_no_signal_of_the_terminal_reaches_it(door: ThisComputer) -> None:
    told = door.run(HERE, shell("ps -o sid= -p $$"), soon())
    assert int(told.stdout) != os.getsid(0)


def test_one_that_does_not_end_in_time_is_killed_with_its_children(door: ThisComputer, tmp_path: Path) -> None:
    kept = tmp_path / "pid"
    command = shell(f"sleep 600 & echo $! >{kept}.part; mv {kept}.part {kept}; wait")
    with pytest.raises(DeadlineExceeded, match=r"did not end in time, and was ended") as caught:
        door.run(HERE, command, ends_when(kept.exists))
    assert caught.value.sent
    assert gone(int(kept.read_text()))


class Somebody:
    """A user who is not root, with a sudo before him that needs no password."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pid = folder, folder / "pid"
        folder.chmod(0o755)
        shutil.copy("/bin/bash", folder / "root-bash")
        (folder / "root-bash").chmod(0o4755)
        self.may("")

    def may(self, refused: str) -> None:
        """Have sudo do what is asked, but for words that fit the pattern `refused`."""
        text = f"""#!{self.folder}/root-bash -p
case "$*" in {refused or "-"}) exit 1 ;; esac
[ "$1" = -n ] && shift
exec setpriv --reuid 0 --regid 0 --clear-groups -- "$@"
"""
        sudo = self.folder / "sudo"
        sudo.write_text(text)
        sudo.chmod(0o755)

    @contextmanager
    def himself(self) -> Iterator[None]:
        os.setresuid(NOBODY, NOBODY, 0)
        try:
            yield
        finally:
            os.setresuid(0, 0, 0)

    def sleeper(self, before: str = "") -> str:
        """A shell line that sleeps as root, its process id in `pid`."""
        return f"sudo sh -c '{before} echo $$ >{self.pid}.part; mv {self.pid}.part {self.pid}; exec sleep 600'"


@pytest.fixture
def somebody(monkeypatch: pytest.MonkeyPatch) -> Iterator[Somebody]:
    if os.geteuid():
        pytest.skip("only root can play another user")
    with TemporaryDirectory() as folder:  # of pytest's own nobody but root can see the inside
        somebody = Somebody(Path(folder))
        monkeypatch.setenv("PATH", folder, prepend=os.pathsep)
        yield somebody
        if somebody.pid.exists():
            with suppress(ProcessLookupError):
                os.kill(int(somebody.pid.read_text()), signal.SIGKILL)


LATE_LINES = {
    "in a script": lambda line: Command(("sh", "-s"), stdin=f"{line}\necho not before it\n"),
    "alone": lambda line: Command((Raw("exec"), Raw(line))),
    "heedless of TERM": lambda line: Command(("sh", "-s"), stdin=line.replace("-c '", '-c \'trap "" TERM;')),
}


@pytest.mark.parametrize("kind", LATE_LINES)
def test_what_runs_under_sudo_is_ended_as_well(door: ThisComputer, somebody: Somebody, kind: str) -> None:
    command = LATE_LINES[kind](somebody.sleeper())
    with somebody.himself(), pytest.raises(DeadlineExceeded, match=r"did not end in time, and was ended \("):
        door.run(HERE, command, ends_when(somebody.pid.exists))
    assert gone(int(somebody.pid.read_text()))


@pytest.mark.parametrize("kind", ["in a script", "alone"])
def test_where_sudo_does_not_end_it_that_is_said(door: ThisComputer, somebody: Somebody, kind: str) -> None:
    somebody.may("*kill*")
    command = LATE_LINES[kind](somebody.sleeper())
    with (
        somebody.himself(),
        pytest.raises(DeadlineExceeded, match="goes on: it could not be ended, not by sudo") as caught,
    ):
        door.run(HERE, command, ends_when(somebody.pid.exists))
    group = os.getpgid(int(somebody.pid.read_text()))
    assert caught.value.next == f"sudo kill -- -{group}"


def test_what_writes_goes_on_when_it_is_left(door: ThisComputer, tmp_path: Path) -> None:
    began, pipe, done = (tmp_path / name for name in ("began", "pipe", "done"))
    os.mkfifo(pipe)
    command = shell(
        f": >{began}; read word <{pipe}; echo $word >{done}.part; mv {done}.part {done}", effect=Effect.WRITE
    )
    with pytest.raises(DeadlineExceeded) as late:
        door.run(HERE, command, ends_when(began.exists))
    assert late.value.sent and "ended" not in str(late.value)
    pipe.write_text("go\n")
    until(done.exists)


def test_children_that_outlive_their_shell_are_ended_with_it(door: ThisComputer, tmp_path: Path) -> None:
    kept = tmp_path / "pid"
    command = shell(f"sleep 600 & echo $! >{kept}.part; mv {kept}.part {kept}")
    with pytest.raises(DeadlineExceeded, match=r"and was ended \("):
        door.run(HERE, command, ends_when(kept.exists))
    assert gone(int(kept.read_text()))


def test_what_left_its_session_stays(door: ThisComputer, tmp_path: Path) -> None:
    result = door.run(HERE, shell("setsid sleep 600 </dev/null >/dev/null 2>&1 & echo $!"), soon())
    pid = int(result.stdout)
    try:
        os.kill(pid, 0)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_more_than_is_bearable_is_cut_off(door: ThisComputer) -> None:
    with pytest.raises(TooMuchOutput, match="more than 1 MB"):
        door.run(HERE, shell("yes", most=2**20), soon())


def test_a_computer_that_starts_no_program_is_an_error_of_ours(
    door: ThisComputer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*words: object, **more: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(ConnectError, match="no program can be started: Resource temporarily unavailable"):
        door.run(HERE, shell("true"), soon())


def test_lines_come_one_by_one_with_ticks_in_silence(door: ThisComputer, tmp_path: Path) -> None:
    go = tmp_path / "go"
    stream = door.follow(HERE, shell(f"echo one; until test -e {go}; do sleep 0.05; done; printf two"), soon(), 0.1)
    assert next(lines(stream)) == "one"
    assert next(stream) is None
    go.touch()
    assert list(lines(stream)) == ["two"]


def test_a_followed_command_that_fails_says_why(door: ThisComputer) -> None:
    with pytest.raises(CommandError, match="exit status 4") as caught:
        list(door.follow(HERE, shell("echo no such thing >&2; exit 4"), soon()))
    assert caught.value.stderr == "no such thing\n"


def test_closing_the_stream_ends_the_command(door: ThisComputer) -> None:
    with closing(door.follow(HERE, shell("echo $$; exec sleep 600"), soon())) as stream:  # type: ignore[type-var]
        pid = int(next(lines(stream)))
    assert gone(pid)


def test_the_deadline_ends_the_stream_and_the_command(door: ThisComputer) -> None:
    read: list[int] = []
    stream = door.follow(HERE, shell("echo $$; exec sleep 600"), ends_when(lambda: read), 0.1)
    read.append(int(next(lines(stream))))
    assert list(lines(stream)) == []
    assert gone(read[0])


def test_a_followed_command_has_its_stdin(door: ThisComputer) -> None:
    command = Command(("sh", "-s"), stdin="echo fed\n")
    assert list(lines(door.follow(HERE, command, soon()))) == ["fed"]


def test_what_is_for_another_host_is_handed_on() -> None:
    inner = FakeTransport()
    inner.on("true", reply="from there", lines=["line"])
    door = ThisComputer(inner)
    assert door.run(THERE, shell("true"), soon()).stdout == "from there"
    assert list(door.follow(THERE, shell("true"), soon())) == ["line"]
    door.disconnect(THERE)
    assert inner.disconnected == [THERE]
    assert door.server_key(HERE) is None

"""What is for a jump host that is this computer: programs of it, for which nothing goes over SSH."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from metalfoundry.commands.command import Command, Effect
from metalfoundry.model.errors import ConnectError, DeadlineExceeded, TooMuchOutput
from metalfoundry.model.hosts import Host, ServerKey
from metalfoundry.transport.base import Result, Wrapped
from metalfoundry.transport.clock import Cancel, Deadline, SystemClock
from metalfoundry.transport.follow import failed, read_lines, wrap
from metalfoundry.transport.threads import LIMITS

PIECE = 2**20
LOOK_SECONDS = 0.25  # how late a cancelled deadline may be seen
PARTING_SECONDS = 2.0  # for a followed command to end once its lifeline is cut; for sudo, and what it has told to end
GONE_SECONDS, STEP_SECONDS = 0.25, 0.05  # for what was killed to end; between two looks
ENDED = ("Z", "X")  # states in /proc


class ThisComputer(Wrapped):
    """A Transport over `inner`, to which it hands on all that is for another host; see Transport for the promises.

    A program is the leader of a session of its own, so that no Ctrl-C or closed terminal reaches it. One that reads,
    and does not end in time, is killed with its group, through `sudo -n kill` where that is root's. One that writes
    goes on, as over SSH: half of it may be done, and what is root's may not be ours to end; see site/left.py.
    """

    def run(self, host: Host, command: Command, deadline: Deadline) -> Result:
        """As Transport.run."""
        if not host.local:
            return self._inner.run(host, command, deadline)
        begun = deadline.clock.now().mono
        out, err, room = bytearray(), bytearray(), command.most
        with _started(host, command.line, command.stdin) as program:
            program.end_input_when_sent()
            program.goes_on = command.effect is not Effect.READ
            while not program.ended:
                _refuse_late(host, program, deadline)
                more = program.read(min(LOOK_SECONDS, deadline.remaining()))
                out += more[0]
                err += more[1]
                if len(out) + len(err) > room:
                    what = f"{host.name}: the command printed more than {room / 2**20:.0f} MB, and was cut off"
                    raise TooMuchOutput(what, where=host.address, sent=True)
            while (status := program.status(LOOK_SECONDS)) is None:
                _refuse_late(host, program, deadline)
        seconds = deadline.clock.now().mono - begun
        return Result(status, out.decode(errors="replace"), err.decode(errors="replace"), seconds)

    def follow(self, host: Host, command: Command, deadline: Deadline, tick: float = 1.0) -> Iterator[str | None]:
        """As Transport.follow."""
        if not host.local:
            yield from self._inner.follow(host, command, deadline, tick)
            return
        with _started(host, wrap(command), command.stdin) as program:
            said = yield from read_lines(program, deadline, tick)
            if said is not None and (status := program.status(PARTING_SECONDS)):
                raise failed(host, status, said)

    def server_key(self, host: Host) -> ServerKey | None:
        """As Transport.server_key; this computer shows none."""
        return None if host.local else self._inner.server_key(host)

    def disconnect(self, host: Host) -> None:
        """As Transport.disconnect."""
        if not host.local:
            self._inner.disconnect(host)


class _Program:
    """A shell line under way, its stdin fed as it takes it, and both outputs always drained."""

    def __init__(self, line: str, stdin: str) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", line],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        self._unsent = memoryview(stdin.encode())
        self._end_input = False
        self._left: bool | None = None
        self.goes_on = False
        self._ready = selectors.DefaultSelector()
        for stream in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(stream.fileno(), False)
        self._outputs = {self._stdout, self._stderr}
        for stream in self._outputs:
            self._ready.register(stream, selectors.EVENT_READ)
        self._ready.register(self._stdin, selectors.EVENT_WRITE)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return not self._outputs

    def end_input_when_sent(self) -> None:
        """Close its stdin after the last byte; else it stays open, as its lifeline."""
        self._end_input = True

    def read(self, seconds: float) -> tuple[bytes, bytes]:
        """What came on stdout and stderr; waits up to `seconds`, so both may be empty."""
        found = {self._stdout: b"", self._stderr: b""}
        for key, _ in self._ready.select(seconds):
            stream = key.fileobj
            if stream is self._stdin:
                self._feed()
            elif stream in self._outputs:
                found[stream] = os.read(key.fd, PIECE)
                if not found[stream]:
                    self._ready.unregister(stream)
                    self._outputs.discard(stream)
        return found[self._stdout], found[self._stderr]

    def status(self, seconds: float) -> int | None:
        """Its exit status, or None when it has not ended within `seconds`."""
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        return 128 - status if status < 0 else status

    @property
    def group(self) -> int:
        """The number of its process group."""
        return self._process.pid

    def end(self) -> bool:
        """End it, and what it has started, if it has not ended: its lifeline is cut first, by which a followed command
        ends its own. Return whether nothing of it goes on. One that `goes_on` is left alone.
        """
        if self._left is None and self.goes_on:
            self._stdin.close()
            if left := self.status(0) is None:
                _reap_late(self._process)
            self._left = left
        elif self._left is None:
            self._stdin.close()
            followed = not self._end_input
            ended = self._process.returncode is not None or (followed and self.status(PARTING_SECONDS) is not None)
            self._left = not ended and not self._kill()
            if self._left:
                _reap_late(self._process)
        return not self._left

    def close(self) -> None:
        """As `end`, and drop what it still says."""
        self._ready.close()
        self.end()
        self._stdout.close()
        self._stderr.close()

    def _kill(self) -> bool:
        """Kill its group; return whether that is gone. What runs under sudo takes no signal from us, and goes on when
        the shell before it is killed: it is told through sudo, which hands TERM on to what it runs.
        """
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.group, signal.SIGKILL)
        gone = self._is_gone(GONE_SECONDS)
        for word in ("-TERM", "-KILL"):
            if gone or not _told_by_sudo("kill", word, "--", f"-{self.group}"):
                break
            gone = self._is_gone(PARTING_SECONDS)
        return gone

    def _is_gone(self, seconds: float) -> bool:
        """Whether nothing of its group runs, or ends within `seconds`."""
        clock = SystemClock()
        deadline = Deadline.after(clock, seconds)
        while self.status(0) is None or _runs(self.group):
            if deadline.expired():
                return False
            clock.wait(STEP_SECONDS, Cancel())
        return True

    def _feed(self) -> None:
        try:
            self._unsent = self._unsent[self._stdin.write(self._unsent) or 0 :]
        except BrokenPipeError:  # it ended without reading all
            self._unsent = self._unsent[:0]
        if not self._unsent:
            self._ready.unregister(self._stdin)
            if self._end_input:
                self._stdin.close()

    @property
    def _stdin(self) -> IO[bytes]:
        return _pipe(self._process.stdin)

    @property
    def _stdout(self) -> IO[bytes]:
        return _pipe(self._process.stdout)

    @property
    def _stderr(self) -> IO[bytes]:
        return _pipe(self._process.stderr)


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None, "asked for as PIPE"
    return stream


@contextmanager
def _started(host: Host, line: str, stdin: str) -> Iterator[_Program]:
    try:
        program = _Program(line, stdin)
    except OSError as error:
        raise ConnectError(
            f"{host.name}: no program can be started: {error.strerror}",
            where="this computer",
            next=LIMITS,
        ) from error
    try:
        yield program
    finally:
        program.close()


def _runs(group: int) -> bool:
    """Whether anything of this process group runs. What has ended counts until it is reaped, which in a container may
    be never; so its state is looked at where there is /proc.
    """
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    states = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, number, *_ = path.read_text(errors="replace").rpartition(")")[2].split()
            states += [state] if int(number) == group else []
    return not states or any(state not in ENDED for state in states)


def _told_by_sudo(*words: str) -> bool:
    """Whether root did this, without a question. A sudo that hangs is left: it is root's, too."""
    quiet = subprocess.DEVNULL
    try:
        asked = subprocess.Popen(
            ("sudo", "-n", *words), stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
        )
    except OSError:
        return False
    try:
        return asked.wait(PARTING_SECONDS) == 0
    except subprocess.TimeoutExpired:
        _reap_late(asked)
        return False


def _reap_late(process: subprocess.Popen[bytes]) -> None:
    """Take its status whenever it ends; nobody waits for that."""
    with contextlib.suppress(RuntimeError):  # no more threads: the program's end reaps it
        threading.Thread(target=process.wait, name="reap", daemon=True).start()


def _refuse_late(host: Host, program: _Program, deadline: Deadline) -> None:
    if not deadline.expired():
        return
    late = f"{host.name}: the command did not end in time"
    if program.end():
        raise DeadlineExceeded(f"{late}, and was ended", where="this computer", sent=True)
    if program.goes_on:
        raise DeadlineExceeded(
            late, where="this computer", next="it may still run here: look before repeating it", sent=True
        )
    raise DeadlineExceeded(
        f"{late}, and goes on: it could not be ended, not by sudo either",
        where="this computer",
        next=f"sudo kill -- -{program.group}",
        sent=True,
    )

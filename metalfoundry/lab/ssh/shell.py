"""What the lab's SSH servers do with a command: a real `sh`, with sshd's manners."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import asyncssh


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where commands run: their environment and working directory; `ran` is told each line."""

    env: Mapping[str, str]
    cwd: Path
    ran: Callable[[str], None]


class ShellSession(asyncssh.SSHServerSession[bytes]):
    """One exec (or shell fed from stdin) without a pty.

    As with sshd, the channel ends when the command has exited *and* nothing holds its stdout and stderr any
    more; and when the connection is lost, its pipes are closed but the command is not signalled.
    """

    def __init__(self, place: Workspace, children: Children) -> None:
        self._place = place
        self._children = children
        self._command: str | None = None
        self._channel: asyncssh.SSHServerChannel[bytes] | None = None
        self._child: _Child | None = None
        self._early: list[bytes] = []
        self._ended = False
        self._starting: asyncio.Task[None] | None = None

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """The channel is open."""
        self._channel = chan
        self._children.sessions += 1

    def exec_requested(self, command: str) -> bool:
        """Any command is taken."""
        self._command = command
        return True

    def shell_requested(self) -> bool:
        """A shell reads its commands from stdin."""
        return True

    def session_started(self) -> None:
        """Start the command."""
        self._place.ran(self._command or "")
        self._starting = asyncio.create_task(self._start())

    async def _start(self) -> None:
        words = ("sh", "-c", self._command) if self._command is not None else ("sh",)
        channel = cast("asyncssh.SSHServerChannel[bytes]", self._channel)
        _, protocol = await asyncio.get_running_loop().subprocess_exec(
            lambda: _Child(channel, self._children),
            *words,
            env=dict(self._place.env),
            cwd=self._place.cwd,
            start_new_session=True,
        )
        self._child = protocol
        for data in self._early:
            protocol.feed(data)
        if self._ended:
            protocol.end_input()
        if channel.is_closing():
            protocol.abandon()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Stdin."""
        if self._child is None:
            self._early.append(data)
        else:
            self._child.feed(data)

    def eof_received(self) -> bool:
        """The end of stdin; the channel stays open for output."""
        self._ended = True
        if self._child is not None:
            self._child.end_input()
        return True

    def pause_writing(self) -> None:
        """The client reads slowly."""
        if self._child is not None:
            self._child.hold(True)

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self._child is not None:
            self._child.hold(False)

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is gone."""
        self._children.sessions -= 1
        if self._child is not None:
            self._child.abandon()


class Children:
    """The commands that were started on one host and still run; `refused`: sessions that were too many."""

    def __init__(self) -> None:
        self.sessions = self.refused = 0
        self._running: set[asyncio.SubprocessTransport] = set()

    def add(self, child: asyncio.SubprocessTransport) -> None:
        """One more."""
        self._running.add(child)

    def remove(self, child: asyncio.SubprocessTransport) -> None:
        """It has ended."""
        self._running.discard(child)

    def kill(self) -> None:
        """End all of them, with what they started in their process groups."""
        for child in list(self._running):
            kill_group(child.get_pid())

    async def gone(self) -> None:
        """Return when all have ended and their pipes are closed."""
        while self._running:
            for child in list(self._running):
                close_pipes(child)
            await asyncio.sleep(0.01)


class _Child(asyncio.SubprocessProtocol):
    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], children: Children) -> None:
        self._channel = channel
        self._children = children
        self._transport: asyncio.SubprocessTransport | None = None
        self._open = {1, 2}
        self._exited = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self._children.add(self._transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if not self._channel.is_closing():
            self._channel.write(data, asyncssh.EXTENDED_DATA_STDERR if fd == 2 else None)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open.discard(fd)
        self._finish()

    def process_exited(self) -> None:
        self._exited = True
        self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._children.remove(self._transport)
            self._transport.close()

    def feed(self, data: bytes) -> None:
        pipe = self._pipe(0)
        if pipe is not None and not pipe.is_closing():
            pipe.write(data)

    def end_input(self) -> None:
        pipe = self._pipe(0)
        if pipe is not None:
            pipe.close()

    def hold(self, wait: bool) -> None:
        for fd in (1, 2):
            pipe = self._transport.get_pipe_transport(fd) if self._transport else None
            if pipe is not None and fd in self._open:
                reading = cast(asyncio.ReadTransport, pipe)
                (reading.pause_reading if wait else reading.resume_reading)()

    def abandon(self) -> None:
        if self._transport is not None:
            close_pipes(self._transport)

    def _pipe(self, fd: int) -> asyncio.WriteTransport | None:
        pipe = self._transport.get_pipe_transport(fd) if self._transport else None
        return cast("asyncio.WriteTransport | None", pipe)

    def _finish(self) -> None:
        if self._open or not self._exited or self._transport is None or self._channel.is_closing():
            return
        code = self._transport.get_returncode() or 0
        if code < 0:
            self._channel.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
        else:
            self._channel.exit(code)


def close_pipes(child: asyncio.SubprocessTransport) -> None:
    """Close our ends of a command's pipes: its stdin ends, and writing gets it SIGPIPE."""
    for fd in (0, 1, 2):
        pipe = child.get_pipe_transport(fd)
        if pipe is not None:
            pipe.close()


def kill_group(pid: int) -> None:
    """SIGKILL to the process group of `pid`, if there is one."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return

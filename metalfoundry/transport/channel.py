"""One command over one paramiko channel: nothing blocks that has no end, and both outputs are always drained."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko

from metalfoundry.model.errors import ConnectError, DeadlineExceeded, TooMuchOutput
from metalfoundry.transport.clock import Deadline
from metalfoundry.transport.connection import Link

PIECE = 2**20
CHUNK = 32 * 1024
WINDOW_POLL = 0.01  # seconds; only while the far side does not take our stdin


class Exchange:
    """A command under way. `start` it, `read` until it `ended`, then ask for its `status`."""

    def __init__(self, link: Link, channel: paramiko.Channel, deadline: Deadline) -> None:
        self._link, self._channel, self._deadline = link, channel, deadline
        self._bell = threading.Event()  # rung by paramiko for data and for the end
        self._stdin = memoryview(b"")
        self._keep_open = False
        self._all_sent = False
        self._heard = deadline.clock.now().mono
        self._calm = False

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        channel = self._channel
        over = bool(channel.eof_received or channel.closed)
        return over and not channel.recv_ready() and not channel.recv_stderr_ready()

    def start(self, line: str, stdin: str, *, keep_open: bool = False) -> None:
        """Send the command and its stdin, which is then closed unless `keep_open`."""
        if self._deadline.expired():
            raise self.too_late(sent=False)
        self._channel.in_buffer.set_event(self._bell)
        self._channel.in_stderr_buffer.set_event(self._bell)
        self._stdin, self._keep_open = memoryview(stdin.encode()), keep_open
        link = self._link
        try:
            with link.limit(min(link.timeouts.connect, self._deadline.remaining())):
                self._channel.exec_command(line)
        except (paramiko.SSHException, EOFError, OSError) as exc:
            if link.active:
                raise ConnectError(
                    f"{link.endpoint.host.name}: refuses to run a command",
                    where=link.endpoint.where,
                    next="look for ForceCommand in sshd_config, or command= in authorized_keys",
                ) from exc
            raise self._gone() from exc
        self._send()

    def read(self, seconds: float) -> tuple[bytes, bytes]:
        """What came on stdout and stderr; waits up to `seconds`, so both may be empty.

        After `timeouts.silence` without a word the host is asked whether it lives. Raises LinkLost.
        """
        link, now = self._link, self._deadline.clock.now
        end = now().mono + seconds
        while not (self._channel.recv_ready() or self._channel.recv_stderr_ready() or self.ended):
            self._send()
            moment = now().mono
            if moment - self._heard >= link.timeouts.silence:
                self._confirm()
            if moment >= end:
                return b"", b""
            self._wait(min(end - moment, WINDOW_POLL if self._stdin else link.timeouts.silence))
        self._heard = now().mono
        try:
            out = self._channel.recv(PIECE) if self._channel.recv_ready() else b""
            err = self._channel.recv_stderr(PIECE) if self._channel.recv_stderr_ready() else b""
        except (paramiko.SSHException, EOFError, OSError) as exc:  # it tells the host that there is room again
            raise self._gone() from exc
        self._send()
        return out, err

    def status(self) -> int:
        """The exit status, once it `ended`; -1 where the host gives none. Raises LinkLost, DeadlineExceeded."""
        while not self._channel.status_event.is_set():
            if self._deadline.expired():
                raise self.too_late()
            self._calm = True
            self._channel.status_event.wait(min(self._link.timeouts.silence, self._deadline.remaining()))
            self._calm = False
            if not self._channel.status_event.is_set():
                self._confirm()
        status = self._channel.exit_status
        if status == -1 or not self._channel.eof_received:  # a cut line looks like this, too
            self._confirm()
        return status

    def too_late(self, sent: bool = True) -> DeadlineExceeded:
        """The error for a command that did not end in time, or was not even `sent`."""
        endpoint = self._link.endpoint
        return DeadlineExceeded(
            f"{endpoint.host.name}: the command {'did not end' if sent else 'could not begin'} in time",
            where=endpoint.where,
            next="it may still run there: look before repeating it" if sent else "",
            sent=sent,
        )

    def too_much(self, most: int, begins: bytes) -> TooMuchOutput:
        """The error for a command that printed more than `most` bytes."""
        endpoint = self._link.endpoint
        return TooMuchOutput(
            f"{endpoint.host.name}: the command printed more than {most / 2**20:.0f} MB, and was cut off",
            where=endpoint.where,
            next="see what that host prints at every log-in, and who it is",
            evidence=begins.decode(errors="replace"),
            sent=True,
        )

    def close(self, interrupted: bool) -> None:
        """Give the channel back. Interrupted in the middle of a packet, the whole link is dropped."""
        if interrupted and not self._calm:
            self._link.kill()
        with self._link.limit(self._link.timeouts.answer):
            self._channel.close()

    def _wait(self, seconds: float) -> None:
        self._calm = True
        self._bell.wait(seconds)
        self._calm = False

    def _send(self) -> None:
        """As much of stdin as the far side takes now, then its end."""
        if self._all_sent or (self._stdin and not self._channel.send_ready()):
            return
        try:
            with self._link.limit(self._link.timeouts.connect):
                while self._stdin and self._channel.send_ready():
                    self._stdin = self._stdin[self._channel.send(bytes(self._stdin[:CHUNK])) :]
                if not self._stdin and not self._keep_open:
                    self._channel.shutdown_write()
        except (paramiko.SSHException, EOFError, OSError) as exc:
            if not self._channel.closed:
                raise self._gone() from exc
            self._stdin = memoryview(b"")  # it ended without reading all
        self._all_sent = not self._stdin

    def _confirm(self) -> None:
        if not self._link.alive():
            raise self._gone()
        self._heard = self._deadline.clock.now().mono

    def _gone(self) -> Exception:
        return self._link.lost("the connection was cut while a command was under way", sent=True)


@contextmanager
def exchange(link: Link, deadline: Deadline) -> Iterator[Exchange]:
    """A channel of `link` for one command, given back at the end. Waits for one of its sessions to come free.

    Raises DeadlineExceeded, LinkLost (not sent), and ChannelException when the host refuses a session.
    """
    if not link.sessions.acquire(timeout=deadline.remaining()):
        raise DeadlineExceeded(
            f"{link.endpoint.host.name}: all {link.timeouts.sessions} sessions are busy", where=link.endpoint.where
        )
    try:
        try:
            channel = link.open_channel(deadline)
        except Exception:
            raise
        except BaseException:
            link.kill()  # interrupted: the host may have opened a session that we would never close
            raise
        talk = Exchange(link, channel, deadline)
        interrupted = True
        try:
            yield talk
            interrupted = False
        except (Exception, GeneratorExit):
            interrupted = False
            raise
        finally:
            talk.close(interrupted)
    finally:
        link.sessions.release()

"""One command over one paramiko channel: nothing blocks that has no end, and both outputs are always drained.

A session may be made ready ahead: it is open, and a `sh` in it waits for the line that it is to run. The command then
costs one round trip instead of three. It serves one command, as every session does.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko

from metalfoundry.model.errors import ConnectError, DeadlineExceeded, TooMuchOutput, TransportError
from metalfoundry.transport.clock import Clock, Deadline
from metalfoundry.transport.connection import Link

log = logging.getLogger(__name__)

PIECE = 2**20
CHUNK = 32 * 1024
WINDOW_POLL = 0.01  # seconds; only while the far side does not take our stdin
_READY, _BEGUN = "metalfoundry: ready", "metalfoundry: begun"
# From a pipe `read` takes no byte beyond the newline, and fails for a line without one, which then is not run. An empty
# line asks whether it is there.
_LOOP = 'while echo {}; read -r line; do test -z "$line" || {{ echo {}; eval "$line"; exit; }}; done'
_READER = f"sh -c '{_LOOP.format(_READY, _BEGUN)}'"
ASK_SECONDS = 1.0  # then a new session is asked for, and who does not answer that is dead
FRESH_SECONDS = 1.0
FIRST_WORDS = 500  # bytes of output that an error quotes
MOST_BEFORE = 2**16  # bytes of what a host prints at log-in


class NotBegun(Exception):
    """A session that was made ready has ended, and has not begun the command that it was given."""


class Exchange:
    """A command under way. `start` it, `read` until it `ended`, then ask for its `status`.

    In a session that was made ready, `status` raises NotBegun where the command has provably not begun: the reader
    there says so before it runs anything.
    """

    def __init__(self, link: Link, channel: paramiko.Channel, deadline: Deadline) -> None:
        self._link, self._channel, self._deadline = link, channel, deadline
        self._bell = threading.Event()  # rung by paramiko for data and for the end
        self._stdin = memoryview(b"")
        self._keep_open = False
        self._all_sent = False
        self._heard = deadline.clock.now().mono
        self._calm = False
        self._awaited = b""  # what the reader says next; what it has not followed is held back in `_early`
        self._early = b"", b""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        channel = self._channel
        over = bool(channel.eof_received or channel.closed)
        return over and not channel.recv_ready() and not channel.recv_stderr_ready()

    @property
    def spoilt(self) -> bool:
        """Whether what was made ready is of no use any more."""
        return bool(self._channel.eof_received or self._channel.closed) or not self._link.active

    def make_ready(self) -> None:
        """Let a reader wait for the command. Raises NotBegun where none comes up; else as `start` and `read`."""
        link = self._link
        self._keep_open = True
        self._request(_READER, link.timeouts.silence + link.timeouts.answer)  # no sooner than others find it dead
        self._await_reader(self._deadline)

    def take_up(self, deadline: Deadline, blind: bool) -> bool:
        """Whether what was made ready can be used, until `deadline`. Its reader is asked first, so that nothing is sent
        into a link that has died before; unless `blind`, and the host was heard just now.
        """
        link, now = self._link, deadline.clock.now().mono
        self._deadline, self._heard = deadline, now
        if self.spoilt:
            return False
        if blind and now - link.heard < FRESH_SECONDS:
            return True
        self._stdin, self._all_sent = memoryview(b"\n"), False
        try:
            self._send()
            self._await_reader(deadline.within(ASK_SECONDS))
        except (TransportError, NotBegun):
            return False
        return True

    def _await_reader(self, deadline: Deadline) -> None:
        self._awaited = _line(_READY)
        before = b"", b""
        while self._awaited:
            if deadline.expired():
                raise NotBegun
            if self.ended:
                self.status()
            before = self.read(deadline.remaining())
        self._early, self._awaited = before, _line(_BEGUN)

    def start(self, line: str, stdin: str, *, keep_open: bool = False) -> None:
        """Send the command and its stdin, which is then closed unless `keep_open`."""
        if self._deadline.expired():
            raise self.too_late(sent=False)
        self._keep_open = keep_open
        if self._awaited:
            stdin = f"{line}\n{stdin}"
        else:
            self._request(line, min(self._link.timeouts.connect, self._deadline.remaining()))
        self._stdin, self._all_sent = memoryview(stdin.encode()), False
        self._send()

    def _request(self, line: str, seconds: float) -> None:
        """Have the host run `line`; the link is dropped when it does not answer within `seconds`."""
        self._channel.in_buffer.set_event(self._bell)
        self._channel.in_stderr_buffer.set_event(self._bell)
        link = self._link
        try:
            with link.limit(seconds):
                self._channel.exec_command(line)
        except (paramiko.SSHException, EOFError, OSError) as exc:
            if link.active:
                raise ConnectError(
                    f"{link.endpoint.host.name}: refuses to run a command",
                    where=link.endpoint.where,
                    next="look for ForceCommand in sshd_config, or command= in authorized_keys",
                ) from exc
            raise self._gone() from exc

    def read(self, seconds: float) -> tuple[bytes, bytes]:
        """What came on stdout and stderr; waits up to `seconds`, so both may be empty.

        After `timeouts.silence` without a word the host is asked whether it lives. Raises LinkLost.
        """
        out, err = self._received(seconds)
        if not self._awaited:
            return out, err
        out, err = self._early[0] + out, self._early[1] + err
        before, sign, after = out.partition(self._awaited)
        if not sign:
            if len(out) + len(err) > MOST_BEFORE:
                raise self.too_much(MOST_BEFORE, out)
            self._early = out, err
            return b"", b""
        self._early, self._awaited = (b"", b""), b""
        return before + after, err

    def _received(self, seconds: float) -> tuple[bytes, bytes]:
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
        link.hear(self._heard)
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
        if self._awaited:
            raise NotBegun
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
            evidence=begins[:FIRST_WORDS].decode(errors="replace"),
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
def exchange(link: Link, deadline: Deadline, *, ready: bool = False, blind: bool = False) -> Iterator[Exchange]:
    """A session of `link` for one command, given back at the end: one that was made `ready`, where there is one, else a
    new one. Waits for a place. `blind`: whoever sends the command can tell whether it took effect, if the link dies.

    Raises DeadlineExceeded, LinkLost (not sent), and ChannelException when the host refuses a session.
    """
    held, talk = link.sessions.take(deadline)
    if not held:
        raise DeadlineExceeded(
            f"{link.endpoint.host.name}: all {link.timeouts.sessions} sessions are busy", where=link.endpoint.where
        )
    try:
        try:
            if talk is not None and not (ready and talk.take_up(deadline, blind)):
                talk.close(interrupted=False)  # its place is ours
                talk = None
            talk = talk or Exchange(link, link.open_channel(deadline), deadline)
        except Exception:
            raise
        except BaseException:
            link.kill()  # interrupted: the host may have opened a session that we would never close
            raise
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
        link.sessions.give_back()


def make_ready(link: Link, clock: Clock) -> None:
    """Make one session ready, in the place that was reserved for it."""
    deadline = Deadline.after(clock, link.timeouts.connect)
    talk: Exchange | None = None
    try:
        talk = Exchange(link, link.open_channel(deadline, needed=False), deadline)
        talk.make_ready()
    except (TransportError, paramiko.ChannelException, NotBegun) as exc:
        log.info("%s: no session is made ready any more: %s", link.endpoint.host.name, exc)
        if talk is not None:
            talk.close(interrupted=False)
        link.sessions.failed(gone=talk is None and isinstance(exc, DeadlineExceeded))
    else:
        link.sessions.made(talk)


def _line(text: str) -> bytes:
    return f"{text}\n".encode()

"""The Transport that really goes over the wire: Fabric connections, raw channels, kept and shared."""

from __future__ import annotations

import itertools
import logging
import math
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace

import paramiko

from metalfoundry.commands.command import Command, Effect
from metalfoundry.model.errors import (
    AuthError,
    ConnectError,
    DeadlineExceeded,
    HostKeyError,
    LinkLost,
    TransportError,
)
from metalfoundry.model.hosts import Host, HostKeyPolicy, ServerKey
from metalfoundry.transport.base import Result
from metalfoundry.transport.channel import Exchange, exchange
from metalfoundry.transport.clock import Cancel, Clock, Deadline
from metalfoundry.transport.connection import Link, SshTimeouts, open_link
from metalfoundry.transport.follow import failed, read_lines, wrap
from metalfoundry.transport.ssh_config import resolve
from metalfoundry.transport.ssh_options import UserFiles
from metalfoundry.transport.wire import in_any_shell, sent

log = logging.getLogger(__name__)

Retrying = Callable[[Host, TransportError, float], None]
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between attempts, before jitter
MORE_ATTEMPTS = 3
FIRST_WORDS = 500  # bytes of output that an error quotes


@dataclass
class _Slot:
    """The place of one host's connection; `opening` lets one thread open it while the others wait, `more` lets them try
    as well once that hangs: it began at `since`, by our clock."""

    opening: threading.Lock = field(default_factory=threading.Lock)
    since: float = math.inf
    more: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(MORE_ATTEMPTS))
    link: Link | None = None


class SshTransport:
    """Runs commands over SSH; see Transport for the promises.

    One connection is kept for each Host (its name apart: two that differ in policy or key share nothing); a host
    reached `via` another goes through a forwarded channel of that one's kept connection. With policy LEARN the key
    is taken for the life of a connection; `presented` tells which it was.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        files: UserFiles | None = None,
        timeouts: SshTimeouts | None = None,
        retrying: Retrying | None = None,
    ) -> None:
        """`files` and `timeouts` are for tests; the default is this user's ssh_config, keys, agent, known_hosts.

        `retrying` is told of each link that was lost, and of the seconds until it is tried again.
        """
        self._retrying = retrying
        self._clock = clock
        self._files = files or UserFiles.of_this_user()
        self._patience = timeouts or SshTimeouts()
        self._slots: dict[Host, _Slot] = {}
        self._lock = threading.Lock()
        self._closed = Cancel()
        logging.getLogger("paramiko").addHandler(logging.NullHandler())  # else it writes to stderr by itself

    def run(self, host: Host, command: Command, deadline: Deadline) -> Result:
        """Run `command` to its end; see Transport.run."""
        link = self._slot(host).link
        lost = link is not None and not link.active
        for pause in self._pauses():
            try:
                return self._run(host, command, deadline)
            except (LinkLost, ConnectError) as exc:
                lost = lost or isinstance(exc, LinkLost)
                final = isinstance(exc, AuthError | HostKeyError)
                if command.effect is not Effect.READ or final or not lost or deadline.remaining() <= pause:
                    raise
                log.info("%s; trying again in %.1f s", exc, pause)
                if self._retrying:
                    self._retrying(host, exc, pause)
                self._clock.wait(pause, self._closed)
                if self._closed.is_set():
                    raise
        raise AssertionError("pauses never end")

    def follow(self, host: Host, command: Command, deadline: Deadline, tick: float = 1.0) -> Iterator[str | None]:
        """Yield stdout line by line, None after each `tick` seconds of silence; see Transport.follow.

        The command's stdin is given to it whole, then closed; the connection's own stdin is its lifeline.
        """
        with self._exchange(host, deadline) as talk:
            talk.start(*in_any_shell(wrap(command), command.stdin), keep_open=True)
            said = yield from read_lines(talk, deadline, tick)
            with suppress(DeadlineExceeded):
                if said is not None and (status := talk.status()):
                    raise failed(host, status, said)

    def server_key(self, host: Host) -> ServerKey | None:
        """The key with which the kept connection to `host` was opened; None without a connection."""
        link = self._slot(host).link
        return link.key if link and link.active else None

    def disconnect(self, host: Host) -> None:
        """Drop the kept connection to `host`, if any."""
        slot = self._slot(host)
        link, slot.link = slot.link, None
        if link:
            link.kill()

    def close(self) -> None:
        """Drop every connection for good: whatever still waits to try again gives up at once."""
        self._closed.set("closed")
        with self._lock:
            slots = list(self._slots.values())
            self._slots.clear()
        for slot in slots:
            if slot.link:
                slot.link.kill()

    def _run(self, host: Host, command: Command, deadline: Deadline) -> Result:
        out: list[bytes] = []
        err: list[bytes] = []
        with self._exchange(host, deadline) as talk:
            begun = self._clock.now().mono
            talk.start(*sent(command))
            room = command.most
            while not talk.ended:
                if deadline.expired():
                    raise talk.too_late()
                more = talk.read(deadline.remaining())
                out.append(more[0])
                err.append(more[1])
                room -= len(more[0]) + len(more[1])
                if room < 0:
                    raise talk.too_much(command.most, b"".join(out)[:FIRST_WORDS])
            status = talk.status()
        seconds = self._clock.now().mono - begun
        return Result(status, _text(out), _text(err), seconds)

    @contextmanager
    def _exchange(self, host: Host, deadline: Deadline) -> Iterator[Exchange]:
        """A channel for one command. A kept link that proves dead is replaced once: nothing was sent yet."""
        with ExitStack() as stack:
            lost: LinkLost | None = None
            for pause in self._pauses():
                try:
                    talk = stack.enter_context(exchange(self._link(host, deadline), deadline))
                    break
                except LinkLost as exc:
                    if lost:
                        raise
                    lost = exc
                except ConnectError as exc:
                    if lost is None or isinstance(exc, AuthError | HostKeyError):
                        raise
                    raise lost from exc
                except paramiko.ChannelException as exc:
                    if deadline.remaining() <= pause:
                        raise ConnectError(
                            f"{host.name}: accepts no more sessions: {exc.text}",
                            where=host.address,
                            next="raise MaxSessions in its sshd_config",
                        ) from exc
                    self._clock.wait(pause, self._closed)
            yield talk

    def _slot(self, host: Host) -> _Slot:
        with self._lock:
            return self._slots.setdefault(_nameless(host), _Slot())

    def _link(self, host: Host, deadline: Deadline, way: tuple[Host, ...] = ()) -> Link:
        """The living connection to `host`, opened by one thread if need be, and that to its jump host before."""
        if _nameless(host) in way:
            raise ConnectError(
                f"{host.name}: its ProxyJump hosts lead back to it",
                where=host.address,
                next=f"ssh -G {host.address} | grep -i proxyjump",
            )
        slot = self._slot(host)
        turn = self._turn(host, slot, deadline)
        try:
            if slot.link and slot.link.active:
                return slot.link
            self._refuse_closed(host)
            endpoint = resolve(host, self._files)
            via = self._link(endpoint.via, deadline, (*way, _nameless(host))) if endpoint.via else None
            link = open_link(endpoint, via, self._files, self._patience, deadline)
            if slot.link and slot.link.active:  # another attempt came through first
                link.kill()
                return slot.link
            slot.link = link
            if self._closed.is_set():  # meanwhile, by another thread
                link.kill()
                self._refuse_closed(host)
            return link
        finally:
            if turn is slot.opening:
                slot.since = math.inf
            turn.release()

    def _turn(self, host: Host, slot: _Slot, deadline: Deadline) -> threading.Lock | threading.Semaphore:
        """The right to open `host`'s connection: one thread's, and a few more threads' while an attempt hangs. Where
        the way is merely long, as to a jump host, each more would be a connection more.
        """
        awaited = host.host_key is HostKeyPolicy.LEARN
        hanging = self._patience.hanging if awaited else self._patience.connect
        while True:
            now = self._clock.now().mono
            wait = max(0.0, min(slot.since, now) + hanging - now)
            if slot.opening.acquire(timeout=min(wait, deadline.remaining())):
                slot.since = self._clock.now().mono
                return slot.opening
            if deadline.expired():
                raise DeadlineExceeded(f"{host.name}: no SSH connection in time", where=host.address)
            if slot.more.acquire(timeout=min(hanging, deadline.remaining())):
                return slot.more

    def _refuse_closed(self, host: Host) -> None:
        if self._closed.is_set():
            raise ConnectError(f"{host.name}: the transport is closed", where=host.address, next="open a new one")

    @staticmethod
    def _pauses() -> Iterator[float]:
        """Seconds to wait before each next attempt: doubling, with jitter so that many clients spread out."""
        for attempt in itertools.count():
            yield min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt) * random.uniform(0.5, 1.0)


def _text(pieces: list[bytes]) -> str:
    return b"".join(pieces).decode(errors="replace")


def _nameless(host: Host) -> Host:
    return replace(host, name="", via=_nameless(host.via) if host.via else None)

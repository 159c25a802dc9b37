"""One kept SSH connection: opened and checked here, shared by commands, closed when it no longer answers."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import paramiko
from fabric import Config, Connection

from metalfoundry.model.errors import DeadlineExceeded, LinkLost, TransportError
from metalfoundry.model.host_keys import server_key
from metalfoundry.model.hosts import HostKeyPolicy, ServerKey
from metalfoundry.transport import known_hosts
from metalfoundry.transport.auth import Keyring
from metalfoundry.transport.certificates import judge
from metalfoundry.transport.clock import Deadline
from metalfoundry.transport.error_mapping import connect_error, forward_error
from metalfoundry.transport.host_keys import HostKeys
from metalfoundry.transport.orderly import OrderlyTransport
from metalfoundry.transport.ssh_config import Endpoint
from metalfoundry.transport.ssh_options import UserFiles

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SshTimeouts:
    """How long we wait, in seconds, and how much we ask of one connection.

    `connect` bounds one attempt (name, TCP, banner, keys, log-in), `reach` its TCP alone where the host is expected to
    come up (policy LEARN): lost packets are sent anew by the next attempt sooner than by TCP, and an attempt that has
    taken `hanging` there keeps no other back;
    a living host answers a request within `answer`;
    after `silence` we make one to see. `sessions` stays below the 10 of sshd's MaxSessions, with room for that, and for
    one that is closed and still counts: see Link.
    """

    connect: float = 10.0
    reach: float = 3.0
    hanging: float = 0.5
    answer: float = 5.0
    silence: float = 15.0
    keepalive: int = 15
    sessions: int = 8


class Link:
    """An open connection to `endpoint`, whose key is `key`.

    Sessions are opened one at a time: sshd gives up those that we have closed only when it has answered all that came
    with the closing, so several that are opened at once might find as many more still counted, and be refused.
    """

    def __init__(self, endpoint: Endpoint, connection: Any, key: ServerKey, timeouts: SshTimeouts) -> None:
        self.endpoint = endpoint
        self.key = key
        self.timeouts = timeouts
        self.sessions = threading.BoundedSemaphore(timeouts.sessions)
        self._connection = connection
        self._transport: paramiko.Transport = connection.transport
        self._checking = threading.Lock()
        self._opening = threading.Lock()

    @property
    def active(self) -> bool:
        """Whether it is not known to be dead."""
        return self._transport.is_active()

    def kill(self) -> None:
        """Drop it at once, with everything that runs over it."""
        self._connection.client.close()
        self._transport.close()

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Kill the connection when the block takes longer: paramiko waits for ever in some calls."""
        timer = threading.Timer(max(seconds, 0.01), self.kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def open_channel(self, deadline: Deadline) -> paramiko.Channel:
        """A fresh session channel. Raises LinkLost (not sent), DeadlineExceeded, or ChannelException when the host
        answers with a refusal. A host that does not answer within `timeouts.answer` is dead, and so is this link.
        """
        if not self._opening.acquire(timeout=deadline.remaining()):
            raise DeadlineExceeded(f"{self.endpoint.host.name}: no time left", where=self.endpoint.where)
        seconds = min(self.timeouts.answer, deadline.remaining())
        try:
            return self._transport.open_session(timeout=seconds)
        except paramiko.ChannelException:
            raise
        except (paramiko.SSHException, EOFError, OSError) as exc:
            if self.active and seconds < self.timeouts.answer:
                raise DeadlineExceeded(f"{self.endpoint.host.name}: no time left", where=self.endpoint.where) from exc
            self.kill()
            raise self.lost("does not answer any more", sent=False) from exc
        finally:
            self._opening.release()

    def forward(self, endpoint: Endpoint, deadline: Deadline) -> paramiko.Channel:
        """A channel through this host to `endpoint`; raises ConnectError, DeadlineExceeded or LinkLost."""
        limit = self.timeouts.reach if endpoint.host.host_key is HostKeyPolicy.LEARN else self.timeouts.connect
        seconds = min(limit, deadline.remaining())
        try:
            return self._transport.open_channel(
                "direct-tcpip", (endpoint.address, endpoint.port), ("127.0.0.1", 0), timeout=seconds
            )
        except (paramiko.SSHException, EOFError, OSError) as exc:
            if not isinstance(exc, paramiko.ChannelException) and not self.alive():
                raise self.lost("does not answer any more", sent=False) from exc
            raise forward_error(exc, endpoint, self.endpoint, deadline) from exc

    def alive(self) -> bool:
        """Whether the host answers a request now; a refusal is an answer. When not, the link is killed."""
        with self._checking, self._opening:  # one at a time: a check takes a session, too
            if not self.active:
                return False
            try:
                channel = self._transport.open_session(timeout=self.timeouts.answer)
            except paramiko.ChannelException:
                return True
            except (paramiko.SSHException, EOFError, OSError):
                self.kill()
                return False
            with self.limit(self.timeouts.answer):
                channel.close()
            return True

    def lost(self, how: str, *, sent: bool) -> LinkLost:
        """The error that says this link is gone."""
        then = "the command may have taken effect: look before repeating it" if sent else "try again"
        return LinkLost(f"{self.endpoint.host.name}: {how}", where=self.endpoint.where, next=then, sent=sent)


class _Check(paramiko.MissingHostKeyPolicy):
    """Gives every key paramiko is shown to our own check; paramiko itself knows no host."""

    def __init__(self, known: HostKeys, endpoint: Endpoint, now: datetime) -> None:
        self._known, self._endpoint, self._now = known, endpoint, now
        self.key: ServerKey | None = None

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        shown, known = server_key(key.get_name(), key.get_base64()), self._known
        blob, certificate = key.public_blob, None
        if blob is not None:
            certificate = judge(blob.key_type, blob.key_blob, known.principal, self._now)
        known.check(shown, self._endpoint.host.host_key, self._add, certificate)
        self.key = shown

    def _add(self, key: ServerKey) -> None:
        name, file = self._endpoint.host.name, self._endpoint.new_keys
        if file is None:
            return
        try:
            known_hosts.add(file, self._endpoint.known_as, key)
        except OSError as exc:
            log.warning("%s: the new host key could not be added to %s: %s", name, file, exc.strerror)
        else:
            log.info("%s: new host key %s %s added to %s", name, key.type, key.fingerprint, file)


def open_link(
    endpoint: Endpoint, via: Link | None, files: UserFiles, timeouts: SshTimeouts, deadline: Deadline
) -> Link:
    """Connect, check the host key, log in. Raises ConnectError and its kin, or DeadlineExceeded."""
    attempt = deadline.within(timeouts.connect)
    reach = deadline.within(timeouts.reach) if endpoint.host.host_key is HostKeyPolicy.LEARN else attempt
    known = endpoint.keys()
    check = _Check(known, endpoint, deadline.clock.now().wall)
    sock = via.forward(endpoint, deadline) if via else _tcp(endpoint, reach, deadline)
    connection = None
    try:
        connection = _connection(endpoint, sock, known, Keyring(endpoint, files, attempt), attempt)
        connection.client.set_missing_host_key_policy(check)
        connection.open()
        connection.transport.set_keepalive(timeouts.keepalive)
        assert check.key is not None
        return Link(endpoint, connection, check.key, timeouts)
    except BaseException as exc:
        if connection is not None:
            connection.client.close()
        sock.close()
        if isinstance(exc, TransportError) or not isinstance(exc, Exception):
            raise
        raise connect_error(exc, endpoint, attempt, deadline) from exc


def _connection(endpoint: Endpoint, sock: Any, known: HostKeys, keys: Keyring, attempt: Deadline) -> Any:
    def transport(sock: Any, **options: Any) -> paramiko.Transport:
        made = OrderlyTransport(sock, **options)
        made.handshake_timeout = attempt.remaining()
        security = made.get_security_options()
        security.key_types = known.prefer(security.key_types)
        return made

    def strategy(**_: object) -> Keyring:
        return keys

    config = Config(overrides={"authentication": {"strategy_class": strategy}}, ssh_config=paramiko.SSHConfig(),
                    lazy=True)  # fmt: skip
    seconds = attempt.remaining()
    return Connection(
        endpoint.address, endpoint.user, endpoint.port, config=config, gateway=False, forward_agent=False,
        connect_kwargs={"sock": sock, "timeout": seconds, "banner_timeout": seconds, "auth_timeout": seconds,
                        "transport_factory": transport},
    )  # fmt: skip


def _tcp(endpoint: Endpoint, attempt: Deadline, deadline: Deadline) -> socket.socket:
    """A TCP connection within `attempt`, tried over all addresses of the name."""
    try:
        failure: OSError = TimeoutError("timed out")
        for family, kind, protocol, _, address in _lookup(endpoint, attempt):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(max(attempt.remaining(), 0.001))
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else each small packet waits for an ACK
                return sock
            except BaseException as exc:
                sock.close()
                if not isinstance(exc, OSError):
                    raise
                failure = exc
        raise failure
    except OSError as exc:
        raise connect_error(exc, endpoint, attempt, deadline) from exc


def _lookup(endpoint: Endpoint, attempt: Deadline) -> list[Any]:
    """getaddrinfo in a thread of its own: it knows neither deadline nor Ctrl-C."""
    answer: list[Any] = []

    def look() -> None:
        try:
            answer.append(socket.getaddrinfo(endpoint.address, endpoint.port, type=socket.SOCK_STREAM))
        except OSError as exc:
            answer.append(exc)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(attempt.remaining())
    if not answer:
        raise TimeoutError("the name server does not answer")
    if isinstance(answer[0], OSError):
        raise answer[0]
    found: list[Any] = answer[0]
    return found

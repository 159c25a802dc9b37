"""SSH on loopback: the jump host, and the servers of the machines behind it."""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar, cast

import asyncssh

from metalfoundry.lab.ssh.event_loop import LoopThread
from metalfoundry.lab.ssh.faulty_proxy import FaultyProxy
from metalfoundry.lab.ssh.shell import Children, ShellSession, Workspace

T = TypeVar("T")
MAX_SESSIONS = 10  # sshd's default, for each connection; forwarded channels do not count


class SshHost(asyncssh.SSHServer):
    """One client's connection to a host: public keys only, commands in `place`, forwarding where `routes` allows."""

    def __init__(
        self, place: Callable[[str], Workspace], keys: Callable[[str], bytes | None], children: Children
    ) -> None:
        self._place = place
        self._keys = keys
        self._all = children
        self._own = Children()
        self._user = ""
        self.connection: asyncssh.SSHServerConnection | None = None
        self.routes: Callable[[str, int], tuple[str, int] | None] = lambda host, port: None
        self.gone: Callable[[SshHost], None] = lambda host: None
        self._ways: list[asyncssh.SSHForwarder] = []

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """A client has come."""
        self.connection = conn

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone, and its ways with it: asyncssh forgets one whose channel ended while it was opened."""
        self.connection = None
        for way in self._ways:
            way.close()
        self._ways.clear()
        self.gone(self)

    def begin_auth(self, username: str) -> bool:
        """Nobody comes in without a key."""
        self._user = username
        return True

    def public_key_auth_supported(self) -> bool:
        """The only way in."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether this is the client's key."""
        return self._keys(username) == key.public_data

    def session_requested(self) -> ShellSession | bool:
        """A command, unless the connection has as many as sshd would allow."""
        if self._own.sessions >= MAX_SESSIONS:
            self._all.refused += 1
            return False
        return _Counted(self._place(self._user), self._all, self._own)

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> Awaitable[asyncssh.SSHTCPSession[bytes]] | bool:
        """A forwarded channel (direct-tcpip)."""
        route = self.routes(dest_host, dest_port)
        if route is None or self.connection is None:
            return False
        return self._forward(self.connection, route)

    async def _forward(
        self, connection: asyncssh.SSHServerConnection, route: tuple[str, int]
    ) -> asyncssh.SSHTCPSession[bytes]:
        """The way to `route`, closed at the latest when the client goes, which may be while it is opened."""
        way = await connection.forward_connection(*route)
        if self.connection is None:
            way.close()
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "the client has gone")
        self._ways.append(way)
        return cast(asyncssh.SSHTCPSession[bytes], way)


class _Counted(ShellSession):
    """A session that counts for its connection, while its process belongs to the host."""

    def __init__(self, place: Workspace, children: Children, own: Children) -> None:
        super().__init__(place, children)
        self._own = own

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._own.sessions += 1
        super().connection_made(chan)

    def connection_lost(self, exc: Exception | None) -> None:
        self._own.sessions -= 1
        super().connection_lost(exc)


class Listener:
    """An SSH server on one loopback port that may come and go: while closed, a connection is refused."""

    def __init__(self, loop: LoopThread) -> None:
        self._loop = loop
        # Bound and never listening: keeps the port ours while no server is there.
        self._holder = _bound(0)
        self.port: int = self._holder.getsockname()[1]
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._mute: asyncio.Server | None = None
        self._muted: list[asyncio.StreamWriter] = []
        self._hosts: set[SshHost] = set()
        self.children = Children()
        self.accepted = 0  # connections, over its whole life

    def open(self, make: Callable[[Children], SshHost], host_key: asyncssh.SSHKey) -> None:
        """Listen with that host key; `make` gives the server of each connection."""
        self._loop.call(self._open(make, host_key))

    def open_mute(self) -> None:
        """Listen, accept, and never say a word."""
        self._loop.call(self._open_mute())

    def close(self, *, kill: bool = True) -> None:
        """Stop listening and cut the connections; `kill` also ends every command, as a machine's end does."""
        self._loop.call(self._close(kill))

    def release(self) -> None:
        """Close for good, and give the port back."""
        self.close()
        self._loop.call(self.children.gone())
        self._holder.close()

    def cut(self) -> None:
        """Cut the connections; commands live on."""
        self._loop.call(self._cut())

    async def _open(self, make: Callable[[Children], SshHost], host_key: asyncssh.SSHKey) -> None:
        def one() -> SshHost:
            host = make(self.children)
            host.gone = self._hosts.discard
            self._hosts.add(host)
            self.accepted += 1
            return host

        self._acceptor = await asyncssh.listen(
            sock=_bound(self.port),
            server_factory=one,
            server_host_keys=[host_key],
            encoding=None,
            agent_forwarding=False,
            password_auth=False,
            kbdint_auth=False,
            gss_host=None,
            allow_pty=True,
            compression_algs=None,
        )

    async def _open_mute(self) -> None:
        self._mute = await asyncio.start_server(
            lambda reader, writer: self._muted.append(writer), sock=_bound(self.port)
        )

    async def _close(self, kill: bool) -> None:
        for server in (self._acceptor, self._mute):
            if server is not None:
                server.close()
        self._acceptor = self._mute = None
        for writer in self._muted:
            writer.transport.abort()
        self._muted.clear()
        await self._cut()
        if kill:
            self.children.kill()

    async def _cut(self) -> None:
        for host in list(self._hosts):
            if host.connection is not None:
                host.connection.abort()


class Jump(ABC):
    """A jump host: `port` is where it is reached, through a `wire` (see faulty_proxy.py) that tests may spoil.

    `routes`: (address, port) as said by the client to the (address, port) where it is in the lab. `log` is what was
    run, `accepted` how many connections there were; `refused`: user names whose keys are not taken; `environment`: that
    of its commands.
    """

    def __init__(self, loop: LoopThread, home: Path, env: Mapping[str, str], client: asyncssh.SSHKey) -> None:
        self.routes: dict[tuple[str, int], tuple[str, int]] = {}
        self.log: list[str] = []
        self.refused: set[str] = set()
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.wire = FaultyProxy(("127.0.0.1", 0))
        self.environment = env
        self._loop, self._home, self._client = loop, home, client

    def start(self) -> None:
        """Listen."""
        self.wire = FaultyProxy(("127.0.0.1", self._listen()))
        self._loop.call(self.wire.open())

    def stop(self) -> None:
        """End, with every connection."""
        self._loop.call(self.wire.close())

    @abstractmethod
    def _listen(self) -> int:
        """Start the server; its port, to which the wire leads."""

    @property
    def port(self) -> int:
        """Where it is reached."""
        return self.wire.port

    @property
    def accepted(self) -> int:
        """How many connections there were."""
        return self.wire.accepted

    @property
    def delay(self) -> float:
        """Seconds that the way to it takes, in each direction."""
        return self.wire.delay

    @delay.setter
    def delay(self, seconds: float) -> None:
        self.wire.delay = seconds

    def cut_links(self) -> int:
        """Cut every connection; commands live on. Returns how many there were."""
        return self._loop.call(_soon(self.wire.cut))

    def freeze(self) -> None:
        """From now on, silence on every connection, and on new ones."""
        self._loop.call(_soon(self.wire.freeze))

    def thaw(self) -> None:
        """The end of the silence."""
        self._loop.call(_soon(self.wire.thaw))


class JumpHost(Jump):
    """The embedded jump host."""

    _listener: Listener | None = None

    @property
    def sessions_refused(self) -> int:
        """How many sessions were one too many for their connection."""
        return self._listener.children.refused if self._listener else 0

    def stop(self) -> None:
        """End, with every command that still runs."""
        super().stop()
        if self._listener is not None:
            self._listener.release()

    def _listen(self) -> int:
        self._listener = Listener(self._loop)
        self._listener.open(self._host, self.host_key)
        return self._listener.port

    def _host(self, children: Children) -> SshHost:
        place = Workspace(self.environment, self._home, self.log.append)
        host = SshHost(lambda user: place, self._key, children)
        host.routes = lambda address, port: self.routes.get((address, port), (address, port))
        return host

    def _key(self, user: str) -> bytes | None:
        return None if user in self.refused else self._client.public_data


async def _soon(action: Callable[[], T]) -> T:
    return action()


def _bound(port: int) -> socket.socket:
    """A TCP socket bound to a loopback port, which several may share; the kernel asks only those that listen."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    return sock

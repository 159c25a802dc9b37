"""SSH servers on loopback for the transport's tests: asyncssh in one thread, a real shell behind each command."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import asyncssh

from metalfoundry.model.hosts import Host, HostKeyPolicy
from metalfoundry.transport.clock import Deadline, Instant, SystemClock
from metalfoundry.transport.ssh_options import UserFiles

T = TypeVar("T")


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def soon(self, function: Callable[..., object], *args: object) -> None:
        self._loop.call_soon_threadsafe(function, *args)

    def close(self) -> None:
        async def finish() -> None:
            rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            await asyncio.wait(rest, timeout=5) if rest else None
            await self._loop.shutdown_default_executor()

        self.call(finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


class _Door(asyncssh.SSHServer):
    def __init__(self, server: Server) -> None:
        self._server = server

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._server.connections.append(conn)

    def begin_auth(self, username: str) -> bool:
        return True

    def connection_requested(self, *where: object) -> bool:
        self._server.forwarded.append(where[:2])
        if not self._server.forwards:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "no")
        return True


@dataclass
class Server:
    """One SSH server. `before` may hold a command back, or cut its line, before anything runs."""

    loop: Loop
    key: asyncssh.SSHKey
    authorized: asyncssh.SSHAuthorizedKeys
    forwards: bool = True
    before: Callable[[asyncssh.SSHServerProcess[bytes]], Awaitable[None]] | None = None
    login_shell: str = "sh"
    port: int = 0
    more_keys: list[asyncssh.SSHKey] = field(default_factory=list)
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    forwarded: list[tuple[object, ...]] = field(default_factory=list)
    most_at_once: int = 0
    _running: int = 0
    _shells: list[asyncio.subprocess.Process] = field(default_factory=list)
    _acceptor: asyncssh.SSHAcceptor | None = None

    async def start(self, port: int = 0) -> None:
        self._acceptor = await asyncssh.listen(
            "127.0.0.1", port, server_factory=lambda: _Door(self), server_host_keys=[self.key, *self.more_keys],
            authorized_client_keys=self.authorized, process_factory=self._process, encoding=None,
        )  # fmt: skip
        self.port = self._acceptor.get_port()

    async def stop(self) -> None:
        if self._acceptor:
            self._acceptor.close()
        for connection in self.connections:
            connection.abort()
        await asyncio.gather(*(connection.wait_closed() for connection in self.connections))
        ends = [asyncio.ensure_future(shell.wait()) for shell in self._shells]
        if ends:
            await asyncio.wait(ends, timeout=0.5)  # what listens to its stdin ends by itself
        for shell in self._shells:
            if shell.returncode is None:
                os.killpg(shell.pid, signal.SIGKILL)
        await asyncio.gather(*ends)

    def cut(self) -> None:
        """Drop every connection as a dead line would, without a word."""
        for connection in self.connections:
            self.loop.soon(connection.abort)

    def restart(self, key: asyncssh.SSHKey | None = None) -> None:
        """Come back on the same port, with a new host key if one is given."""
        self.loop.call(self.stop())
        self.connections.clear()
        self.key = key or self.key
        self.loop.call(self.start(self.port))

    async def _process(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        self.commands.append(process.command or "")
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        try:
            if self.before:
                await self.before(process)
            await self._shell(process)
        finally:
            self._running -= 1

    async def _shell(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        pipe = asyncio.subprocess.PIPE
        shell = await asyncio.create_subprocess_exec(
            self.login_shell, "-c", process.command or "", stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        self._shells.append(shell)
        assert shell.stdin and shell.stdout and shell.stderr
        feeding = asyncio.create_task(_pump(process.stdin, shell.stdin))
        await asyncio.gather(_pump(shell.stdout, process.stdout), _pump(shell.stderr, process.stderr))
        status = await shell.wait()
        process.exit(status) if status >= 0 else process.exit_with_signal("TERM")
        await process.wait_closed()
        await feeding


async def _pump(source: Any, sink: Any) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    except (OSError, asyncssh.Error, asyncssh.BreakReceived):
        return
    finally:
        if isinstance(sink, asyncio.StreamWriter):
            sink.close()


@dataclass
class World:
    """A user's home with one key, servers that know it, and the transport under test."""

    home: Path
    loop: Loop
    client_key: asyncssh.SSHKey
    servers: list[Server] = field(default_factory=list)

    @classmethod
    def make(cls, home: Path) -> World:
        (home / ".ssh").mkdir(mode=0o700, parents=True)
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(home / ".ssh/id_ed25519")
        return cls(home, Loop(), key)

    @property
    def files(self) -> UserFiles:
        return UserFiles(home=self.home, ssh_config=(self.home / ".ssh/config",))

    @property
    def known_hosts(self) -> Path:
        return self.home / ".ssh/known_hosts"

    def server(self, algorithm: str = "ssh-ed25519", *, known: bool = True, welcome: bool = True) -> Server:
        key = self.client_key if welcome else asyncssh.generate_private_key("ssh-ed25519")
        authorized = asyncssh.import_authorized_keys(key.export_public_key().decode())
        server = Server(self.loop, asyncssh.generate_private_key(algorithm), authorized)
        self.loop.call(server.start())
        self.servers.append(server)
        if known:
            self.know_as(server, server.port)
        return server

    def know_as(self, server: Server, port: int) -> None:
        """Know the server's key at another port, too."""
        with self.known_hosts.open("a") as file:
            file.write(f"[127.0.0.1]:{port} {public(server.key)}\n")

    def host(self, server: Server, policy: HostKeyPolicy = HostKeyPolicy.YES, via: Host | None = None) -> Host:
        return Host(f"host-{server.port}", "127.0.0.1", "root", server.port, host_key=policy, via=via)

    def close(self) -> None:
        for server in self.servers:
            self.loop.call(server.stop())
        self.loop.close()


def public(key: asyncssh.SSHKey) -> str:
    """`type base64`, as in known_hosts."""
    return " ".join(key.export_public_key().decode().split()[:2])


def soon(seconds: float = 20.0) -> Deadline:
    """A deadline that only a fault reaches."""
    return Deadline.after(SystemClock(), seconds)


class Jumps(SystemClock):
    """The computer's clock, which jumps by an hour once `happened`, so that a deadline ends at an event."""

    def __init__(self, happened: Callable[[], object]) -> None:
        self._happened = happened

    def now(self) -> Instant:
        now = super().now()
        return Instant(now.mono + 3600, now.wall) if self._happened() else now


def ends_when(happened: Callable[[], object]) -> Deadline:
    """A deadline that is over once `happened`, and not before."""
    return Deadline(Jumps(happened), SystemClock().now().mono + 1800)


def is_running(pid: int) -> bool:
    """Whether that process still runs (a zombie does not)."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pid: int, seconds: float = 20.0) -> bool:
    """Whether the process ends within `seconds` of real time: it is not ours to wait for."""
    end = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not is_running(pid)


class SilentProxy:
    """Passes bytes on until `silence` is set; then nothing more, and the line stays open."""

    def __init__(self, target: int) -> None:
        self.silence = threading.Event()
        self._target = target
        self._sockets = [socket.create_server(("127.0.0.1", 0))]
        self.port: int = self._sockets[0].getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        client, _ = self._sockets[0].accept()
        server = socket.create_connection(("127.0.0.1", self._target))
        self._sockets += [client, server]
        for one, other in ((client, server), (server, client)):
            threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if not self.silence.is_set():
                    sink.sendall(data)
        except OSError:
            return

    def close(self) -> None:
        for each in self._sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
            finally:
                each.close()

"""The lab's own SSH server, where its clients behave badly."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import asyncssh
import pytest

from metalfoundry.lab.ssh.event_loop import LoopThread
from metalfoundry.lab.ssh.server import SshHost
from metalfoundry.lab.ssh.shell import Children, Workspace


class Staying:
    """A client's connection."""

    async def forward_connection(self, address: str, port: int) -> asyncssh.SSHForwarder:
        loop = asyncio.get_running_loop()
        _, peer = await loop.create_connection(asyncssh.SSHForwarder, address, port)
        return asyncssh.SSHForwarder(peer)


class Leaving(Staying):
    """One that is lost while a way is being opened for it."""

    def __init__(self, host: SshHost) -> None:
        self._host = host

    async def forward_connection(self, address: str, port: int) -> asyncssh.SSHForwarder:
        way = await super().forward_connection(address, port)
        self._host.connection_lost(None)
        return way


class FarEnd(asyncio.Protocol):
    """Where the way leads."""

    def __init__(self, closed: asyncio.Future[None]) -> None:
        self._closed = closed

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set_result(None)


def place(user: str) -> Workspace:
    raise AssertionError(user)


@asynccontextmanager
async def way(host: SshHost, client: Staying) -> AsyncIterator[tuple[Awaitable[object], asyncio.Future[None]]]:
    """One that `client` asks for, and what is done when its far end is closed: waited for at the end."""
    closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    server = await asyncio.get_running_loop().create_server(lambda: FarEnd(closed), "127.0.0.1", 0)
    host.routes = lambda address, port: server.sockets[0].getsockname()[:2]
    host.connection_made(client)  # type: ignore[arg-type]
    asked = host.connection_requested("anvil", 22, "", 0)
    assert not isinstance(asked, bool)
    async with server:
        yield asked, closed
        await closed


def test_a_way_that_was_opened_for_a_client_who_has_gone_is_closed_again() -> None:
    async def story() -> None:
        host = SshHost(place, lambda user: None, Children())
        async with way(host, Leaving(host)) as (asked, _):
            with pytest.raises(asyncssh.ChannelOpenError):
                await asked

    asyncio.run(asyncio.wait_for(story(), 30))


def test_a_way_that_nobody_took_over_is_closed_when_the_client_goes() -> None:
    """As where its channel ended while it was opened, and asyncssh has forgotten it."""

    async def story() -> None:
        host = SshHost(place, lambda user: None, Children())
        async with way(host, Staying()) as (asked, closed):
            await asked
            assert not closed.done()
            host.connection_lost(None)

    asyncio.run(asyncio.wait_for(story(), 30))


def test_a_connection_that_belongs_to_nobody_ends_with_the_loop() -> None:
    async def opened(address: tuple[str, int]) -> None:
        await asyncio.get_running_loop().create_connection(asyncio.Protocol, *address)

    with warnings.catch_warnings(record=True) as said, socket.create_server(("127.0.0.1", 0)) as server:
        warnings.simplefilter("always")
        loop = LoopThread()
        loop.start()
        loop.call(opened(server.getsockname()))
        far, _ = server.accept()
        with far:
            loop.stop()
            far.settimeout(30)
            assert not received(far)
        del loop
        gc.collect()
    assert [str(item.message) for item in said if item.category is ResourceWarning] == []


def test_who_is_accepted_while_the_server_closes_is_hung_up_on() -> None:
    async def closed_amid() -> socket.socket:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
        far = socket.create_connection(server.sockets[0].getsockname())
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # accepted, and not taken over yet
        server.close()
        return far

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        loop = LoopThread()
        loop.start()
        with loop.call(closed_amid()) as far:
            far.settimeout(30)
            assert not received(far)
        gc.collect()
        loop.stop()
    assert [str(item.message) for item in said if item.category is ResourceWarning] == []


def received(far: socket.socket) -> bytes:
    """What the other end has said; nothing where it has hung up, in either way."""
    try:
        return far.recv(1)
    except ConnectionResetError:
        return b""

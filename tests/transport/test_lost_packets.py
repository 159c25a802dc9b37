"""A machine that comes up while packets are lost: attempts are short, and one that hangs keeps no other back."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Thread

import pytest

from metalfoundry.commands.command import Command
from metalfoundry.model.errors import ConnectError, DeadlineExceeded
from metalfoundry.model.hosts import Host, HostKeyPolicy
from metalfoundry.transport.clock import Deadline, FakeClock
from metalfoundry.transport.connection import SshTimeouts
from metalfoundry.transport.ssh import SshTransport
from tests.transport.servers import World, soon
from tests.waiting import until

Connect = Callable[..., SshTransport]
FULL = 8  # more connections than a listener with a backlog of nothing takes


@pytest.fixture
def mute() -> Iterator[int]:
    """The port of a listener whose queue is full: nothing answers, as behind a firewall that drops."""
    waiting: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port: int = server.getsockname()[1]
        for _ in range(FULL):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(("127.0.0.1", port))
        yield port
        for each in waiting:
            each.close()


class Lossy:
    """Passes on to a server; of the first connections, `lost`, nothing comes through, and nobody is told."""

    def __init__(self, target: int, lost: int) -> None:
        self.taken = 0
        self._target, self._lost = target, lost
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._all = [self._server]
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self._all.append(client)
            self.taken += 1
            if self.taken > self._lost:
                there = socket.create_connection(("127.0.0.1", self._target))
                self._all.append(there)
                for one, other in ((client, there), (there, client)):
                    Thread(target=_pass, args=(one, other), daemon=True).start()

    def close(self) -> None:
        for each in self._all:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
            finally:
                each.close()


def _pass(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        return


def test_an_attempt_for_a_machine_that_is_awaited_takes_at_most_three_seconds() -> None:
    assert SshTimeouts().reach <= 3.0


def test_an_attempt_for_a_machine_that_is_awaited_is_given_up_early(connect: Connect, mute: int) -> None:
    transport = connect(connect=600, reach=0.1)
    host = Host("anvil", "127.0.0.1", "root", mute, host_key=HostKeyPolicy.LEARN)
    with pytest.raises(ConnectError) as caught:
        transport.run(host, Command(("true",)), soon(60))
    assert not isinstance(caught.value, DeadlineExceeded)
    with pytest.raises(DeadlineExceeded):  # any other host gets the time that TCP takes to send lost packets anew
        transport.run(replace(host, host_key=HostKeyPolicy.YES), Command(("true",)), soon(0.5))


def test_an_attempt_through_the_jump_host_is_given_up_early_too(world: World, connect: Connect, mute: int) -> None:
    transport, via = connect(connect=600, reach=0.1), world.host(world.server())
    host = Host("anvil", "127.0.0.1", "root", mute, host_key=HostKeyPolicy.LEARN, via=via)
    with pytest.raises(ConnectError) as caught:
        transport.run(host, Command(("true",)), soon(60))
    assert not isinstance(caught.value, DeadlineExceeded)
    assert transport.run(via, Command(("true",)), soon()).ok


def test_a_look_comes_through_while_the_one_before_it_hangs(world: World, connect: Connect) -> None:
    lossy = Lossy(world.server().port, lost=1)
    transport = connect(connect=600)
    host = Host("anvil", "127.0.0.1", "root", lossy.port, host_key=HostKeyPolicy.LEARN)
    with ThreadPoolExecutor(1) as pool:
        hangs = pool.submit(transport.run, host, Command(("true",)), soon(600))
        until(lambda: lossy.taken == 1)
        assert transport.run(host, Command(("echo", "here")), soon(60)).stdout == "here\n"
        assert not hangs.done()
        lossy.close()
        with pytest.raises(ConnectError):
            hangs.result()


def test_nobody_waits_for_an_attempt_that_has_hung_for_long(world: World) -> None:
    lossy, clock = Lossy(world.server().port, lost=1), FakeClock()
    transport = SshTransport(clock, files=world.files, timeouts=SshTimeouts(connect=600, hanging=500))
    host = Host("anvil", "127.0.0.1", "root", lossy.port, host_key=HostKeyPolicy.LEARN)
    with ThreadPoolExecutor(1) as pool:
        hangs = pool.submit(transport.run, host, Command(("true",)), Deadline.after(clock, 3600))
        until(lambda: lossy.taken == 1)
        clock.advance(500)
        assert transport.run(host, Command(("true",)), Deadline.after(clock, 100)).ok
        assert not hangs.done()
        lossy.close()
        with pytest.raises(ConnectError):
            hangs.result()
    transport.close()


def test_a_long_way_to_a_host_that_is_not_awaited_is_gone_once(world: World, connect: Connect) -> None:
    lossy = Lossy(world.server().port, lost=1)
    transport = connect(connect=600, hanging=0.01)
    host = Host("jump", "127.0.0.1", "root", lossy.port, host_key=HostKeyPolicy.YES)
    with ThreadPoolExecutor(1) as pool:
        goes = pool.submit(transport.run, host, Command(("true",)), soon(600))
        until(lambda: lossy.taken == 1)
        with pytest.raises(DeadlineExceeded):
            transport.run(host, Command(("true",)), soon(0.3))
        assert lossy.taken == 1
        lossy.close()
        with pytest.raises(ConnectError):
            goes.result()

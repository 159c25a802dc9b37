"""Running commands: streams, sharing of a connection, and what happens when the line breaks."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from metalfoundry.commands.command import Command, Effect, Raw
from metalfoundry.model.errors import AuthError, ConnectError, DeadlineExceeded, LinkLost
from metalfoundry.model.hosts import Host
from metalfoundry.transport.ssh import SshTransport
from tests.transport.servers import SilentProxy, World, ends_when, soon
from tests.waiting import until

Connect = Callable[..., SshTransport]


def test_both_streams_and_the_status_come_back(world: World, connect: Connect) -> None:
    host = world.host(world.server())
    result = connect().run(host, Command(("sh", "-c", "echo out; echo grün >&2; exit 7")), soon())
    assert (result.exit_status, result.stdout, result.stderr) == (7, "out\n", "grün\n")


def test_words_are_quoted_for_the_remote_shell(world: World, connect: Connect) -> None:
    host = world.host(world.server())
    command = Command(("printf", "%s|", "a b", "$HOME", "it's", Raw("$((1+1))")))
    assert connect().run(host, command, soon()).stdout == "a b|$HOME|it's|2|"


def test_two_megabytes_on_both_streams_do_not_block(world: World, connect: Connect) -> None:
    script = "head -c 2000000 /dev/zero | tr '\\0' o; head -c 2000000 /dev/zero | tr '\\0' e >&2; echo end"
    result = connect().run(world.host(world.server()), Command(("sh", "-s"), stdin=script), soon())
    assert (len(result.stdout), len(result.stderr)) == (2_000_004, 2_000_000)


def test_stdin_larger_than_any_window_is_echoed_whole(world: World, connect: Connect) -> None:
    text = "".join(f"line {n} ä\n" for n in range(500_000))  # 7 MB: both directions must flow at once
    result = connect().run(world.host(world.server()), Command(("cat",), stdin=text), soon(60))
    assert result.stdout == text


def test_a_command_that_reads_no_stdin_still_ends(world: World, connect: Connect) -> None:
    result = connect().run(world.host(world.server()), Command(("echo", "done"), stdin="x" * 6_000_000), soon())
    assert result.stdout == "done\n"


def test_a_command_killed_by_a_signal_is_not_a_lost_link(world: World, connect: Connect) -> None:
    assert connect().run(world.host(world.server()), Command(("kill", Raw("-9"), Raw("$$"))), soon()).exit_status != 0


def test_threads_that_ask_at_once_share_one_connection_and_eight_sessions(
    world: World, connect: Connect, tmp_path: Path
) -> None:
    server, go = world.server(), tmp_path / "go"
    transport, host = connect(), world.host(server)
    waits = Command(("sh", "-c", f"until test -e {go}; do sleep 0.05; done"))
    with ThreadPoolExecutor(16) as pool:
        jobs = [pool.submit(transport.run, host, waits, soon(60)) for _ in range(16)]
        until(lambda: server.most_at_once >= 8)
        go.touch()
        assert all(job.result().ok for job in jobs)
    assert len(server.connections) == 1
    assert server.most_at_once == 8


def test_hosts_that_differ_in_name_only_share_a_connection_others_do_not(world: World, connect: Connect) -> None:
    server = world.server()
    transport, host = connect(), world.host(server)
    for other in (host, replace(host, name="again"), replace(host, identity=str(world.home / ".ssh/id_ed25519"))):
        transport.run(other, Command(("true",)), soon())
    assert len(server.connections) == 2


def test_a_target_is_reached_through_the_one_jump_connection(world: World, connect: Connect) -> None:
    jump, target, other = world.server(), world.server(), world.server()
    transport, via = connect(), world.host(jump)
    for server in (target, other):
        assert transport.run(world.host(server, via=via), Command(("echo", "here")), soon()).stdout == "here\n"
    assert transport.run(via, Command(("echo", "jump")), soon()).stdout == "jump\n"
    assert len(jump.connections) == 1
    assert jump.forwarded == [("127.0.0.1", target.port), ("127.0.0.1", other.port)]
    assert target.commands == ["echo here"]


def test_deadline_while_the_command_runs_says_that_it_was_sent(world: World, connect: Connect) -> None:
    server = world.server()
    transport, host = connect(silence=0.1), world.host(server)
    with pytest.raises(DeadlineExceeded) as caught:
        transport.run(host, Command(("sleep", "30")), ends_when(lambda: server.commands))
    assert caught.value.sent
    assert transport.run(host, Command(("echo", "still here")), soon()).ok


def cut_at(world: World, cuts: int) -> tuple[Host, list[str]]:
    """A host whose server cuts the line in the first `cuts` commands, after each has run."""
    server = world.server()

    async def cut(process: asyncssh.SSHServerProcess[bytes]) -> None:
        if len(server.commands) <= cuts:
            await (await asyncio.create_subprocess_shell(process.command or "")).wait()
            process.get_extra_info("connection").abort()
            await process.wait_closed()

    server.before = cut
    return world.host(server), server.commands


def test_a_read_is_repeated_over_a_new_connection(world: World, connect: Connect) -> None:
    host, commands = cut_at(world, 2)
    assert connect().run(host, Command(("echo", "third")), soon()).stdout == "third\n"
    assert commands == ["echo third"] * 3


@pytest.mark.parametrize("effect", [Effect.WRITE, Effect.RESTORE])
def test_a_write_whose_reply_is_lost_is_not_repeated(
    world: World, connect: Connect, effect: Effect, tmp_path: Path
) -> None:
    host, commands = cut_at(world, 1)
    with pytest.raises(LinkLost) as caught:
        connect().run(host, Command(("mkdir", str(tmp_path / "done")), effect=effect), soon())
    assert caught.value.sent
    assert (tmp_path / "done").is_dir()
    assert len(commands) == 1


def test_a_write_over_a_kept_connection_that_is_dead_is_sent_once_over_a_new_one(
    world: World, connect: Connect
) -> None:
    server = world.server()
    transport, host = connect(), world.host(server)
    transport.run(host, Command(("true",)), soon())
    world.loop.call(server.stop())
    server.restart()
    assert transport.run(host, Command(("echo", "new"), effect=Effect.WRITE), soon()).stdout == "new\n"
    assert server.commands == ["true", "echo new"]


def test_a_read_waits_for_a_lost_host_to_come_back_but_a_write_does_not(world: World, connect: Connect) -> None:
    server = world.server()
    transport, host = connect(), world.host(server)
    transport.run(host, Command(("true",)), soon())
    world.loop.call(server.stop())
    with pytest.raises((LinkLost, ConnectError)) as caught:
        transport.run(host, Command(("true",), effect=Effect.WRITE), soon())
    assert not caught.value.sent
    world.loop.call(server.start(server.port))
    transport.run(host, Command(("true",)), soon())
    server.cut()
    world.loop.call(server.stop())
    later = threading.Timer(0.5, server.restart)
    later.start()
    assert transport.run(host, Command(("echo", "back")), soon()).stdout == "back\n"
    later.join()


def test_a_line_gone_silent_is_found_by_asking(world: World, connect: Connect) -> None:
    server = world.server()
    proxy = SilentProxy(server.port)
    world.know_as(server, proxy.port)
    transport, host = connect(silence=0.2, answer=2), replace(world.host(server), port=proxy.port)
    transport.run(host, Command(("true",)), soon())

    async def silence(process: asyncssh.SSHServerProcess[bytes]) -> None:
        proxy.silence.set()

    server.before = silence
    with pytest.raises(LinkLost) as caught:
        transport.run(host, Command(("sleep", "30"), effect=Effect.WRITE), soon(25))
    assert caught.value.sent
    proxy.close()


def test_a_host_that_is_not_there_fails_at_once_with_its_reason(world: World, connect: Connect) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host = Host("gone", "127.0.0.1", "root", taken.getsockname()[1])
        with pytest.raises(ConnectError, match="gone: the connection is refused"):
            connect().run(host, Command(("true",)), soon(60))


def test_a_name_that_does_not_resolve(world: World, connect: Connect) -> None:
    with pytest.raises(ConnectError, match=r"no-such-host\.invalid does not resolve"):
        connect().run(Host("x", "no-such-host.invalid"), Command(("true",)), soon())


def test_a_server_that_accepts_and_says_nothing_is_given_up(world: World, connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = Host("mute", "127.0.0.1", "root", silent.getsockname()[1])
        with pytest.raises(ConnectError, match="mute: no SSH connection in time") as caught:
            connect(connect=0.3).run(host, Command(("true",)), soon())
        assert not isinstance(caught.value, DeadlineExceeded)
        with pytest.raises(DeadlineExceeded):
            connect().run(host, Command(("true",)), soon(0.3))


def test_a_service_that_is_not_ssh_is_named_so(world: World, connect: Connect) -> None:
    def greet() -> None:
        for _ in range(1):
            with web.accept()[0] as client:
                client.recv(100)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as web:
        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(ConnectError, match="does not speak SSH"):
            connect().run(Host("web", "127.0.0.1", "root", web.getsockname()[1]), Command(("true",)), soon())
        thread.join()


def test_refused_keys_are_named(world: World, connect: Connect) -> None:
    with pytest.raises(AuthError) as caught:
        connect().run(world.host(world.server(welcome=False)), Command(("true",)), soon())
    assert str(world.home / ".ssh/id_ed25519") in caught.value.what
    assert world.client_key.get_fingerprint() in caught.value.what


def test_an_encrypted_key_outside_the_agent_is_never_asked_for(world: World, connect: Connect) -> None:
    path = world.home / ".ssh/locked"
    world.client_key.write_private_key(path, passphrase="secret")
    host = replace(world.host(world.server()), identity=str(path))
    with pytest.raises(AuthError, match="encrypted, and not in the agent") as caught:
        connect().run(host, Command(("true",)), soon())
    assert caught.value.next == f"ssh-add {path}"


def test_a_missing_identity_is_named(world: World, connect: Connect) -> None:
    host = replace(world.host(world.server()), identity=str(world.home / "nokey"))
    with pytest.raises(AuthError, match="nokey: no such file"):
        connect().run(host, Command(("true",)), soon())


def test_a_jump_that_does_not_forward_and_a_target_that_refuses(world: World, connect: Connect) -> None:
    jump, closed = world.server(), world.server()
    target = world.host(closed, via=world.host(jump))
    world.loop.call(closed.stop())
    with pytest.raises(ConnectError, match=f"host-{jump.port} cannot reach it"):
        connect().run(target, Command(("true",)), soon())
    jump.forwards = False
    with pytest.raises(ConnectError, match="does not let us forward"):
        connect().run(target, Command(("true",)), soon())


def test_a_target_behind_the_jump_that_says_nothing_is_given_up(world: World, connect: Connect) -> None:
    jump = world.host(world.server())
    transport = connect(connect=3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = Host("mute", "127.0.0.1", "root", silent.getsockname()[1], via=jump)
        with pytest.raises(ConnectError, match="mute: no SSH connection in time"):
            transport.run(host, Command(("true",)), soon())
    assert transport.run(jump, Command(("echo", "well")), soon()).ok


def test_disconnect_drops_only_that_host(world: World, connect: Connect) -> None:
    one, two = world.server(), world.server()
    transport = connect()
    for server in (one, two):
        transport.run(world.host(server), Command(("true",)), soon())
    transport.disconnect(world.host(one))
    assert transport.server_key(world.host(one)) is None
    assert transport.server_key(world.host(two)) is not None


def test_an_interrupt_comes_through_at_once_and_leaves_a_usable_transport(world: World, connect: Connect) -> None:
    transport, host = connect(), world.host(world.server())
    transport.run(host, Command(("true",)), soon())
    interrupt = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    started = soon(100)
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        transport.run(host, Command(("sleep", "30")), soon())
    assert started.remaining() > 75  # long before the command would have ended
    interrupt.join()
    assert transport.run(host, Command(("echo", "on"), effect=Effect.RESTORE), soon()).stdout == "on\n"

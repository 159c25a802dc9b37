"""Sessions that are made ready ahead: a command in one is the command that it would be in a session of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from metalfoundry.commands.command import Command, Effect, Raw
from metalfoundry.model.errors import CommandError, DeadlineExceeded, LinkLost, TooMuchOutput
from metalfoundry.model.hosts import Host
from metalfoundry.transport.channel import MOST_BEFORE, make_ready
from metalfoundry.transport.clock import SystemClock
from metalfoundry.transport.connection import Link
from metalfoundry.transport.ssh import SshTransport
from tests.transport.servers import Server, SilentProxy, World, ends_when, is_running, soon
from tests.transport.test_login_shells import ODD, SHELLS
from tests.transport.test_ssh_follow import gone
from tests.waiting import until

Connect = Callable[..., SshTransport]
LEADS = Command(("echo", "first"), ahead=2)
READER = "sh -c 'while echo metalfoundry: ready; read"


def link_of(transport: SshTransport, host: Host) -> Link:
    link = transport._slot(host).link
    assert link is not None
    return link


def prepared(transport: SshTransport, host: Host, count: int = 2) -> Link:
    """Say the first command, and wait until the sessions for others stand."""
    assert transport.run(host, LEADS, soon()).stdout == "first\n"
    link = link_of(transport, host)
    until(lambda: len(link.sessions._ready) == count, what="no session was made ready")
    return link


def own(server: Server) -> list[str]:
    """What was run in a session of its own."""
    return [line for line in server.commands if not line.startswith(READER)]


@pytest.mark.parametrize("shell", SHELLS)
def test_each_login_shell_runs_what_it_would_run_in_a_session_of_its_own(
    world: World, connect: Connect, shell: str
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    server, transport = world.server(), connect()
    server.login_shell = shell
    host = world.host(server)
    prepared(transport, host)
    for word in (ODD, "two\nlines\n", "x" * 5000, "", "-n"):
        prepared(transport, host)
        result = transport.run(host, Command(("printf", "<%s>", word)), soon())
        assert (result.exit_status, result.stdout, result.stderr) == (0, f"<{word}>", "")
    prepared(transport, host)
    script = Command(("sh", "-s"), stdin="cat <<'E'; echo err! >&2; exit 7\na\\n!b\nE\n")
    result = transport.run(host, script, soon())
    assert (result.exit_status, result.stdout, result.stderr) == (7, "a\\n!b\n", "err!\n")
    prepared(transport, host)
    raw = Command(("sh", "-c", "echo err >&2", Raw("2>&1"), Raw("|"), "cat"))
    assert transport.run(host, raw, soon()).stdout == "err\n"
    assert set(own(server)) == {"echo first"}


def test_nothing_is_made_ready_where_nothing_follows(world: World, connect: Connect) -> None:
    server, transport = world.server(), connect()
    for _ in range(3):
        transport.run(world.host(server), Command(("true",)), soon())
    assert own(server) == server.commands == ["true"] * 3


def test_each_serves_one_command_and_is_replaced(world: World, connect: Connect) -> None:
    server, transport = world.server(), connect()
    host = world.host(server)
    for _ in range(5):
        prepared(transport, host)
        assert transport.run(host, Command(("cat",), stdin="text"), soon()).stdout == "text"
    assert own(server) == ["echo first"]
    assert server.most_at_once <= 8


def test_seven_megabytes_flow_both_ways(world: World, connect: Connect) -> None:
    transport, host = connect(), world.host(world.server())
    prepared(transport, host)
    text = "".join(f"line {n} ä\n" for n in range(500_000))
    assert transport.run(host, Command(("cat",), stdin=text), soon(60)).stdout == text


def test_a_flood_is_cut_off(world: World, connect: Connect) -> None:
    transport, host = connect(), world.host(world.server())
    prepared(transport, host)
    with pytest.raises(TooMuchOutput, match="printed more than 1 MB"):
        transport.run(host, Command(("head", "-c", "1200000", "/dev/zero"), most=2**20), soon())
    assert transport.run(host, Command(("echo", "on")), soon()).stdout == "on\n"


def test_what_a_host_prints_at_log_in_comes_as_it_would(world: World, connect: Connect, tmp_path: Path) -> None:
    server, transport = world.server(), connect()
    server.login_shell = str(shell(tmp_path, 'echo welcome; echo to you >&2; exec sh -c "$2"'))
    host = world.host(server)
    ahead = Command(("true",), ahead=1)
    assert transport.run(host, ahead, soon()).stdout == "welcome\n"
    until(lambda: link_of(transport, host).sessions._ready)
    result = transport.run(host, Command(("sh", "-c", "echo text; echo word >&2")), soon())
    assert (result.stdout, result.stderr) == ("welcome\ntext\n", "to you\nword\n")
    assert own(server) == ["true"]


def shell(folder: Path, text: str) -> Path:
    """A login shell, called as `SHELL -c LINE`."""
    path = folder / "shell"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    "instead",
    ["exit 0", "echo no such command; exit 1", f"head -c {2 * MOST_BEFORE} /dev/zero; exec cat", "exec 1>&2; cat"],
)
def test_where_no_reader_comes_up_commands_run_as_ever(
    world: World, connect: Connect, tmp_path: Path, instead: str
) -> None:
    server, transport = world.server(), connect(connect=2.0)
    server.login_shell = str(shell(tmp_path, f'case $2 in *": ready"*) {instead} ;; esac\nexec sh -c "$2"'))
    host = world.host(server)
    transport.run(host, LEADS, soon())
    sessions = link_of(transport, host).sessions
    until(lambda: sessions._fails and not sessions._making)
    assert transport.run(host, LEADS, soon()).stdout == "first\n"
    assert own(server) == ["echo first"] * 2
    assert (sessions._free, sessions._ready, len(server.commands)) == (8, [], 4)  # two tries, and never again


def test_a_host_that_allows_no_more_sessions_is_not_asked_again(world: World, connect: Connect) -> None:
    server, transport = world.server(), connect()
    host = world.host(server)
    transport.run(host, Command(("true",)), soon())
    link = link_of(transport, host)

    (connection,) = server.connections
    allowed, connection._process_factory = connection._process_factory, None
    assert link.sessions.reserve(1)
    make_ready(link, SystemClock())
    connection._process_factory = allowed
    assert not link.sessions.reserve(1)
    assert transport.run(host, LEADS, soon()).stdout == "first\n"
    assert link.sessions._free == 8


@pytest.mark.parametrize("effect", [Effect.READ, Effect.WRITE])
def test_a_reader_that_ends_before_it_begins_is_replaced_and_the_command_runs_once(
    world: World, connect: Connect, tmp_path: Path, effect: Effect
) -> None:
    server, transport = world.server(), connect()
    deaf = 'echo "metalfoundry: ready"; read -r line; exit 3'
    server.login_shell = str(shell(tmp_path, f'case $2 in *": ready"*) {deaf} ;; esac\nexec sh -c "$2"'))
    host = world.host(server)
    prepared(transport, host)
    mark = tmp_path / "ran"
    result = transport.run(host, Command(("sh", "-c", f"echo x >>{mark}; echo done"), effect=effect), soon())
    assert (result.stdout, mark.read_text()) == ("done\n", "x\n")


def test_one_that_has_died_meanwhile_is_passed_over(world: World, connect: Connect) -> None:
    server, transport = world.server(), connect()
    host = world.host(server)
    link = prepared(transport, host)
    for shell in server._shells[1:]:
        os.killpg(shell.pid, signal.SIGKILL)
    until(lambda: all(talk.spoilt for talk in link.sessions._ready))
    assert transport.run(host, Command(("echo", "on"), effect=Effect.WRITE), soon()).stdout == "on\n"


def test_what_cannot_be_settled_is_not_sent_into_a_link_that_has_died(world: World, connect: Connect) -> None:
    """As with a new session: the host has answered just before, or nothing was sent."""
    server = world.server()
    proxy = SilentProxy(server.port)
    world.know_as(server, proxy.port)
    transport, host = connect(answer=0.5, silence=60), replace(world.host(server), port=proxy.port)
    prepared(transport, host)
    proxy.silence.set()
    with pytest.raises(LinkLost) as caught:
        transport.run(host, Command(("reboot",), effect=Effect.WRITE), soon())
    assert not caught.value.sent
    assert own(server) == ["echo first"]
    proxy.close()


def test_what_is_settled_by_reading_goes_out_at_once_where_the_host_was_heard(world: World, connect: Connect) -> None:
    server = world.server()
    proxy = SilentProxy(server.port)
    world.know_as(server, proxy.port)
    transport, host = connect(answer=0.5, silence=0.5), replace(world.host(server), port=proxy.port)
    link = prepared(transport, host)
    link.heard = SystemClock().now().mono + 600
    proxy.silence.set()
    with pytest.raises(LinkLost) as caught:
        transport.run(host, Command(("true",), effect=Effect.WRITE, settles=True), soon())
    assert caught.value.sent
    proxy.close()


def test_a_host_that_was_not_heard_lately_is_asked_whatever_the_effect(world: World, connect: Connect) -> None:
    server = world.server()
    proxy = SilentProxy(server.port)
    world.know_as(server, proxy.port)
    transport, host = connect(answer=0.5, silence=60), replace(world.host(server), port=proxy.port)
    link = prepared(transport, host)
    link.heard = SystemClock().now().mono - 600
    proxy.silence.set()
    with pytest.raises(LinkLost) as caught:
        transport.run(host, Command(("true",), effect=Effect.RESTORE, settles=True), soon())
    assert not caught.value.sent
    proxy.close()


def test_a_deadline_that_is_over_sends_nothing(world: World, connect: Connect, tmp_path: Path) -> None:
    transport, host = connect(), world.host(world.server())
    prepared(transport, host)
    with pytest.raises(DeadlineExceeded) as caught:
        transport.run(host, Command(("touch", str(tmp_path / "ran"))), soon(0.0))
    assert not caught.value.sent
    assert not (tmp_path / "ran").exists()


def test_a_command_that_does_not_end_in_time_may_have_taken_effect(world: World, connect: Connect) -> None:
    server, transport = world.server(), connect()
    host = world.host(server)
    prepared(transport, host)
    pid = world.home / "pid"
    slow = Command(("sh", "-c", f"echo $$ >{pid}.new; mv {pid}.new {pid}; cat; sleep 60"), effect=Effect.WRITE)
    with pytest.raises(DeadlineExceeded) as caught:
        transport.run(host, slow, ends_when(pid.exists))
    assert caught.value.sent
    assert transport.run(host, Command(("echo", "on")), soon()).stdout == "on\n"


def test_a_followed_command_ends_with_its_connection_or_its_reader(world: World, connect: Connect) -> None:
    transport, host = connect(), world.host(world.server())
    for leave in (lambda stream: stream.close(), lambda stream: transport.disconnect(host)):
        prepared(transport, host)
        words = ("sh", "-c", "echo $$; sleep 60 & echo $!; wait")
        with closing(transport.follow(host, Command(words), soon(), 0.1)) as stream:  # type: ignore[type-var]
            lines = filter(None, stream)
            pids = [int(next(lines)), int(next(lines))]
            leave(stream)
        for pid in pids:
            assert gone(pid)


def test_a_followed_command_that_fails_says_so(world: World, connect: Connect) -> None:
    transport, host = connect(), world.host(world.server())
    prepared(transport, host)
    with pytest.raises(CommandError) as caught:
        list(transport.follow(host, Command(("sh", "-c", "echo no >&2; exit 4")), soon()))
    assert (caught.value.exit_status, caught.value.stderr) == (4, "no\n")


def test_a_reader_ends_with_its_connection(world: World, connect: Connect) -> None:
    server, transport = world.server(), connect()
    prepared(transport, world.host(server))
    pids = [shell.pid for shell in server._shells[1:]]
    assert all(map(is_running, pids))
    transport.disconnect(world.host(server))
    for pid in pids:
        assert gone(pid)


def test_sixteen_at_once_stay_within_the_places(world: World, connect: Connect) -> None:
    server, transport = world.server(), connect()
    host = world.host(server)
    link = prepared(transport, host)
    with ThreadPoolExecutor(16) as pool:
        jobs = [pool.submit(transport.run, host, Command(("echo", f"{n}")), soon()) for n in range(48)]
        assert [job.result().stdout for job in jobs] == [f"{n}\n" for n in range(48)]
    assert server.most_at_once <= 9  # one that we have closed may still count
    until(lambda: link.sessions._free + len(link.sessions._ready) == 8 and not link.sessions._making)


def test_the_reader_is_a_line_that_means_the_same_in_every_login_shell(world: World, connect: Connect) -> None:
    server, transport = world.server(), connect()
    prepared(transport, world.host(server))
    (reader,) = {line for line in server.commands if line.startswith(READER)}
    assert re.fullmatch(r"sh -c '[^'!\\\n]{0,900}'", reader)

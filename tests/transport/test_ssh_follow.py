"""Following a command: lines as they come, ticks in silence, and its end with the connection."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from metalfoundry.commands.command import Command, Raw
from metalfoundry.model.errors import LinkLost
from metalfoundry.transport.follow import Lines
from metalfoundry.transport.ssh import SshTransport
from tests.transport.servers import SilentProxy, World, ends_when, gone, is_running, soon

Connect = Callable[..., SshTransport]


def said(stream: Iterator[str | None], count: int) -> list[str]:
    """The next `count` lines, ticks left out."""
    lines: list[str] = []
    while len(lines) < count:
        line = next(stream)
        if line is not None:
            lines.append(line)
    return lines


def test_lines_come_one_by_one_and_the_stream_ends_with_the_command(world: World, connect: Connect) -> None:
    command = Command(("sh", "-c", "printf 'one\\n\\ntwo grün\\nlast'"))
    lines = connect().follow(world.host(world.server()), command, soon())
    assert [line for line in lines if line is not None] == ["one", "", "two grün", "last"]


def test_silence_yields_ticks(world: World, connect: Connect, tmp_path: Path) -> None:
    go = tmp_path / "go"
    command = Command(("sh", "-c", f"until test -e {go}; do sleep 0.05; done; echo end"))
    stream = connect().follow(world.host(world.server()), command, soon(), tick=0.1)
    assert [next(stream) for _ in range(3)] == [None] * 3
    go.touch()
    assert [item for item in stream if item is not None] == ["end"]


def test_the_deadline_ends_the_stream_and_the_command(world: World, connect: Connect) -> None:
    command = Command(("sh", "-c", "echo $$; sleep 60"))
    lines: list[str] = []
    deadline = ends_when(lambda: lines)
    for line in connect().follow(world.host(world.server()), command, deadline, tick=0.1):
        lines += [line] if line else []
    assert gone(int(lines[0]))


def test_a_script_on_stdin_is_given_whole(world: World, connect: Connect) -> None:
    script = "echo \"$1\"; cat <<'EOF'\nit's $HOME %s \\n ä\nEOF\n# " + "x" * 200_000 + "\necho end"
    command = Command(("sh", "-s", "a word"), stdin=script)
    lines = [line for line in connect().follow(world.host(world.server()), command, soon()) if line is not None]
    assert lines == ["a word", "it's $HOME %s \\n ä", "end"]


@pytest.mark.parametrize("stdin", ["", "echo $$; sleep 60 & echo $!; wait"])
def test_closing_the_iterator_ends_the_command_and_its_children(world: World, connect: Connect, stdin: str) -> None:
    argv = ("sh", "-s") if stdin else ("sh", "-c", "echo $$; sleep 60 & echo $!; wait")
    stream = connect().follow(world.host(world.server()), Command(argv, stdin=stdin), soon())
    with closing(stream):  # type: ignore[type-var]
        pids = [int(line) for line in said(stream, 2)]
        assert all(is_running(pid) for pid in pids)
    assert all(gone(pid) for pid in pids)


def test_a_pipeline_is_followed_and_ended_whole(world: World, connect: Connect) -> None:
    argv = ("sh", "-c", "echo $$; exec sleep 60", Raw("|"), "cat")
    transport, host = connect(), world.host(world.server())
    stream = transport.follow(host, Command(argv), soon())
    (pid,) = map(int, said(stream, 1))
    transport.disconnect(host)
    assert gone(pid)
    with pytest.raises(LinkLost):
        next(stream)


def test_a_cut_line_ends_the_command_and_is_told(world: World, connect: Connect) -> None:
    server = world.server()
    stream = connect().follow(world.host(server), Command(("sh", "-c", "echo $$; exec sleep 60")), soon(), tick=0.1)
    (pid,) = map(int, said(stream, 1))
    server.cut()
    with pytest.raises(LinkLost) as caught:
        list(stream)
    assert caught.value.sent
    assert gone(pid)


def test_a_silent_line_is_found_dead(world: World, connect: Connect) -> None:
    server = world.server()
    proxy = SilentProxy(server.port)
    world.know_as(server, proxy.port)
    host = replace(world.host(server), port=proxy.port)
    transport = connect(silence=0.3, answer=2)
    stream = transport.follow(host, Command(("sh", "-c", "echo up; exec sleep 60")), soon(), tick=0.1)
    assert said(stream, 1) == ["up"]
    assert [next(stream) for _ in range(10)] == [None] * 10  # idle, but it answers
    proxy.silence.set()
    with pytest.raises(LinkLost):
        list(stream)
    assert transport.server_key(host) is None
    proxy.close()


def test_an_interrupt_while_following_comes_through_and_the_command_ends(world: World, connect: Connect) -> None:
    transport, host = connect(), world.host(world.server())
    stream = transport.follow(host, Command(("sh", "-c", "echo $$; exec sleep 60")), soon(), tick=30)
    (pid,) = map(int, said(stream, 1))
    interrupt = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    interrupt.join()
    assert gone(pid)
    assert transport.run(host, Command(("echo", "on")), soon()).stdout == "on\n"


def test_a_very_long_line_and_a_character_cut_in_two(world: World, connect: Connect) -> None:
    script = "head -c 1000001 /dev/zero | tr '\\0' x; printf '\\303'; sleep 0.2; printf '\\244\\nend\\n'"
    lines = said(connect().follow(world.host(world.server()), Command(("sh", "-s"), stdin=script), soon()), 2)
    assert lines == ["x" * 1_000_001 + "ä", "end"]


def test_lines_are_the_same_however_the_bytes_are_cut() -> None:
    data = "a\n\nübermut\nrest".encode()
    for size in range(1, len(data) + 1):
        lines = Lines()
        got = [line for at in range(0, len(data), size) for line in lines.feed(data[at : at + size])]
        assert got + lines.end() == ["a", "", "übermut", "rest"]
        assert lines.end() == []

"""The login shell of a host is whatever its user likes: commands mean the same in each of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from metalfoundry.commands.command import Command, Effect, Raw
from metalfoundry.commands.kubectl import HARDWARE, Kubectl
from metalfoundry.commands.script import Part, read_script, script
from metalfoundry.model.errors import CommandError
from metalfoundry.transport.ssh import SshTransport
from metalfoundry.transport.wire import in_any_shell
from tests.transport.servers import Server, World, gone, is_running, soon
from tests.transport.test_ssh_follow import said

Connect = Callable[..., SshTransport]
SHELLS = ("sh", "bash", "zsh", "fish", "bsd-csh", "tcsh")
ODD = 'it\'s !x \\ \\\\ $HOME `id` %s {a,b} ~ * ^z #n "q" ä'


@pytest.fixture(params=SHELLS)
def server(world: World, request: pytest.FixtureRequest) -> Server:
    if shutil.which(request.param) is None:
        pytest.skip(f"no {request.param} here")
    server = world.server()
    server.login_shell = request.param
    return server


@pytest.mark.parametrize("word", [ODD, "two\nlines\n", "x" * 5000, "\\", "!", "!!", "", "-n"])
def test_a_word_arrives_as_it_is(world: World, connect: Connect, server: Server, word: str) -> None:
    result = connect().run(world.host(server), Command(("printf", "<%s>", word)), soon())
    assert (result.exit_status, result.stdout, result.stderr) == (0, f"<{word}>", "")


def test_status_streams_and_stdin_are_the_commands_own(world: World, connect: Connect, server: Server) -> None:
    shell = Command(("sh", "-c", "cat; echo err! >&2; exit 7"), stdin="a\\n!b\n")
    result = connect().run(world.host(server), shell, soon())
    assert (result.exit_status, result.stdout, result.stderr) == (7, "a\\n!b\n", "err!\n")
    raw = Command(("sh", "-c", "echo err >&2", Raw("2>&1"), Raw("|"), "cat"))
    assert connect().run(world.host(server), raw, soon()).stdout == "err\n"


def test_a_script_of_parts_comes_back_whole(world: World, connect: Connect, server: Server) -> None:
    command = script([Part("odd", ("printf", "%s", ODD)), Part("fed", ("cat",), "in!\n")], effect=Effect.READ)
    outcomes = read_script(connect().run(world.host(server), command, soon()).stdout)
    assert (outcomes["odd"].stdout, outcomes["fed"].stdout) == (ODD, "in!\n")


@pytest.mark.parametrize("stdin", ["", "echo $$; sleep 60 & echo $!; wait"])
def test_a_followed_command_says_its_lines_and_ends_with_the_connection(
    world: World, connect: Connect, server: Server, stdin: str
) -> None:
    argv = ("sh", "-s") if stdin else ("sh", "-c", "echo $$; sleep 60 & echo $!; wait")
    stream = connect().follow(world.host(server), Command(argv, stdin=stdin), soon())
    with closing(stream):  # type: ignore[type-var]
        pids = [int(line) for line in said(stream, 2)]
        assert all(is_running(pid) for pid in pids)
    assert all(gone(pid) for pid in pids)


def test_a_watch_is_heard(world: World, connect: Connect, server: Server, tmp_path: Path) -> None:
    program = tmp_path / "kubectl"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$*"\n')
    program.chmod(0o755)
    watch = Kubectl((str(program),), "tink-system").watch(HARDWARE, "anvil")
    lines = [line for line in connect().follow(world.host(server), watch, soon()) if line]
    assert lines == [" ".join(watch.argv[1:])]


def test_a_followed_command_that_fails_says_so_with_its_last_words(
    world: World, connect: Connect, server: Server
) -> None:
    stream: Iterator[str | None] = connect().follow(
        world.host(server), Command(("sh", "-c", "echo one; echo 'no such thing!' >&2; exit 9")), soon()
    )
    assert said(stream, 1) == ["one"]
    with pytest.raises(CommandError) as caught:
        list(stream)
    assert (caught.value.exit_status, caught.value.stderr) == (9, "no such thing!\n")


def test_a_command_that_arrives_in_part_does_nothing(world: World, connect: Connect, server: Server) -> None:
    line, stdin = in_any_shell("echo done", "")
    host = world.host(server)
    for size in range(0, len(stdin), 3):
        result = connect().run(host, Command(("sh", "-c", f"printf %s '{stdin[:size]}' | {line}")), soon())
        assert "done" not in result.stdout

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from metalfoundry.commands.command import Effect, Raw
from metalfoundry.commands.script import MARK, Outcome, Part, read_script, script, settling, ticketed
from tests.commands.shells import run

SHELLS = ("dash", "bash", "busybox")


def said(text: str, to: int = 1, code: int = 0) -> tuple[str, ...]:
    return ("sh", "-c", f'printf %s "$1" >&{to}; exit {code}', "x", text)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def outcomes(shell: str, *parts: Part, functions: str = "") -> dict[str, Outcome]:
    return read_script(run(script(parts, effect=Effect.READ, functions=functions), shell))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "plain",
        "ends with a newline\n",
        "\n\nblank lines around\n\n",
        "%s %d \\n \\033[0m $HOME `id` $(id) 'quotes' \"more\"",
        f"{MARK} one err\n",
        f"a\n{MARK} one err\nb\n{MARK} one exit 0\nc",
        f"{MARK} two out\nfaked\n{MARK} two err\n\n{MARK} two exit 7\n",
        "x" * 200_000,
        "Zürich \u2713 \u65e5\u672c",
    ],
    ids=lambda text: repr(text[:24]),
)
def test_stdout_comes_back_byte_for_byte(shell: str, text: str) -> None:
    part = Part("one", ("cat",), text) if len(text) > 100_000 else Part("one", said(text))
    seen = outcomes(shell, part, Part("two", ("echo", "next")))
    wanted = text + "\n" if part.stdin else text
    assert seen["one"] == Outcome(0, wanted, "")
    assert seen["two"] == Outcome(0, "next\n", "")


@pytest.mark.parametrize("text", ["no\n", "two\nlines\n", "%s\\n", f"{MARK} one exit 0\n", f"a\n{MARK} one err\n"])
@pytest.mark.parametrize("code", [0, 1, 42, 127])
def test_stderr_and_exit_status_come_back(shell: str, text: str, code: int) -> None:
    seen = outcomes(shell, Part("one", said(text, 2, code)), Part("two", ("false",)))
    assert seen == {"one": Outcome(code, "", text.strip()), "two": Outcome(1, "", "")}


def test_both_streams_are_told_apart(shell: str) -> None:
    seen = outcomes(shell, Part("one", ("sh", "-c", "echo out; echo err >&2; echo more; exit 3")))
    assert seen == {"one": Outcome(3, "out\nmore\n", "err")}


def test_a_part_that_does_not_exist_is_127_and_the_next_one_runs(shell: str) -> None:
    seen = outcomes(shell, Part("one", ("no-such-program-here",)), Part("two", ("echo", "on")))
    assert seen["one"].exit_status == 127
    assert "not found" in seen["one"].stderr
    assert seen["two"].stdout == "on\n"


@pytest.mark.parametrize(
    "text",
    ["a: b\n", "no newline", "$HOME `id` \\n 'x' \"y\"\n", "METALFOUNDRY_STDIN\necho stolen\n", "keep\n\n\n", " \n"],
)
def test_stdin_arrives_as_it_was_given(shell: str, text: str) -> None:
    seen = outcomes(shell, Part("one", ("cat",), text), Part("two", ("cat",)))
    assert seen["one"].stdout == (text if text.endswith("\n") else text + "\n")
    assert seen["two"] == Outcome(0, "", "")


def test_words_are_quoted_unless_raw(shell: str) -> None:
    nasty = "a b;c'd\"$(e)\n*"
    seen = outcomes(shell, Part("one", ("printf", "%s", nasty)), Part("two", ("echo", Raw("$((1+1))"))))
    assert seen["one"].stdout == nasty
    assert seen["two"].stdout == "2\n"


def test_functions_can_be_called(shell: str) -> None:
    seen = outcomes(shell, Part("one", ("greet", "you")), functions='greet() { echo "hello $1"; return 4; }\n')
    assert seen == {"one": Outcome(4, "hello you\n", "")}


def test_parts_that_were_cut_short_are_missing() -> None:
    whole = run(script([Part("one", ("echo", "1")), Part("two", ("echo", "2"))], effect=Effect.READ))
    assert list(read_script(whole)) == ["one", "two"]
    for end in range(len(whole)):
        seen = read_script(whole[:end])
        assert all(outcome == read_script(whole)[name] for name, outcome in seen.items())
    assert read_script("") == {}
    assert read_script("sh: 1: syntax error") == {}


def test_the_effect_and_the_secrets_are_the_commands() -> None:
    command = script([Part("one", ("cat",), "token")], effect=Effect.WRITE, secrets=("token",))
    assert command.argv == ("sh", "-s")
    assert command.effect is Effect.WRITE
    assert "token" in command.stdin
    assert "token" not in command.shown


def test_a_part_that_goes_after_another_is_run_only_where_that_ended_well(shell: str) -> None:
    after = Part("told", ("cat",), "in\n", after="one")
    assert outcomes(shell, Part("one", ("true",)), Part("two", ("false",)), after)["told"] == Outcome(0, "in\n", "")
    assert list(outcomes(shell, Part("one", ("false",)), Part("two", ("true",)), after)) == ["one", "two"]
    assert list(outcomes(shell, Part("one2", ("true",)), after)) == ["one2"]


@pytest.fixture
def ticket() -> Iterator[str]:
    name = f"metalfoundry-test-{secrets.token_hex(8)}"
    yield name
    shutil.rmtree(f"/tmp/{name}", ignore_errors=True)


def begun(shell: str, ticket: str, folder: Path, waits: bool = True) -> subprocess.Popen[str]:
    """A script with a ticket that writes into `folder` and, if it `waits`, ends once somebody reads from its pipe."""
    os.mkfifo(folder / "pipe")
    command = ticketed(script([Part("one", ("sh", "-c", f"echo began >{folder}/began"))], effect=Effect.WRITE), ticket)
    text = (
        command.stdin
        if not waits
        else command.stdin.replace("part one", f"part wait sh -c 'echo x >{folder}/pipe' </dev/null\npart one")
    )
    words = [shutil.which(shell) or pytest.skip(f"no {shell} here"), *(["sh"] if shell == "busybox" else []), "-s"]
    running = subprocess.Popen([*words, *command.argv[2:]], stdin=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL)
    assert running.stdin is not None
    running.stdin.write(text)
    running.stdin.close()
    return running


def settled(shell: str, ticket: str, seconds: int = 0) -> bool:
    return read_script(run(settling([ticket], seconds), shell))["settled"].ok


def test_what_runs_is_not_settled_until_it_has_ended(shell: str, ticket: str, tmp_path: Path) -> None:
    with begun(shell, ticket, tmp_path) as running:
        while not Path(f"/tmp/{ticket}").exists():
            assert running.poll() is None
        assert not settled(shell, ticket)
        (tmp_path / "pipe").read_text()
    assert (tmp_path / "began").exists() and not Path(f"/tmp/{ticket}").exists()
    assert settled(shell, ticket)


def test_what_has_not_begun_never_does_once_it_is_settled(shell: str, ticket: str, tmp_path: Path) -> None:
    assert settled(shell, ticket)
    with begun(shell, ticket, tmp_path, waits=False) as running:
        running.wait()
    assert (running.returncode, (tmp_path / "began").exists()) == (9, False)


def test_what_was_killed_is_settled(shell: str, ticket: str, tmp_path: Path) -> None:
    with begun(shell, ticket, tmp_path) as running:
        while not Path(f"/tmp/{ticket}").exists():
            assert running.poll() is None
        running.kill()
    assert settled(shell, ticket, 20)
    os.close(os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK))  # what it waited for, if it came so far, ends

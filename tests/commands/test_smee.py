from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from metalfoundry.commands import smee
from metalfoundry.commands.command import Effect
from metalfoundry.commands.script import Outcome, read_script, script
from tests.commands.shells import folder_of, run

MAC = "00:00:5e:00:53:4b"
OLD, NEW = smee.paths(MAC)
CLIENTS = {"curl": ["sh", "curl"], "wget": ["sh", "wget", "awk"], "bash": ["sh", "bash"]}


class Server:
    """Answers as told, and knows what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, int] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                self.send_response(outer.answers.get(self.path, 404))
                self.send_header("Content-Length", "6")
                self.end_headers()
                with suppress(ConnectionError):  # who has what it wanted hangs up
                    self.wfile.write(b"#!ipxe")

            def log_message(self, format: str, *args: object) -> None:
                return

        class Patient(ThreadingHTTPServer):
            request_queue_size = 64

        self.http = Patient(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def ask(url: str, path: Path) -> dict[str, int]:
    command = script(smee.ask(url, MAC), effect=Effect.READ, functions=smee.FUNCTIONS)
    return smee.read_answers(read_script(run(command, "dash", path)), MAC)


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return folder_of(tmp_path / "bin", CLIENTS[request.param])


@pytest.mark.parametrize(("old", "new"), [(200, 404), (404, 200), (404, 404), (403, 403), (500, 404)])
def test_both_paths_are_asked_with_whatever_is_there(server: Server, client: Path, old: int, new: int) -> None:
    server.answers = {OLD: old, NEW: new}
    assert ask(server.url, client) == {OLD: old, NEW: new}
    assert server.asked == [OLD, NEW]


def test_a_slash_at_the_end_of_the_address_is_no_matter(server: Server, client: Path) -> None:
    assert ask(server.url + "/", client) == {OLD: 404, NEW: 404}
    assert server.asked == [OLD, NEW]


def test_nobody_there_is_no_answer(client: Path) -> None:
    assert ask("http://127.0.0.1:1", client) == {OLD: 0, NEW: 0}


def test_no_client_at_all_is_no_answer(server: Server, tmp_path: Path) -> None:
    assert ask(server.url, folder_of(tmp_path / "bin", ["sh"])) == {OLD: 0, NEW: 0}
    assert server.asked == []


def ask_many(url: str, path: Path, macs: Sequence[str]) -> dict[str, dict[str, int]]:
    command = script([smee.ask_many(url, macs)], effect=Effect.READ, functions=smee.FUNCTIONS)
    outcomes = read_script(run(command, "dash", path))
    return {mac: smee.read_many(outcomes, mac) for mac in macs}


def test_many_machines_are_asked_for_in_one_part(server: Server, client: Path) -> None:
    macs = [f"00:00:5e:00:53:{number:02x}" for number in range(20)]
    server.answers = {smee.paths(macs[0])[1]: 200, smee.paths(macs[19])[0]: 403}
    wanted = {mac: dict.fromkeys(smee.paths(mac), 404) for mac in macs}
    wanted[macs[0]][smee.paths(macs[0])[1]], wanted[macs[19]][smee.paths(macs[19])[0]] = 200, 403
    assert ask_many(f"{server.url}/", client, macs) == wanted
    assert sorted(server.asked) == sorted(path for mac in macs for path in smee.paths(mac))


def test_where_nobody_answers_the_first_no_other_is_asked(client: Path) -> None:
    """Each would be waited for."""
    came = 0
    with socket.create_server(("127.0.0.1", 0)) as mute:

        def hang_up() -> None:
            nonlocal came
            while True:
                try:
                    mute.accept()[0].close()
                except OSError:
                    return
                came += 1

        thread = threading.Thread(target=hang_up)
        thread.start()
        assert ask_many(f"http://127.0.0.1:{mute.getsockname()[1]}", client, [MAC]) == {MAC: {OLD: 0, NEW: 0}}
        mute.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    assert came == 1


@pytest.mark.parametrize(
    ("answers", "wanted"),
    [
        ((200, 404), True),
        ((404, 200), True),
        ((200, 0), True),
        ((404, 404), False),
        ((403, 404), False),
        ((0, 404), None),
        ((404, 0), None),
        ((500, 404), None),
        ((0, 0), None),
    ],
)
def test_open_closed_or_not_known(answers: tuple[int, int], wanted: bool | None) -> None:
    assert smee.says_open(dict(zip((OLD, NEW), answers, strict=True))) is wanted


def test_no_answers_prove_nothing() -> None:
    assert smee.says_open({}) is None
    cut = {"smee0": Outcome(0, "404", "")}
    assert smee.read_answers(cut, MAC) == {OLD: 404, NEW: 0}
    assert smee.read_answers({"smee0": Outcome(1, "", "neither"), "smee1": Outcome(0, "oops", "")}, MAC) == {
        OLD: 0,
        NEW: 0,
    }

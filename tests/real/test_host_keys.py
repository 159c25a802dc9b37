"""What becomes of a host key in each situation, against OpenSSH's sshd: the table of docs/host-keys.md."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from metalfoundry.commands.command import Command
from metalfoundry.model.errors import HostKeyError
from metalfoundry.model.host_keys import read_key
from metalfoundry.model.hosts import Host, HostKeyPolicy, ServerKey
from metalfoundry.transport.clock import SystemClock
from metalfoundry.transport.ssh import SshTransport
from metalfoundry.transport.ssh_options import UserFiles
from tests.real.test_sshd import Sshd, keygen, soon, start, user_key

__all__ = ["user_key"]
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(shutil.which("sshd", path="/usr/bin:/usr/sbin:/usr/local/sbin") is None, reason="no sshd here"),
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen here"),
]
PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "host-keys.md"
HEAD = """\
| what is known | jump, `yes` | jump, `accept-new` | server, `yes` | server, `accept-new` | after our reboot |
|---|---|---|---|---|---|
"""
POLICIES = (HostKeyPolicy.YES, HostKeyPolicy.ACCEPT_NEW, HostKeyPolicy.LEARN)


@dataclass(frozen=True)
class Case:
    """One row: what stands in known_hosts (`shown`: the key that the host shows, `other`: one that it does not), what
    the inventory pins, and what is published."""

    title: str
    lines: tuple[str, ...] = ()
    pinned: str = ""
    published: tuple[str, ...] = ()


CASES = (
    Case("nothing"),
    Case("known_hosts has its key", ("shown",)),
    Case("known_hosts has another key", ("other",)),
    Case("known_hosts revokes its key", ("@revoked shown",)),
    Case("its key is pinned, known_hosts has another", ("other",), pinned="shown"),
    Case("the fingerprint of its key is pinned", pinned="fingerprint"),
    Case("another key is pinned, known_hosts has its own", ("shown",), pinned="other"),
    Case("its key is pinned, and revoked", ("@revoked shown",), pinned="shown"),
    Case("its key is published", published=("shown",)),
    Case("its key is published among others", published=("other", "shown")),
    Case("another key is published", published=("other",)),
    Case("its key is published, known_hosts has another", ("other",), published=("shown",)),
    Case("its key is published, and revoked", ("@revoked shown",), published=("shown",)),
)


class Place:
    """A jump host and a server behind it."""

    def __init__(self, folder: Path, user: Path) -> None:
        self.folder = folder
        self.jump, self.server = start(folder / "jump", user), start(folder / "server", user)
        self.keys = {"other": read_public(keygen(folder / "other"))}
        self.transport = SshTransport(SystemClock(), files=UserFiles(folder, ()))  # one, which keeps the jump host's
        self.way = folder / "way"
        self.way.write_text(f"[127.0.0.1]:{self.jump.port} {line(read_public(self.jump.folder / 'key'))}\n")

    def stop(self) -> None:
        self.transport.close()
        self.jump.stop()
        self.server.stop()

    def outcome(self, case: Case, policy: HostKeyPolicy, *, jump: bool) -> str:
        """What becomes of the key in this case: taken, taken and written down, or refused, with the first words why."""
        there = self.jump if jump else self.server
        keys = self.keys | {"shown": read_public(there.folder / "key")}
        name = f"[127.0.0.1]:{there.port}"
        own = self.folder / "known"
        marked = [(marker, keys[of]) for marker, _, of in (words.rpartition(" ") for words in case.lines)]
        text = "".join(f"{marker} {name} {line(key)}\n".lstrip() for marker, key in marked)
        own.write_text(text)
        pinned = keys["shown"].fingerprint if case.pinned == "fingerprint" else case.pinned
        host = Host(
            "host",
            "127.0.0.1",
            port=there.port,
            host_key=policy,
            known_hosts=str(own),
            via=None if jump else Host("jump", "127.0.0.1", port=self.jump.port, known_hosts=str(self.way)),
            pinned=line(keys[pinned]) if pinned in keys else pinned,
            published=tuple(keys[word] for word in case.published),
        )
        try:
            self.transport.run(host, Command(("true",)), soon())
            return "taken" if own.read_text() == text else "taken and written down"
        except HostKeyError as error:
            assert own.read_text() == text
            return f"refused: {reason(error)}"
        finally:
            self.transport.disconnect(host)


def reason(error: HostKeyError) -> str:
    words = ("not known", "has changed", "@revoked", "not the pinned one", "not the published one")
    return next(word for word in words if word in error.what)


def read_public(private: Path) -> ServerKey:
    key = read_key(private.with_name(private.name + ".pub").read_text())
    assert key is not None
    return key


def line(key: ServerKey) -> str:
    return f"{key.type} {key.base64}"


@pytest.fixture
def place(tmp_path: Path, user_key: Path) -> Iterator[Place]:
    place = Place(tmp_path, user_key)
    yield place
    place.stop()


def row(place: Place, case: Case) -> str:
    mere = not (case.pinned or case.published)  # neither can be said of a jump host
    jumps = [place.outcome(case, policy, jump=True) if mere else "–" for policy in POLICIES[:2]]
    servers = [place.outcome(case, policy, jump=False) for policy in POLICIES]
    return f"| {' | '.join([case.title, *jumps, *servers])} |\n"


def test_the_page_shows_what_becomes_of_each_key(place: Place) -> None:
    made = "".join(row(place, case) for case in CASES)
    assert HEAD + made in PAGE.read_text(encoding="utf-8"), made


def test_a_server_with_several_keys_shows_the_one_that_is_known(place: Place, tmp_path: Path, user_key: Path) -> None:
    rsa = keygen(tmp_path / "rsa", "-t", "rsa", "-b", "2048", "-N", "")
    both: Sshd = start(tmp_path / "both", user_key, f"HostKey {rsa}")
    host = Host("both", "127.0.0.1", port=both.port, known_hosts=str(tmp_path / "none"))
    transport = SshTransport(SystemClock(), files=UserFiles(tmp_path, ()))
    try:
        for told in (replace(host, published=(read_public(rsa),)), replace(host, pinned=line(read_public(rsa)))):
            assert transport.run(told, Command(("true",)), soon()).ok
            assert transport.server_key(told) == read_public(rsa)
    finally:
        transport.close()
        both.stop()

"""What becomes of a host key in each situation, against OpenSSH's sshd: the table of docs/host-keys.md."""

from __future__ import annotations

import shutil
import subprocess
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
    """One row: what stands in known_hosts (`shown`: the key that the host shows, `other`: one that it does not, `ca`:
    an authority's), what the inventory pins, what is published, and the one of CERTIFICATES in which the key is shown.
    """

    title: str
    lines: tuple[str, ...] = ()
    pinned: str = ""
    published: tuple[str, ...] = ()
    certificate: str = ""


TRUSTED = "@cert-authority ca"
CERTIFICATES = {
    "good": ("-n", "anvil,127.0.0.1", "-V", "-1d:+1d"),
    "a pattern": ("-n", "127.0.0.*", "-V", "-1d:+1d"),
    "for ever": ("-n", "127.0.0.1"),
    "elsewhere": ("-n", "anvil.example.org", "-V", "-1d:+1d"),
    "expired": ("-n", "127.0.0.1", "-V", "-2d:-1d"),
}
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
    Case("an authority of known_hosts has certified its key", (TRUSTED,), certificate="good"),
    Case("certified, without an end", (TRUSTED,), certificate="for ever"),
    Case("certified, known_hosts has another key", (TRUSTED, "other"), certificate="good"),
    Case("certified, another key is published", (TRUSTED,), published=("other",), certificate="good"),
    Case("certified, another key is pinned", (TRUSTED,), pinned="other", certificate="good"),
    Case("certified by an authority that is revoked", (TRUSTED, "@revoked ca"), certificate="good"),
    Case("certified by another authority", ("@cert-authority other",), certificate="good"),
    Case("certified for another host", (TRUSTED,), certificate="elsewhere"),
    Case("certified for a pattern", (TRUSTED,), certificate="a pattern"),
    Case("certified until yesterday", (TRUSTED,), certificate="expired"),
    Case("an authority stands in known_hosts, and the host shows no certificate", (TRUSTED,)),
)


class Place:
    """A jump host and a server behind it."""

    def __init__(self, folder: Path, user: Path) -> None:
        self.folder = folder
        self.jump, self.server = start(folder / "jump", user), start(folder / "server", user)
        self.keys = {name: read_public(keygen(folder / name)) for name in ("other", "ca")}
        self._user, self._certified = user, dict[str, Sshd]()
        self.transport = SshTransport(SystemClock(), files=UserFiles(folder, ()))  # one, which keeps the jump host's
        self.way = folder / "way"
        self.way.write_text(f"[127.0.0.1]:{self.jump.port} {line(read_public(self.jump.folder / 'key'))}\n")

    def stop(self) -> None:
        self.transport.close()
        for server in (self.jump, self.server, *self._certified.values()):
            server.stop()

    def showing(self, certificate: str) -> Sshd:
        """A server whose key the authority has certified."""
        if certificate not in self._certified:
            there = self.folder / f"certified-{len(self._certified)}"
            there.mkdir()
            self._certified[certificate] = certified(there, self.folder / "ca", self._user, *CERTIFICATES[certificate])
        return self._certified[certificate]

    def known(self, case: Case, there: Sshd) -> str:
        """The text of known_hosts."""
        keys = self.keys | {"shown": read_public(there.folder / "key")}
        marked = [(marker, keys[of]) for marker, _, of in (words.rpartition(" ") for words in case.lines)]
        return "".join(f"{marker} [127.0.0.1]:{there.port} {line(key)}\n".lstrip() for marker, key in marked)

    def outcome(self, case: Case, policy: HostKeyPolicy, *, jump: bool) -> str:
        """What becomes of the key in this case: taken, taken and written down, or refused, with the first words why."""
        there = self.showing(case.certificate) if case.certificate else self.jump if jump else self.server
        keys = self.keys | {"shown": read_public(there.folder / "key")}
        own = self.folder / "known"
        text = self.known(case, there)
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


def certified(folder: Path, authority: Path, user: Path, *options: str) -> Sshd:
    """A server whose key `authority` has certified."""
    key = folder / "key"
    if not key.exists():
        keygen(key)
    words = ["-s", str(authority), "-I", "anvil", "-h", *options, str(key.with_suffix(".pub"))]
    subprocess.run(["ssh-keygen", "-q", *words], check=True)
    return start(folder, user, f"HostCertificate {folder / 'key-cert.pub'}")


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


def test_ssh_itself_takes_and_refuses_the_same(place: Place, tmp_path: Path) -> None:
    plain = [case for case in CASES if not (case.pinned or case.published)]
    for case in plain:
        there = place.showing(case.certificate) if case.certificate else place.jump
        ours = place.outcome(case, HostKeyPolicy.YES, jump=True)
        (tmp_path / "theirs").write_text(place.known(case, there))
        files = (f"UserKnownHostsFile={tmp_path / 'theirs'}", "GlobalKnownHostsFile=/dev/null")
        identity = f"IdentityFile={tmp_path / '.ssh/id_ed25519'}"
        settings = (*files, "StrictHostKeyChecking=yes", "BatchMode=yes", "UpdateHostKeys=no", identity)
        options = [word for each in settings for word in ("-o", each)]
        words = ["ssh", "-F", "none", *options, "-p", str(there.port), "127.0.0.1", "true"]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert (done.returncode == 0) == (ours == "taken"), (case.title, ours, done.stderr)


@pytest.mark.parametrize("authority", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_each_type_of_key_and_of_authority(
    place: Place, tmp_path: Path, user_key: Path, kind: str, authority: str
) -> None:
    keygen(tmp_path / "authority", "-t", authority, "-N", "")
    there = tmp_path / "typed"
    there.mkdir()
    keygen(there / "key", "-t", kind, "-N", "")
    server = certified(there, tmp_path / "authority", user_key, "-n", "127.0.0.1")
    try:
        known = tmp_path / "known"
        known.write_text(f"@cert-authority 127.0.0.1 {line(read_public(tmp_path / 'authority'))}\n")
        host = Host("host", "127.0.0.1", port=server.port, known_hosts=str(known))
        assert place.transport.run(host, Command(("echo", "in")), soon()).stdout == "in\n"
    finally:
        server.stop()

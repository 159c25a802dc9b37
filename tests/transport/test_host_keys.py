"""Host keys: what is accepted, what is refused and how it is said, and what is written."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from metalfoundry.commands.command import Command
from metalfoundry.model.errors import HostKeyError, TransportError
from metalfoundry.model.host_keys import server_key
from metalfoundry.model.hosts import HostKeyPolicy, ServerKey
from metalfoundry.model.inventory_reader import of
from metalfoundry.transport.host_keys import HostCertificate, HostKeys, host_name, names_match, parse
from metalfoundry.transport.known_hosts import record
from metalfoundry.transport.ssh import SshTransport
from tests.transport.servers import Server, World, public, soon

Connect = Callable[..., SshTransport]
TRUE = Command(("true",))


def new_key(algorithm: str = "ssh-ed25519") -> asyncssh.SSHKey:
    return asyncssh.generate_private_key(algorithm)


def as_server_key(key: asyncssh.SSHKey) -> ServerKey:
    return server_key(*public(key).split())


@pytest.mark.parametrize("policy", [HostKeyPolicy.YES, HostKeyPolicy.ACCEPT_NEW])
def test_a_changed_key_is_refused_with_file_line_and_both_fingerprints(
    world: World, connect: Connect, policy: HostKeyPolicy
) -> None:
    server = world.server(known=False)
    old = new_key()
    world.known_hosts.write_text(f"# mine\nother ssh-ed25519 AAAA\n[127.0.0.1]:{server.port} {public(old)}\n")
    with pytest.raises(HostKeyError) as caught:
        connect().run(world.host(server, policy), TRUE, soon())
    error = caught.value
    assert error.where == f"{world.known_hosts}:3"
    assert old.get_fingerprint() in error.what and server.key.get_fingerprint() in error.what
    assert f"ssh-keygen -R '[127.0.0.1]:{server.port}' -f {world.known_hosts}" in error.next
    assert server.commands == []


def test_an_unknown_key_is_refused_with_the_way_to_look_at_it(world: World, connect: Connect) -> None:
    server = world.server(known=False)
    with pytest.raises(HostKeyError) as caught:
        connect().run(world.host(server), TRUE, soon())
    assert server.key.get_fingerprint() in caught.value.what
    assert str(world.known_hosts) in caught.value.where
    assert f"ssh-keyscan -p {server.port} 127.0.0.1" in caught.value.next
    assert f"ssh-keygen -F '[127.0.0.1]:{server.port}'" in caught.value.next
    assert not world.known_hosts.exists()


def test_accept_new_writes_an_unknown_key_once_and_holds_to_it(world: World, connect: Connect) -> None:
    server = world.server(known=False)
    host = world.host(server, HostKeyPolicy.ACCEPT_NEW)
    connect().run(host, TRUE, soon())
    assert world.known_hosts.read_text() == f"[127.0.0.1]:{server.port} {public(server.key)}\n"
    assert world.known_hosts.stat().st_mode & 0o777 == 0o600
    connect().run(replace(host, host_key=HostKeyPolicy.YES), TRUE, soon())
    assert len(world.known_hosts.read_text().splitlines()) == 1


def test_accept_new_goes_on_when_it_cannot_write(
    world: World, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    host = replace(world.host(world.server(known=False), HostKeyPolicy.ACCEPT_NEW), known_hosts="/proc/known_hosts")
    assert connect().run(host, TRUE, soon()).ok
    assert "could not be added to /proc/known_hosts" in caplog.text


def test_accept_new_keeps_the_last_line_of_a_file_without_newline(world: World, connect: Connect) -> None:
    world.known_hosts.write_text("other ssh-ed25519 AAAA")
    connect().run(world.host(world.server(known=False), HostKeyPolicy.ACCEPT_NEW), TRUE, soon())
    lines = world.known_hosts.read_text().splitlines()
    assert (len(lines), lines[0]) == (2, "other ssh-ed25519 AAAA")


def test_learn_takes_any_key_reports_it_and_writes_nothing(world: World, connect: Connect) -> None:
    server = world.server(known=False)
    world.known_hosts.write_text(f"[127.0.0.1]:{server.port} {public(new_key())}\n")
    before = world.known_hosts.read_text()
    transport, host = connect(), world.host(server, HostKeyPolicy.LEARN)
    assert transport.server_key(host) is None
    transport.run(host, TRUE, soon())
    assert transport.server_key(host) == as_server_key(server.key)
    assert world.known_hosts.read_text() == before


def test_a_learned_connection_is_not_lent_to_a_host_that_checks(world: World, connect: Connect) -> None:
    server = world.server(known=False)
    transport = connect()
    transport.run(world.host(server, HostKeyPolicy.LEARN), TRUE, soon())
    with pytest.raises(HostKeyError):
        transport.run(world.host(server), TRUE, soon())


def test_after_a_reinstall_the_new_key_is_refused_until_it_is_recorded(world: World, connect: Connect) -> None:
    server = world.server()
    transport, host = connect(), world.host(server)
    transport.run(host, TRUE, soon())
    transport.disconnect(host)
    server.restart(new_key())
    with pytest.raises(HostKeyError, match="has changed"):
        transport.run(host, TRUE, soon())
    record(world.known_hosts, "127.0.0.1", server.port, as_server_key(server.key))
    assert transport.run(host, TRUE, soon()).ok


def test_both_hops_are_checked(world: World, connect: Connect) -> None:
    jump, target = world.server(), world.server(known=False)
    with pytest.raises(HostKeyError, match=f"host-{target.port}"):
        connect().run(world.host(target, via=world.host(jump)), TRUE, soon())
    world.known_hosts.write_text(f"[127.0.0.1]:{target.port} {public(target.key)}\n")
    with pytest.raises(HostKeyError, match=f"host-{jump.port}"):
        connect().run(world.host(target, via=world.host(jump)), TRUE, soon())
    assert target.commands == []


def two_keys(world: World) -> tuple[Server, asyncssh.SSHKey]:
    """A server with an ed25519 and an rsa key, the latter returned."""
    server, rsa = world.server(known=False), new_key("ssh-rsa")
    server.more_keys = [rsa]
    server.restart()
    return server, rsa


def test_the_server_is_asked_for_the_key_we_know(world: World, connect: Connect) -> None:
    server, rsa = two_keys(world)
    world.known_hosts.write_text(f"[127.0.0.1]:{server.port} {public(rsa)}\n")
    transport, host = connect(), world.host(server)
    transport.run(host, TRUE, soon())
    assert transport.server_key(host) == as_server_key(rsa)


@pytest.mark.parametrize("policy", list(HostKeyPolicy))
def test_a_revoked_key_is_refused_under_every_policy(world: World, connect: Connect, policy: HostKeyPolicy) -> None:
    server = world.server()
    with world.known_hosts.open("a") as file:
        file.write(f"@revoked * {public(server.key)}\n")
    with pytest.raises(HostKeyError, match="@revoked") as caught:
        connect().run(world.host(server, policy), TRUE, soon())
    assert caught.value.where == f"{world.known_hosts}:2"


def test_a_host_without_a_certificate_is_told_who_could_have_made_one(world: World, connect: Connect) -> None:
    server = world.server(known=False)
    world.known_hosts.write_text(f"@cert-authority * {public(new_key())}\n")
    with pytest.raises(HostKeyError, match=r":1 names a @cert-authority for it"):
        connect().run(world.host(server), TRUE, soon())


def test_a_line_without_the_port_counts_when_its_key_is_the_same(world: World, connect: Connect) -> None:
    server = world.server(known=False)
    world.known_hosts.write_text(f"127.0.0.1 {public(server.key)}\n")
    assert connect().run(world.host(server), TRUE, soon()).ok
    world.known_hosts.write_text(f"127.0.0.1 {public(new_key())}\n")
    with pytest.raises(HostKeyError, match="not known"):
        connect().run(world.host(server), TRUE, soon())


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen here")
def test_names_hashed_by_ssh_keygen_are_found(world: World, connect: Connect) -> None:
    server = world.server()
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", world.known_hosts], check=True, capture_output=True)
    assert world.known_hosts.read_text().startswith("|1|")
    assert connect().run(world.host(server), TRUE, soon()).ok
    new = as_server_key(new_key())
    replaced = record(world.known_hosts, "127.0.0.1", server.port, new)
    assert replaced is not None and server.key.get_fingerprint() in replaced
    assert world.known_hosts.read_text().startswith("|1|")
    found = subprocess.run(
        ["ssh-keygen", "-F", f"[127.0.0.1]:{server.port}", "-f", world.known_hosts], capture_output=True, text=True
    )
    assert new.base64 in found.stdout and public(server.key) not in found.stdout


@pytest.mark.parametrize(
    ("names", "name", "expected"),
    [
        ("host", "host", True),
        ("HOST", "host", True),
        ("other,host", "host", True),
        ("host", "[host]:2222", False),
        ("[host]:2222", "[host]:2222", True),
        ("[host]:222?", "[host]:2222", True),
        ("*.example.org", "a.example.org", True),
        ("*.example.org,!b.example.org", "b.example.org", False),
        ("!b.example.org,*.example.org", "b.example.org", False),
        ("h.st", "host", False),
        ("|1|not base64|x", "host", False),
        ("|1|", "host", False),
    ],
)
def test_names_match_as_in_openssh(names: str, name: str, expected: bool) -> None:
    assert names_match(names, name) is expected


def test_broken_lines_are_skipped_and_lines_keep_their_numbers() -> None:
    entries = parse("\n# no\nhost ssh-rsa\n@revoked x ssh-rsa AAAA note\nhost ssh-ed25519 BBBB\n", Path("f"))
    assert [(entry.where, entry.marker, entry.names) for entry in entries] == [
        ("f:4", "@revoked", "x"),
        ("f:5", "", "host"),
    ]


def test_record_replaces_every_old_key_of_the_host_and_nothing_else(tmp_path: Path) -> None:
    file, key = tmp_path / "known_hosts", as_server_key(new_key())
    old = [public(new_key()), public(new_key("ecdsa-sha2-nistp256"))]
    keep = f"# note\n@revoked * {public(new_key())}\nother ssh-ed25519 AAAA\n*.org {old[0]}\n[a.org]:2222 {old[0]}"
    file.write_text(f"a.org {old[0]} comment\nB,a.org,c {old[1]}\n{keep}")
    file.chmod(0o640)
    replaced = record(file, "a.org", 22, key)
    assert file.read_text() == f"B,c {old[1]}\n{keep}\na.org {key.type} {key.base64}\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert replaced is not None and f"{file}:1" in replaced and f"{file}:2" in replaced
    assert [path.name for path in tmp_path.iterdir()] == ["known_hosts"]


def test_record_of_a_known_key_changes_nothing_and_of_a_new_host_adds_it(tmp_path: Path) -> None:
    file, key = tmp_path / "deep" / "known_hosts", as_server_key(new_key())
    assert record(file, "a", 2222, key) is None
    assert file.read_text() == f"{host_name('a', 2222)} {key.type} {key.base64}\n"
    before = file.stat()
    assert record(file, "a", 2222, key) is None
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_record_goes_through_a_symlink(tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles", tmp_path / "known_hosts"
    real.write_text("other ssh-ed25519 AAAA\n")
    link.symlink_to(real)
    record(link, "a", 22, as_server_key(new_key()))
    assert link.is_symlink() and len(real.read_text().splitlines()) == 2


def test_many_threads_record_without_losing_a_line(tmp_path: Path) -> None:
    file, key = tmp_path / "known_hosts", as_server_key(new_key())
    threads = [threading.Thread(target=record, args=(file, f"host{n}", 22, key)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(line.split()[0] for line in file.read_text().splitlines()) == sorted(f"host{n}" for n in range(20))


def test_record_never_replaces_a_device(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="not a regular file"):
        record(Path("/dev/null"), "a", 22, as_server_key(new_key()))
    assert Path("/dev/null").is_char_device()


def test_record_that_cannot_write_gives_the_line_to_add() -> None:
    key = as_server_key(new_key())
    with pytest.raises(TransportError) as caught:
        record(Path("/proc/nowhere/known_hosts"), "a", 22, key)
    assert f"a {key.type} {key.base64}" in caught.value.next


def checked(tmp_path: Path, key: ServerKey, policy: HostKeyPolicy, lines: str = "", **told: Any) -> str:
    """What becomes of `key`: "" where it is taken, else the refusal."""
    file = tmp_path / "known_hosts"
    file.write_text(lines)
    try:
        HostKeys("anvil", "192.0.2.87", "192.0.2.87", 22, [file], **told).check(key, policy, lambda key: None)
    except HostKeyError as error:
        return error.what
    return ""


@pytest.mark.parametrize("policy", HostKeyPolicy)
def test_a_pinned_key_is_the_only_one_whatever_the_policy(tmp_path: Path, policy: HostKeyPolicy) -> None:
    own, other = as_server_key(new_key()), as_server_key(new_key())
    known = f"192.0.2.87 {own.type} {own.base64}\n"
    for pin in (f"{other.type} {other.base64}", other.fingerprint):
        assert "not the pinned one" in checked(tmp_path, own, policy, known, pinned=pin)
        assert not checked(tmp_path, other, policy, known, pinned=pin)
        assert "@revoked" in checked(tmp_path, other, policy, f"@revoked * {other.type} {other.base64}\n", pinned=pin)


@pytest.mark.parametrize("policy", (HostKeyPolicy.YES, HostKeyPolicy.ACCEPT_NEW))
def test_a_published_key_overrides_no_line_of_known_hosts(tmp_path: Path, policy: HostKeyPolicy) -> None:
    own, other = as_server_key(new_key()), as_server_key(new_key())
    assert not checked(tmp_path, own, policy, published=(other, own))
    changed = checked(tmp_path, own, policy, f"192.0.2.87 {other.type} {other.base64}\n", published=(own,))
    assert "has changed" in changed and "as its Hardware publishes it" in changed
    assert "@revoked" in checked(tmp_path, own, policy, f"@revoked * {own.type} {own.base64}\n", published=(own,))
    assert "not the published one" in checked(tmp_path, own, policy, published=(other,))


def test_a_jump_host_is_never_known_by_what_a_hardware_publishes() -> None:
    """Nor is what stands before a server whose key is asked for: its way has a policy of its own."""
    key = as_server_key(new_key())
    inventory = of({"site": {"jump": {"host": "192.0.2.10"}}, "servers": {"anvil": {"address": "192.0.2.87"}}})
    host = replace(inventory.server("anvil").host(inventory.site), published=(key,), pinned=key.fingerprint)
    for one in (host, host.anybody):
        assert one.via is not None and (one.via.published, one.via.pinned) == ((), "")
        assert one.via.host_key is HostKeyPolicy.YES


def not_written(key: ServerKey) -> None:
    raise AssertionError(f"{key} is not to be written")


CERTIFICATES = {
    "": HostCertificate("AUTHORITY"),
    "another authority has signed it": HostCertificate("OTHER"),
    "it was valid until yesterday": HostCertificate("AUTHORITY", "it was valid until yesterday"),
    "its signature is wrong": HostCertificate("", "its signature is wrong"),
}


@pytest.mark.parametrize("doubt", CERTIFICATES)
def test_a_certificate_counts_where_its_authority_is_trusted_and_nothing_is_wrong_with_it(
    tmp_path: Path, doubt: str
) -> None:
    file = tmp_path / "known_hosts"
    file.write_text("@cert-authority anvil ssh-ed25519 AUTHORITY\n")
    keys = HostKeys("anvil", "anvil", "anvil", 22, [file])
    shown = server_key("ssh-ed25519", "AAAA")
    if not doubt:
        keys.check(shown, HostKeyPolicy.YES, not_written, CERTIFICATES[doubt])
        return
    with pytest.raises(HostKeyError, match=f"its certificate does not count: {doubt}"):
        keys.check(shown, HostKeyPolicy.YES, not_written, CERTIFICATES[doubt])


def test_a_certificate_of_a_revoked_authority_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text("@cert-authority anvil ssh-ed25519 AUTHORITY\n@revoked anvil ssh-ed25519 AUTHORITY\n")
    keys = HostKeys("anvil", "anvil", "anvil", 22, [file])
    with pytest.raises(HostKeyError, match="@revoked"):
        keys.check(server_key("ssh-ed25519", "AAAA"), HostKeyPolicy.YES, not_written, HostCertificate("AUTHORITY"))

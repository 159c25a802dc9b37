"""The transport against OpenSSH's sshd: what asyncssh cannot vouch for."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import paramiko
import pytest
from paramiko.common import MSG_CHANNEL_DATA

from metalfoundry.commands.command import Command
from metalfoundry.model.errors import AuthError, ConnectError, HostKeyError, LinkLost
from metalfoundry.model.hosts import Host, HostKeyPolicy
from metalfoundry.transport.clock import Deadline, SystemClock
from metalfoundry.transport.known_hosts import record
from metalfoundry.transport.orderly import OrderlyTransport
from metalfoundry.transport.ssh import SshTransport
from metalfoundry.transport.ssh_options import UserFiles
from tests.transport.servers import is_running
from tests.waiting import until

SSHD = shutil.which("sshd", path=f"{os.defpath}:/usr/sbin:/usr/local/sbin")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(SSHD is None, reason="no OpenSSH sshd here"),
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen here"),
]
TRUE = Command(("true",))


@dataclass
class Sshd:
    """A server of its own, with stock limits, for the user who runs the tests."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def keygen(path: Path, *options: str) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-f", path, *(options or ("-t", "ed25519", "-N", ""))], check=True)
    return path


def start(folder: Path, key: Path, *options: str, port: int = 0) -> Sshd:
    """sshd needs its port beforehand; a free one is taken from a socket."""
    if not port:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    folder.mkdir(exist_ok=True)
    words = {
        "Port": port, "ListenAddress": "127.0.0.1", "PidFile": "none", "UsePAM": "no", "StrictModes": "no",
        "HostKey": folder / "key", "AuthorizedKeysFile": key.with_suffix(".pub"), "PermitRootLogin": "yes",
    }  # fmt: skip
    lines = [f"{word} {value}" for word, value in words.items()]
    (folder / "config").write_text("\n".join([*options, *lines]) + "\n")
    if not (folder / "key").exists():
        keygen(folder / "key")
    Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen([str(SSHD), "-D", "-f", folder / "config", "-E", folder / "log"])
    server = Sshd(folder, port, process)
    until(lambda: _listens(port), what=f"sshd does not listen: {folder / 'log'}")
    return server


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def user_key(tmp_path: Path) -> Path:
    (tmp_path / ".ssh").mkdir(mode=0o700)
    return keygen(tmp_path / ".ssh/id_ed25519")


@pytest.fixture
def sshd(tmp_path: Path, user_key: Path) -> Iterator[Sshd]:
    server = start(tmp_path / "jump", user_key, "LogLevel DEBUG2")
    yield server
    server.stop()


@pytest.fixture
def transport(tmp_path: Path) -> Iterator[SshTransport]:
    transport = SshTransport(SystemClock(), files=UserFiles(tmp_path, ()))
    yield transport
    transport.close()


def soon(seconds: float = 20.0) -> Deadline:
    return Deadline.after(SystemClock(), seconds)


def host(server: Sshd, tmp_path: Path, policy: HostKeyPolicy = HostKeyPolicy.ACCEPT_NEW) -> Host:
    known = str(tmp_path / ".ssh/known_hosts")
    return Host(server.folder.name, "127.0.0.1", port=server.port, host_key=policy, known_hosts=known)


def ended(pid: int) -> bool:
    until(lambda: not is_running(pid), what=f"process {pid} goes on")
    return True


def test_streams_status_and_big_stdin(sshd: Sshd, transport: SshTransport, tmp_path: Path) -> None:
    there = host(sshd, tmp_path)
    result = transport.run(there, Command(("sh", "-c", "cat; echo err >&2; exit 3"), stdin="ä" * 3_000_000), soon())
    assert (result.exit_status, result.stdout, result.stderr) == (3, "ä" * 3_000_000, "err\n")


def test_sixteen_commands_at_once_stay_below_the_servers_limits(
    sshd: Sshd, transport: SshTransport, tmp_path: Path
) -> None:
    there = host(sshd, tmp_path)
    with ThreadPoolExecutor(16) as pool:
        jobs = [pool.submit(transport.run, there, Command(("sleep", "0.2")), soon()) for _ in range(16)]
        assert all(job.result().ok for job in jobs)
    assert (sshd.folder / "log").read_text().count("Accepted publickey") == 1


def test_a_target_through_the_jump_and_its_recorded_key(
    sshd: Sshd, transport: SshTransport, tmp_path: Path, user_key: Path
) -> None:
    target = start(tmp_path / "target", user_key)
    learned = replace(host(target, tmp_path, HostKeyPolicy.LEARN), via=host(sshd, tmp_path))
    assert transport.run(learned, Command(("echo", "here")), soon()).stdout == "here\n"
    key = transport.server_key(learned)
    assert key is not None and key.base64 in (target.folder / "key.pub").read_text()
    strict = replace(learned, host_key=HostKeyPolicy.YES)
    with pytest.raises(HostKeyError, match="not known"):
        transport.run(strict, TRUE, soon())
    record(tmp_path / ".ssh/known_hosts", "127.0.0.1", target.port, key)
    assert transport.run(strict, TRUE, soon()).ok
    target.stop()


def test_a_changed_key_is_refused(sshd: Sshd, transport: SshTransport, tmp_path: Path, user_key: Path) -> None:
    there = host(sshd, tmp_path)
    transport.run(there, TRUE, soon())
    transport.disconnect(there)
    sshd.stop()
    (sshd.folder / "key").unlink()
    again = start(sshd.folder, user_key, port=sshd.port)
    with pytest.raises(HostKeyError, match="has changed") as caught:
        transport.run(there, TRUE, soon())
    assert caught.value.where == f"{tmp_path}/.ssh/known_hosts:1"
    again.stop()


def test_a_followed_command_dies_with_its_connection(sshd: Sshd, transport: SshTransport, tmp_path: Path) -> None:
    there = host(sshd, tmp_path)
    stream = transport.follow(there, Command(("sh", "-c", "echo $$; sleep 60 & echo $!; wait")), soon())
    lines = filter(None, stream)  # a tick of silence is no line
    pids = [int(next(lines)), int(next(lines))]
    transport.disconnect(there)
    assert all(ended(pid) for pid in pids)
    with pytest.raises(LinkLost):
        next(stream)


def test_a_followed_command_that_ends_ends_the_stream(sshd: Sshd, transport: SshTransport, tmp_path: Path) -> None:
    stream = transport.follow(host(sshd, tmp_path), Command(("sh", "-s"), stdin="echo one; echo two"), soon())
    assert [line for line in stream if line is not None] == ["one", "two"]


def test_a_session_limit_lower_than_ours_delays_but_does_not_fail(
    transport: SshTransport, tmp_path: Path, user_key: Path
) -> None:
    narrow = start(tmp_path / "narrow", user_key, "MaxSessions 2")
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(transport.run, host(narrow, tmp_path), Command(("sleep", "0.2")), soon()) for _ in range(4)]
        assert all(job.result().ok for job in jobs)
    narrow.stop()


def test_a_jump_that_forbids_forwarding_is_named(transport: SshTransport, tmp_path: Path, user_key: Path) -> None:
    jump = start(tmp_path / "closed", user_key, "AllowTcpForwarding no")
    target = Host("target", "127.0.0.1", port=1, via=host(jump, tmp_path))
    with pytest.raises(ConnectError, match="closed does not let us forward"):
        transport.run(target, TRUE, soon())
    jump.stop()


def test_a_refused_key_is_named(sshd: Sshd, transport: SshTransport, tmp_path: Path) -> None:
    other = keygen(tmp_path / "other")
    with pytest.raises(AuthError, match=f"offered: {other}"):
        transport.run(replace(host(sshd, tmp_path), identity=str(other)), TRUE, soon())


@pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="no ssh-agent here")
def test_an_encrypted_key_is_used_through_the_agent(sshd: Sshd, tmp_path: Path, user_key: Path) -> None:
    path = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    until(path.exists)
    subprocess.run(["ssh-add", "-q", user_key], env={**os.environ, "SSH_AUTH_SOCK": str(path)}, check=True)
    subprocess.run(["ssh-keygen", "-q", "-p", "-f", user_key, "-P", "", "-N", "secret"], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    there = replace(host(sshd, tmp_path), identity=str(user_key))
    for socket_path, works in ((str(path), True), (None, False)):
        transport = SshTransport(SystemClock(), files=UserFiles(tmp_path, (), agent=socket_path))
        if works:
            assert transport.run(there, TRUE, soon()).ok
        else:
            with pytest.raises(AuthError) as caught:
                transport.run(there, TRUE, soon())
            assert caught.value.next == f"ssh-add {user_key}"
        transport.close()
    agent.terminate()
    agent.wait(60)


def certify(key: Path, authority: Path, span: str) -> None:
    words = ["-s", str(authority), "-I", "kevin", "-n", getpass.getuser(), "-V", span, str(key.with_suffix(".pub"))]
    subprocess.run(["ssh-keygen", "-q", *words], check=True)


@pytest.mark.parametrize("through", ["file", "agent"])
def test_a_user_s_certificate_lets_in(tmp_path: Path, user_key: Path, through: str) -> None:
    authority = keygen(tmp_path / "authority")
    certify(user_key, authority, "-1d:+1d")
    other = keygen(tmp_path / "other")
    server = start(tmp_path / "jump", other, f"TrustedUserCAKeys {authority}.pub")
    path = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    until(path.exists)
    if through == "agent":
        subprocess.run(["ssh-add", "-q", user_key], env={**os.environ, "SSH_AUTH_SOCK": str(path)}, check=True)
        for each in user_key.parent.iterdir():
            each.unlink()
    files = UserFiles(tmp_path, (), agent=str(path) if through == "agent" else None)
    try:
        with contextlib.closing(SshTransport(SystemClock(), files=files)) as transport:
            assert transport.run(host(server, tmp_path), TRUE, soon()).ok
    finally:
        agent.terminate()
        agent.wait(60)
        server.stop()


def test_a_key_whose_certificate_is_out_of_date_is_offered_without_it(
    sshd: Sshd, transport: SshTransport, tmp_path: Path, user_key: Path
) -> None:
    certify(user_key, keygen(tmp_path / "authority"), "-2d:-1d")
    assert transport.run(host(sshd, tmp_path), TRUE, soon()).ok


@pytest.mark.parametrize("kind", [paramiko.Transport, OrderlyTransport])
def test_what_a_closed_channel_says_ends_the_connection_unless_it_is_held_back(
    sshd: Sshd, user_key: Path, kind: type[paramiko.Transport]
) -> None:
    """As a thread does that has made its packet before another one closed the channel."""
    with (
        contextlib.closing(kind(("127.0.0.1", sshd.port))) as client,
        socket.create_server(("127.0.0.1", 0)) as machine,
    ):
        client.connect(username=getpass.getuser(), pkey=paramiko.Ed25519Key.from_private_key_file(str(user_key)))
        way = client.open_channel("direct-tcpip", machine.getsockname(), ("127.0.0.1", 0))
        late = paramiko.Message()
        late.add_byte(bytes([MSG_CHANNEL_DATA]))
        late.add_int(way.remote_chanid)
        late.add_string(b"late")
        machine.accept()[0].close()
        assert way.recv(1) == b""
        way.close()
        until(lambda: "free: direct-tcpip" in (sshd.folder / "log").read_text(), what="sshd has forgotten the channel")
        client._send_user_message(late)  # type: ignore[attr-defined]
        if kind is paramiko.Transport:
            with pytest.raises((paramiko.SSHException, EOFError)):
                client.open_session(timeout=60)
            assert "nonexistent channel" in (sshd.folder / "log").read_text()
        else:
            client.open_session(timeout=60).close()

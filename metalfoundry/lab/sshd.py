"""A real OpenSSH sshd as the lab's jump host: own config, loopback, stock limits."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import asyncssh

from metalfoundry.lab.loop import LoopThread
from metalfoundry.lab.pace import LabError
from metalfoundry.lab.wire import Wire

T = TypeVar("T")
_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/ssh_host_ed25519_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/sshd.pid
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding yes
LogLevel VERBOSE
SetEnv {env}
"""


class SshdJump:
    """As hosts.JumpHost, with OpenSSH behind it; what was run is not logged here, `wire` and its faults are alike."""

    def __init__(self, loop: LoopThread, home: Path, env: Mapping[str, str], client: asyncssh.SSHKey) -> None:
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._loop = loop
        self._folder = home.parent / "sshd"
        self._env = env
        self._client = client
        self._sshd: subprocess.Popen[bytes] | None = None
        self.wire = Wire(("127.0.0.1", 0))

    def start(self) -> None:
        """Start sshd and wait until it answers; raises LabError with its log."""
        program = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        if program is None:
            raise LabError("no sshd on this computer: install OpenSSH's server, or use the embedded jump host")
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, parents=True, exist_ok=True)  # its privilege separation asks for it
        port = _free_port()
        self._write(port)
        log = (self._folder / "log").open("wb")
        with log:
            words = [program, "-D", "-e", "-f", str(self._folder / "sshd_config")]
            self._sshd = subprocess.Popen(words, stderr=log, stdout=log, stdin=subprocess.DEVNULL)
        self._await(port)
        self.wire = Wire(("127.0.0.1", port))
        self._loop.call(self.wire.open())

    def stop(self) -> None:
        """End sshd and its connections; commands that live on are the lab's to end."""
        self._loop.call(self.wire.close())
        if self._sshd is not None:
            self._sshd.terminate()
            self._sshd.wait(5)

    @property
    def port(self) -> int:
        """Where it is reached."""
        return self.wire.port

    @property
    def log(self) -> list[str]:
        """sshd's own log."""
        return (self._folder / "log").read_text(errors="replace").splitlines()

    def cut_links(self) -> int:
        """Cut every connection; commands live on. Returns how many there were."""
        return self._loop.call(_soon(self.wire.cut))

    def freeze(self) -> None:
        """From now on, silence on every connection, and on new ones."""
        self._loop.call(_soon(self.wire.freeze))

    def thaw(self) -> None:
        """The end of the silence."""
        self._loop.call(_soon(self.wire.thaw))

    @property
    def delay(self) -> float:
        """Seconds that the way to it takes, in each direction."""
        return self.wire.delay

    @delay.setter
    def delay(self, seconds: float) -> None:
        self.wire.delay = seconds

    def _write(self, port: int) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        key = self._folder / "ssh_host_ed25519_key"
        key.touch(0o600)
        key.write_bytes(self.host_key.export_private_key())
        (self._folder / "authorized_keys").write_bytes(self._client.export_public_key())
        env = " ".join(f'"{name}={value}"' for name, value in self._env.items())
        text = _CONFIG.format(port=port, folder=self._folder, env=env)
        (self._folder / "sshd_config").write_text(text)

    def _await(self, port: int) -> None:
        ends = time.monotonic() + 10
        while time.monotonic() < ends and self._sshd is not None and self._sshd.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.02)
        raise LabError("sshd did not come up:\n" + "\n".join(self.log[-5:]))


async def _soon(action: Callable[[], T]) -> T:
    await asyncio.sleep(0)
    return action()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

"""A real OpenSSH sshd as the lab's jump host: own config, loopback, stock limits."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from metalfoundry.lab.clock import LabError
from metalfoundry.lab.ssh.server import Jump

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
LogLevel {level}
SetEnv {env}
{limits}"""


class SshdJump(Jump):
    """A jump host with OpenSSH behind it; `limits` are more lines of its config, `level` how much its log tells."""

    limits = ""
    level = "VERBOSE"
    _sshd: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """End sshd and its connections; commands that live on are the lab's to end."""
        super().stop()
        if self._sshd is not None:
            self._sshd.terminate()
            self._sshd.wait(5)

    @property
    def _folder(self) -> Path:
        return self._home.parent / "sshd"

    def _listen(self) -> int:
        """Start sshd and wait until it answers; raises LabError with its log."""
        program = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        if program is None:
            raise LabError("no sshd on this computer: install OpenSSH's server")
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, parents=True, exist_ok=True)  # its privilege separation asks for it
        port = _free_port()
        self._write(port)
        words = [program, "-D", "-e", "-f", str(self._folder / "sshd_config")]
        with (self._folder / "log").open("wb") as log:
            self._sshd = subprocess.Popen(words, stderr=log, stdout=log, stdin=subprocess.DEVNULL)
        self._await(port)
        return port

    def _write(self, port: int) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        key = self._folder / "ssh_host_ed25519_key"
        key.touch(0o600)
        key.write_bytes(self.host_key.export_private_key())
        (self._folder / "authorized_keys").write_bytes(self._client.export_public_key())
        env = " ".join(f'"{name}={value}"' for name, value in self.environment.items())
        text = _CONFIG.format(port=port, folder=self._folder, env=env, limits=self.limits, level=self.level)
        (self._folder / "sshd_config").write_text(text)

    def _await(self, port: int) -> None:
        ends = time.monotonic() + 10
        while time.monotonic() < ends and self._sshd is not None and self._sshd.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.02)
        raise LabError(
            "sshd did not come up:\n" + "\n".join((self._folder / "log").read_text(errors="replace").splitlines()[-5:])
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

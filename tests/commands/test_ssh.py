"""What the jump host is asked about a machine's sshd."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from metalfoundry.commands.ssh import knock, refuses
from tests.commands.shells import folder_of


@pytest.mark.parametrize("programs", [("sh", "ssh"), ("sh", "bash")], ids=["ssh", "bash"])
def test_who_listens_is_told_from_who_refuses(tmp_path: Path, programs: tuple[str, ...]) -> None:
    path = folder_of(tmp_path / "bin", programs)
    assert shutil.which("ssh", path=str(path)) is None or "ssh" in programs
    with socket.socket() as held:  # bound and never listening
        held.bind(("127.0.0.1", 0))
        assert refuses(knocked(path, held.getsockname()[1]))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.listen()
        port = server.getsockname()[1]
        if "ssh" not in programs:  # ssh waits for a greeting
            assert not refuses(knocked(path, port))


def knocked(path: Path, port: int) -> str:
    command = knock("127.0.0.1", port)
    done = subprocess.run(
        command.argv, input=command.stdin, env={"PATH": str(path)}, capture_output=True, text=True, timeout=60
    )
    return done.stderr

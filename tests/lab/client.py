"""A plain SSH client for the lab, which knows nothing of metalfoundry's own."""

from __future__ import annotations

import asyncio
import getpass
from dataclasses import dataclass

import asyncssh

from metalfoundry.lab.lab import Lab
from tests.waiting import until

__all__ = ["Answer", "on_jump", "on_machine", "options", "until"]


@dataclass(frozen=True)
class Answer:
    """What a command left."""

    status: int
    out: str
    err: str


def on_jump(lab: Lab, line: str, stdin: str = "") -> Answer:
    """Run `line` on the jump host."""
    return asyncio.run(_run(lab, line, stdin))


def on_machine(
    lab: Lab, name: str, line: str, stdin: str = "", *, user: str = "root", check_key: bool = True
) -> Answer:
    """Run `line` on a machine, through the jump host."""
    return asyncio.run(_run(lab, line, stdin, lab.machine(name).port, user, check_key))


async def _run(
    lab: Lab, line: str, stdin: str, port: int | None = None, user: str = "root", check_key: bool = True
) -> Answer:
    jump_user = getpass.getuser()
    async with asyncssh.connect("127.0.0.1", lab.jump.port, options=options(lab, jump_user)) as jump:
        if port is None:
            return await _on(jump, line, stdin)
        async with jump.connect_ssh("127.0.0.1", port, options=options(lab, user, check_key)) as machine:
            return await _on(machine, line, stdin)


async def _on(connection: asyncssh.SSHClientConnection, line: str, stdin: str) -> Answer:
    done = await asyncio.wait_for(connection.run(line, input=stdin), 60)
    return Answer(-1 if done.exit_status is None else done.exit_status, str(done.stdout), str(done.stderr))


def options(lab: Lab, user: str, check_key: bool = True) -> asyncssh.SSHClientConnectionOptions:
    """How asyncssh.connect is to reach a host of the lab."""
    return asyncssh.SSHClientConnectionOptions(
        username=user,
        client_keys=[str(lab.folder / "id_ed25519")],
        known_hosts=str(lab.folder / "known_hosts") if check_key else None,
        config=None,
        agent_path=None,
    )

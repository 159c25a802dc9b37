"""OpenSSH's own words for the way to a host, for a person to paste."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from metalfoundry.commands.command import Command
from metalfoundry.model.hosts import Host


def words(host: Host, *, any_key: bool = False) -> tuple[str, ...]:
    """`ssh …` up to the command; none for this computer. `any_key` for HookOS, which makes a new host key at each boot.

    A jump host with an identity or a known_hosts of its own needs its own ssh: -J would not give them to it.
    """
    if host.local:
        return ()
    found = ["ssh", *_options(host, any_key)]
    if host.via is not None:
        own = _options(host.via, False)
        if own:
            found += [
                "-o",
                f"ProxyCommand={shlex.join(['ssh', *own, *_port(host.via), '-W', '%h:%p', _login(host.via)])}",
            ]
        else:
            jump = _login(host.via)
            found += ["-J", f"{jump}:{host.via.port}" if host.via.port else jump]
    return (*found, *_port(host), _login(host))


def knock(address: str, port: int | None) -> Command:
    """Have the jump host knock at a machine's sshd, without logging in: `refuses` reads what its ssh says, or its bash
    where it has no ssh."""
    options = ("BatchMode=yes", "ConnectTimeout=5", "PreferredAuthentications=none", "StrictHostKeyChecking=no",
               "UserKnownHostsFile=/dev/null")  # fmt: skip
    words = [word for option in options for word in ("-o", option)]
    ssh = shlex.join(("ssh", "-n", *words, "-p", str(port or 22), "--", address, "true"))
    bash = shlex.join(("bash", "-c", ': <>"/dev/tcp/$0/$1"', address, str(port or 22)))
    return Command(("sh", "-s"), stdin=f"export LC_ALL=C\ncommand -v ssh >/dev/null && exec {ssh}\nexec {bash}\n")


def refuses(stderr: str) -> bool:
    """Whether the machine is up, and nothing listens there."""
    return "Connection refused" in stderr


def remotely(host: Host, command: Sequence[str]) -> str:
    """A line to paste that runs `command` on `host`."""
    return shlex.join(command) if host.local else shlex.join((*words(host), shlex.join(command)))


def _options(host: Host, any_key: bool) -> list[str]:
    known = "/dev/null" if any_key else host.known_hosts
    found = ["-i", host.identity] if host.identity else []
    found += ["-o", f"UserKnownHostsFile={known}"] if known else []
    return found + (["-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"] if any_key else [])


def _port(host: Host) -> list[str]:
    return ["-p", str(host.port)] if host.port else []


def _login(host: Host) -> str:
    return f"{host.user}@{host.address}" if host.user else host.address

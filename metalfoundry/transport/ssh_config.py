"""Where a Host really is: the inventory's words first, then the user's ssh_config, then SSH's defaults.

Honoured of ssh_config: HostName, User, Port, IdentityFile, IdentitiesOnly, IdentityAgent, ProxyJump, HostKeyAlias,
UserKnownHostsFile, GlobalKnownHostsFile, Include. StrictHostKeyChecking is not: a Host always carries its own
policy, and ssh_config must not loosen it. ProxyCommand is refused by name, since no host key of ours would
be checked on its way.
"""

from __future__ import annotations

import io
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko
from fabric import Config, Connection

from metalfoundry.model.errors import ConnectError
from metalfoundry.model.hosts import Host, HostKeyPolicy, ServerKey
from metalfoundry.transport.host_keys import HostKeys, host_name
from metalfoundry.transport.known_hosts import record_as

MAX_INCLUDES = 16
_TOKEN = re.compile("%.")


@dataclass(frozen=True, slots=True)
class UserFiles:
    """What SSH looks at on this computer. `agent` is the agent's socket; None is no agent."""

    home: Path
    ssh_config: tuple[Path, ...]
    system_known_hosts: tuple[Path, ...] = ()
    agent: str | None = None

    @classmethod
    def of_this_user(cls) -> UserFiles:
        """The files that OpenSSH would read for the one who runs this."""
        home = Path.home()
        return cls(
            home=home,
            ssh_config=(home / ".ssh/config", Path("/etc/ssh/ssh_config")),
            system_known_hosts=(Path("/etc/ssh/ssh_known_hosts"), Path("/etc/ssh/ssh_known_hosts2")),
            agent=os.environ.get("SSH_AUTH_SOCK"),
        )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A Host with every question answered.

    `known_as` is its name in known_hosts, `known_hosts` the files to read, `new_keys` the one to write, if any.
    """

    host: Host
    address: str
    port: int
    user: str
    known_as: str
    known_hosts: tuple[Path, ...]
    new_keys: Path | None
    identities: tuple[Path, ...]
    identities_only: bool
    agent: str | None
    via: Host | None

    @property
    def where(self) -> str:
        """How messages say where it is."""
        way = f" via {self.via.name}" if self.via else ""
        return f"{self.user}@{self.address} port {self.port}{way}"


def resolve(host: Host, files: UserFiles) -> Endpoint:
    """The Endpoint of `host`; raises ConnectError when ssh_config cannot be used."""
    try:
        config = _parse(files)
        connection = Connection(host.address, host.user, host.port, config=Config(ssh_config=config, lazy=True),
                                gateway=False, forward_agent=False)  # fmt: skip
    except (paramiko.SSHException, ValueError, KeyError, OSError) as exc:
        raise ConnectError(
            f"{host.name}: ssh_config or the address {host.address!r} cannot be used: {exc}",
            where=", ".join(map(str, files.ssh_config)),
            next=f"ssh -G {host.address}",
        ) from exc
    options: dict[str, Any] = connection.ssh_config
    known_as = options.get("hostkeyalias", host_name(connection.host, connection.port)).lower()
    tokens = {"%h": connection.host, "%n": host.address, "%p": str(connection.port), "%r": connection.user}
    tokens |= {"%k": known_as, "%d": str(files.home), "%%": "%"}
    for key in ("userknownhostsfile", "globalknownhostsfile", "identityagent"):
        if key in options:
            options[key] = _TOKEN.sub(lambda found: tokens.get(found[0], found[0]), options[key])
    own = _own_known_hosts(host, options, files)
    only_one = host.identity is not None
    identities = [host.identity] if host.identity else options.get("identityfile", [])
    agent = options.get("identityagent", "SSH_AUTH_SOCK")
    return Endpoint(
        host=host,
        address=connection.host,
        port=connection.port,
        user=connection.user,
        known_as=known_as,
        known_hosts=(*own, *_system_known_hosts(options, files)),
        new_keys=own[0] if own else None,
        identities=tuple(_path(str(word), files) for word in identities),
        identities_only=only_one or options.get("identitiesonly", "no").lower() == "yes",
        agent=files.agent if agent == "SSH_AUTH_SOCK" else None if agent == "none" else str(_path(agent, files)),
        via=host.via or _jump(host, options),
    )


def record_key(host: Host, key: ServerKey, files: UserFiles | None = None) -> str | None:
    """As known_hosts.record, for the name and the file under which SSH looks `host` up, aliases included."""
    files = files or UserFiles.of_this_user()
    endpoint = resolve(host, files)
    return record_as(endpoint.new_keys or files.home / ".ssh/known_hosts", endpoint.known_as, key)


def is_known(host: Host, key: ServerKey, files: UserFiles | None = None) -> bool | None:
    """Whether known_hosts has `key` for `host`; None where it has none for it at all."""
    endpoint = resolve(host, files or UserFiles.of_this_user())
    keys = HostKeys(host.name, endpoint.known_as, endpoint.address, endpoint.port, endpoint.known_hosts)
    known = keys.all
    return any(entry.base64 == key.base64 for entry in known) if known else None


def _own_known_hosts(host: Host, options: dict[str, Any], files: UserFiles) -> tuple[Path, ...]:
    words = ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"]
    if host.known_hosts:
        words = [host.known_hosts]
    elif "userknownhostsfile" in options:
        words = shlex.split(options["userknownhostsfile"])
    return tuple(_path(word, files) for word in words if word != "none")


def _system_known_hosts(options: dict[str, Any], files: UserFiles) -> tuple[Path, ...]:
    if "globalknownhostsfile" not in options:
        return files.system_known_hosts
    return tuple(_path(word, files) for word in shlex.split(options["globalknownhostsfile"]) if word != "none")


def _jump(host: Host, options: dict[str, Any]) -> Host | None:
    """The hop that ssh_config asks for, checked by the Host's own policy (LEARN is never handed on)."""
    hops = options.get("proxyjump", "none")
    if hops.lower() == "none":
        if options.get("proxycommand", "none").lower() == "none":
            return None
        raise ConnectError(
            f"{host.name}: ssh_config asks for a ProxyCommand, which is not supported",
            where=host.address,
            next="write it as ProxyJump",
        )
    policy = HostKeyPolicy.YES if host.host_key is HostKeyPolicy.LEARN else host.host_key
    via: Host | None = None
    for hop in hops.split(","):
        user, _, place = hop.strip().removeprefix("ssh://").rpartition("@")
        name, _, port = place.rpartition(":") if place.rpartition(":")[2].isdigit() else (place, "", "")
        address = name.strip("[]")
        if address == host.address:  # `Host *` with a ProxyJump matches the jump host as well
            return None
        via = Host(hop.strip(), address, user or None, int(port) if port else None, host_key=policy, via=via)
    return via


def _path(word: str, files: UserFiles) -> Path:
    word = word.replace("%d", str(files.home))
    return files.home / word[2:] if word.startswith("~/") else Path(word)


def _parse(files: UserFiles) -> paramiko.SSHConfig:
    config = paramiko.SSHConfig()
    for file in files.ssh_config:
        if file.is_file():
            config.parse(io.StringIO("\n".join(_lines(file, files, 0)) + "\nHost *\n"))
    return config


def _lines(file: Path, files: UserFiles, depth: int) -> Iterator[str]:
    """The file with its Includes written out: paramiko knows none."""
    block = "Host *"
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.replace("=", " ", 1).split(None, 1)
        keyword = words[0].lower() if words else ""
        if keyword != "include":
            block = line if keyword in {"host", "match"} else block
            yield line
        elif depth < MAX_INCLUDES:
            for pattern in shlex.split(words[1]) if len(words) > 1 else ():
                for found in _found(pattern, file, files):
                    yield from _within(block, _lines(found, files, depth + 1))
            yield block  # what follows belongs to the block around the Include again


def _within(block: str, lines: Iterator[str]) -> Iterator[str]:
    """Included lines under the condition of the block around them: for other hosts OpenSSH does not read the file.

    paramiko knows no block in a block: under a condition, a `Host` line in the file other than `Host *` hides what
    follows it.
    """
    yield block
    everywhere, hidden = _condition(block) == ["host", "*"], False
    for line in lines:
        condition = _condition(line)
        if everywhere or condition[:1] not in (["host"], ["match"]):
            if not hidden:
                yield line
        else:
            hidden = condition != ["host", "*"] and line != block
            yield from () if hidden else (block,)


def _condition(line: str) -> list[str]:
    first, *rest = line.replace("=", " ", 1).split() or [""]
    return [first.lower(), *rest]


def _found(pattern: str, file: Path, files: UserFiles) -> list[Path]:
    path = _path(pattern, files)
    base = files.home / ".ssh" if files.home in file.parents else file.parent
    relative = (base / path).relative_to("/")
    return sorted(found for found in Path("/").glob(str(relative)) if found.is_file())

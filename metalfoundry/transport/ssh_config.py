"""Where a Host really is: the inventory's words first, then the user's ssh_config, then SSH's defaults.

Honoured of ssh_config: HostName, User, Port, IdentityFile, IdentitiesOnly, IdentityAgent, ProxyJump, HostKeyAlias,
UserKnownHostsFile, GlobalKnownHostsFile, Include. StrictHostKeyChecking is not: a Host always carries its own
policy, and ssh_config must not loosen it. ProxyCommand is refused by name, since no host key of ours would
be checked on its way.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from getpass import getuser
from hashlib import sha1
from pathlib import Path
from socket import gethostname
from typing import Any

import paramiko

from metalfoundry.model.errors import ConnectError, HostKeyError
from metalfoundry.model.hosts import Host, HostKeyPolicy, ServerKey
from metalfoundry.transport.host_keys import HostKeys, host_name
from metalfoundry.transport.known_hosts import add, record_as
from metalfoundry.transport.ssh_options import UserFiles, options_of, path

OWN_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
_TOKEN = re.compile(r"%.|\$\{(\w+)\}")
_VARIABLE = re.compile(r"\$(\w+)")


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

    def keys(self) -> HostKeys:
        """What is known of its host keys, read now. Raises HostKeyError when a file cannot be read."""
        return HostKeys(
            self.host.name,
            self.known_as,
            self.address,
            self.port,
            self.known_hosts,
            pinned=self.host.pinned,
            published=self.host.published,
        )


def resolve(host: Host, files: UserFiles) -> Endpoint:
    """The Endpoint of `host`; raises ConnectError when ssh_config cannot be used."""
    try:
        options = options_of(host, files)
        port = host.port or int(options.get("port", 22))
    except (paramiko.SSHException, ValueError, KeyError, OSError) as exc:
        raise ConnectError(
            f"{host.name}: ssh_config or the address {host.address!r} cannot be used: {exc}",
            where=", ".join(map(str, files.ssh_config)),
            next=shlex.join(("ssh", "-G", "--", host.address)),
        ) from exc
    address, user = str(options["hostname"]), host.user or options.get("user") or getuser()
    alias = options.get("hostkeyalias", host_name(address, port)).lower()
    tokens = _tokens(host, files, address, str(port), user, alias, options.get("proxyjump", ""))

    def paths(words: Iterable[str]) -> tuple[Path, ...]:
        return tuple(path(_expanded(word, tokens), files) for word in words if word != "none")

    known = options.get("userknownhostsfile", OWN_KNOWN_HOSTS)
    own = (Path(host.known_hosts),) if host.known_hosts else paths(known)
    system = options.get("globalknownhostsfile")
    agent = _VARIABLE.sub(r"${\1}", options.get("identityagent", "SSH_AUTH_SOCK"))
    return Endpoint(
        host=host,
        address=address,
        port=port,
        user=user,
        known_as=alias,
        known_hosts=(*own, *(files.system_known_hosts if system is None else paths(system))),
        new_keys=own[0] if own else None,
        identities=(Path(host.identity),) if host.identity else paths(options.get("identityfile", [])),
        identities_only=host.identity is not None or options.get("identitiesonly", "no").lower() == "yes",
        agent=files.agent if agent == "SSH_AUTH_SOCK" else next(map(str, paths([agent])), None),
        via=host.via or _jump(host, options),
    )


def record_key(host: Host, key: ServerKey, files: UserFiles | None = None) -> str | None:
    """As known_hosts.record, for the name and the file under which SSH looks `host` up, aliases included."""
    files = files or UserFiles.of_this_user()
    endpoint = resolve(host, files)
    return record_as(endpoint.new_keys or files.home / ".ssh/known_hosts", endpoint.known_as, key)


def add_key(host: Host, name: str, key: ServerKey, files: UserFiles | None = None) -> Path:
    """Write the key of a host that known_hosts calls `name` (`host`, or one on the way to it) where SSH looks it up;
    return the file. Raises OSError.
    """
    files = files or UserFiles.of_this_user()
    file = resolve(host, files).new_keys or files.home / ".ssh/known_hosts"
    add(file, name, key)
    return file


def objection(host: Host, key: ServerKey, files: UserFiles | None = None) -> HostKeyError | None:
    """Why a login at `host` is refused for `key` where another one is known, by pin, known_hosts or publication; None
    where it is the known one, or none is known at all. Raises ConnectError as `resolve`."""
    keys = resolve(host, files or UserFiles.of_this_user()).keys()
    if keys.knows(key) is not False:
        return None
    try:
        keys.check(key, host.host_key, lambda _: None)
    except HostKeyError as error:
        return error
    return None


def known_as(host: Host, files: UserFiles | None = None) -> str:
    """What known_hosts calls `host`, aliases included. Raises ConnectError as `resolve`."""
    return resolve(host, files or UserFiles.of_this_user()).known_as


def _tokens(host: Host, files: UserFiles, address: str, port: str, user: str, alias: str, jump: str) -> dict[str, str]:
    """What stands for what in a path: ssh_config(5), TOKENS."""
    here = gethostname()
    whole = sha1("".join((here, address, port, user, jump)).encode(), usedforsecurity=False).hexdigest()
    return {
        "%%": "%", "%C": whole, "%d": str(files.home), "%h": address, "%i": str(os.getuid()), "%j": jump,
        "%k": alias, "%L": here.split(".")[0], "%l": here, "%n": host.address, "%p": port, "%r": user,
        "%u": getuser(),
    }  # fmt: skip


def _expanded(word: str, tokens: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        return os.environ.get(found[1], "") if found[1] else tokens.get(found[0], found[0])

    return _TOKEN.sub(value, word)


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

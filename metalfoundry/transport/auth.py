"""Public-key authentication and nothing else: agent, identity files, default keys. No password is ever asked."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path

import paramiko
from paramiko.agent import AgentKey, AgentSSH

from metalfoundry.model.errors import AuthError, ConnectError
from metalfoundry.model.host_keys import fingerprint
from metalfoundry.model.hosts import Host
from metalfoundry.transport.clock import Deadline
from metalfoundry.transport.ssh_config import Endpoint, resolve
from metalfoundry.transport.ssh_options import UserFiles

DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")


class Agent(AgentSSH):
    """The SSH agent at one socket; without keys when it does not answer. Close it after use."""

    def __init__(self, path: str | None, seconds: float) -> None:
        super().__init__()
        if not path:
            return
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(seconds)
        try:
            connection.connect(path)
            connect: Callable[[socket.socket], None] = getattr(self, "_connect")  # noqa: B009 - not in the stubs
            connect(connection)
        except (OSError, paramiko.SSHException):
            connection.close()  # a stale socket is as good as no agent

    def close(self) -> None:
        """Hang up."""
        hang_up: Callable[[], None] = getattr(self, "_close")  # noqa: B009 - not in the stubs
        hang_up()


@dataclass
class Keyring:
    """The keys to offer to one endpoint, in OpenSSH's order; `authenticate` is what Fabric's strategy calls."""

    endpoint: Endpoint
    files: UserFiles
    deadline: Deadline
    offered: list[str] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)
    remedy: str = ""

    def authenticate(self, transport: paramiko.Transport) -> list[str]:
        """Offer one key after the other. Raises AuthError, naming what was offered and what could not be."""
        with closing(Agent(self.endpoint.agent, max(1.0, self.deadline.remaining()))) as agent:
            for label, key in self._keys(agent):
                self.offered.append(f"{label} ({key.get_name()} {fingerprint(key.get_base64())})")
                if self._accepted(transport, key):
                    return self.offered
        raise self._error()

    def offers(self) -> list[str]:
        """What would be offered, in order, without a connection. Raises AuthError where there is nothing."""
        with closing(Agent(self.endpoint.agent, max(1.0, self.deadline.remaining()))) as agent:
            labels = [label for label, _ in self._keys(agent)]
        if not labels:
            raise self._error()
        return labels

    def _accepted(self, transport: paramiko.Transport, key: paramiko.PKey) -> bool:
        transport.auth_timeout = self.deadline.remaining()
        try:
            more = transport.auth_publickey(self.endpoint.user, key)
        except paramiko.SSHException as exc:
            if transport.is_active() and not self.deadline.expired():
                return False
            if self.deadline.expired():
                raise
            if len(self.offered) > 1:  # sshd hangs up after MaxAuthTries keys
                raise self._error("hung up on us, which it does after too many keys") from exc
            raise self._hung_up() from exc
        except EOFError as exc:
            raise self._hung_up() from exc
        if more:
            raise self._error(f"takes the key but wants more: {', '.join(more)}")
        return True

    def _hung_up(self) -> ConnectError:
        return ConnectError(
            f"{self.endpoint.host.name}: the connection was closed during log-in",
            where=self.endpoint.where,
            next="wait and try again, for it may be starting or stopping; else read its sshd's log",
        )

    def _keys(self, agent: Agent) -> Iterator[tuple[str, paramiko.PKey]]:
        held = {key.get_base64(): key for key in agent.get_keys()}
        paths = self.endpoint.identities or self._defaults()
        later: list[tuple[str, paramiko.PKey]] = []
        for path in paths:
            blob = _public_blob(path)
            if blob in held:
                yield f"{path} in the agent", held.pop(blob)
            else:
                later += self._load(path)
        if self.endpoint.identities:
            yield from later
        if not self.endpoint.identities_only:
            yield from ((f"agent key {_comment(key)}", key) for key in held.values())
        if not self.endpoint.identities:
            yield from later

    def _defaults(self) -> tuple[Path, ...]:
        found = (self.files.home / ".ssh" / name for name in DEFAULT_KEYS)
        return tuple(path for path in found if path.is_file())

    def _load(self, path: Path) -> list[tuple[str, paramiko.PKey]]:
        """The key in that file; before it, where there is one beside it, its certificate, which may be out of date."""
        try:
            key = paramiko.PKey.from_path(path)
            if key.public_blob is None:
                return [(str(path), key)]
            bare = copy(key)
            bare.public_blob = None
            return [(f"the certificate of {path}", key), (str(path), bare)]
        except FileNotFoundError:
            self.unusable.append(f"{path}: no such file")
        except (TypeError, paramiko.PasswordRequiredException):  # cryptography's way to ask for a passphrase
            self.unusable.append(f"{path}: encrypted, and not in the agent")
            self.remedy = self.remedy or f"ssh-add {path}"
        except (ValueError, OSError, paramiko.SSHException, paramiko.pkey.UnknownKeyType) as exc:
            self.unusable.append(f"{path}: {exc}")
        return []

    def _error(self, why: str = "refuses our keys") -> AuthError:
        offered = "offered: " + "; ".join(self.offered) if self.offered else "no key to offer"
        skipped = "; not usable: " + "; ".join(self.unusable) if self.unusable else ""
        endpoint = self.endpoint
        if not self.offered:
            why = "cannot log in"
        return AuthError(
            f"{endpoint.host.name}: {why} for user {endpoint.user} ({offered}{skipped})",
            where=endpoint.where,
            next=self.remedy or f"ssh-copy-id -p {endpoint.port} {endpoint.user}@{endpoint.address}",
        )


def offers(host: Host, deadline: Deadline, files: UserFiles | None = None) -> list[str]:
    """The keys that would be offered to `host`. Raises AuthError where there are none, ConnectError for an ssh_config
    that cannot be used.
    """
    files = files or UserFiles.of_this_user()
    return Keyring(resolve(host, files), files, deadline).offers()


def _comment(key: AgentKey) -> str:
    return getattr(key, "comment", "") or "without a comment"


def _public_blob(path: Path) -> str:
    """The base64 of a key file's public half, without its passphrase; "" where it cannot be told."""
    for public in (path, path.with_name(path.name + ".pub")):
        try:
            words = public.read_text(encoding="ascii").split()
        except (OSError, ValueError):
            continue
        if len(words) >= 2 and words[0].startswith(("ssh-", "ecdsa-", "sk-")):
            return words[1]
        if words[:2] == ["-----BEGIN", "OPENSSH"]:
            return _openssh_blob("".join(words[4:-4]))
    return ""


def _openssh_blob(body: str) -> str:
    try:
        message = paramiko.Message(base64.b64decode(body)[len(b"openssh-key-v1\0") :])
    except ValueError:
        return ""
    for _ in range(3):  # cipher, key derivation and its options
        message.get_string()
    message.get_int()
    return base64.b64encode(message.get_string()).decode()

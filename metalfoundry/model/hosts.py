"""A host as SSH sees it: where, who, by which key, through whom."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class HostKeyPolicy(Enum):
    """What to do with the key a host shows. The first two are OpenSSH's words for `StrictHostKeyChecking`.

    LEARN is not for the inventory: a machine that is being re-installed shows a new key by necessity. It is
    taken for this run, reported, and pinned until the next boot; it is never used for a jump host, and only
    public-key authentication is offered under it.
    """

    YES = "yes"
    ACCEPT_NEW = "accept-new"
    LEARN = "learn"


@dataclass(frozen=True, slots=True)
class Host:
    """One SSH endpoint. `address` may be an alias of the user's ssh_config; None leaves a field to ssh_config.

    `name` is how messages call it. `known_hosts` and `identity` are absolute paths.
    """

    name: str
    address: str
    user: str | None = None
    port: int | None = None
    identity: str | None = None
    host_key: HostKeyPolicy = HostKeyPolicy.YES
    known_hosts: str | None = None
    via: Host | None = None


@dataclass(frozen=True, slots=True)
class ServerKey:
    """The public key a host showed: `type` as in known_hosts, `base64` its blob, `fingerprint` SHA256:…"""

    type: str
    base64: str
    fingerprint: str

"""A host as SSH sees it: where, who, by which key, through whom."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
class ServerKey:
    """The public key a host showed: `type` as in known_hosts, `base64` its blob, `fingerprint` SHA256:…"""

    type: str
    base64: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Host:
    """One SSH endpoint. `address` may be an alias of the user's ssh_config; None leaves a field to ssh_config.

    `name` is how messages call it. `known_hosts` and `identity` are absolute paths. `pinned`: the only key that it may
    show, `TYPE BASE64` or `SHA256:…`, whatever the policy; "" for none. `published`: keys that count as known where
    known_hosts says nothing of the host; a jump host has none. `local`: this computer, which no SSH is needed for.
    """

    name: str
    address: str
    user: str | None = None
    port: int | None = None
    identity: str | None = None
    host_key: HostKeyPolicy = HostKeyPolicy.YES
    known_hosts: str | None = None
    via: Host | None = None
    pinned: str = ""
    published: tuple[ServerKey, ...] = ()
    local: bool = False

    @property
    def anybody(self) -> Host:
        """The same place, whoever answers there: for the question who it is, and for nothing that relies on it."""
        return replace(self, host_key=HostKeyPolicy.LEARN, pinned="", published=())

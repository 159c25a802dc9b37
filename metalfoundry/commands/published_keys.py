"""The public host keys of the system that a run installed, as an annotation on its Hardware: one OpenSSH line each."""

from __future__ import annotations

from collections.abc import Iterable

from metalfoundry.model.host_keys import read_key
from metalfoundry.model.hosts import ServerKey
from metalfoundry.model.resources import Hardware

HOST_KEYS = "metalfoundry.dev/host-keys"
MOST_KEYS = 8
MOST_BYTES = 16384


def published_keys(hardware: Hardware | None) -> tuple[ServerKey, ...]:
    """The keys that stand on the object; what is no key is passed over, for it may be anybody's writing."""
    text = hardware.annotations.get(HOST_KEYS, "") if hardware else ""
    found = map(read_key, text.splitlines()) if len(text) <= MOST_BYTES else ()
    return tuple(dict.fromkeys(key for key in found if key))[:MOST_KEYS]


def publication(keys: Iterable[ServerKey]) -> str:
    """The annotation's text."""
    return "\n".join(f"{key.type} {key.base64}" for key in keys)

"""Public host keys as text: what a person, a Hardware or a machine wrote is checked before it is believed to be one."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from metalfoundry.model.hosts import ServerKey

KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
_LONGEST = 4096
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


def fingerprint(blob: str) -> str:
    """SHA256:… of a base64 key blob, as ssh-keygen -l prints it; empty when the blob is no base64."""
    try:
        digest = hashlib.sha256(base64.b64decode(blob, validate=True)).digest()
    except binascii.Error:
        return ""
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def server_key(type: str, blob: str) -> ServerKey:
    """A ServerKey from the two words of a known_hosts line."""
    return ServerKey(type, blob, fingerprint(blob))


def read_key(line: str) -> ServerKey | None:
    """The key of an OpenSSH public-key line, its comment left out; None for anything else, such as a blob of another
    type than the line says."""
    words = line.split(None, 2)[:2]
    if len(line) > _LONGEST or len(words) != 2 or words[0] not in KEY_TYPES:
        return None
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        return None
    fields = _fields(blob)
    whole = fields[:1] == [words[0].encode()] and len(fields) == (2 if words[0] == "ssh-ed25519" else 3)
    return server_key(*words) if whole and min(map(len, fields)) > 0 else None


def _fields(blob: bytes) -> list[bytes]:
    """The parts of a key blob, each with its length before it; none where they do not fill it."""
    found: list[bytes] = []
    while len(blob) >= 4:
        end = 4 + int.from_bytes(blob[:4], "big")
        if end > len(blob):
            return []
        found.append(blob[4:end])
        blob = blob[end:]
    return found if not blob else []


def read_pin(text: str) -> str | None:
    """A key pinned for a server, in the one form that `is_pinned` compares: `TYPE BASE64` or `SHA256:…`; None for
    anything else."""
    word = text.strip()
    if _FINGERPRINT.fullmatch(word.rstrip("=")):
        return word.rstrip("=")
    key = read_key(word)
    return f"{key.type} {key.base64}" if key else None


def is_pinned(pin: str, key: ServerKey) -> bool:
    """Whether `key` is the one of the pin."""
    return pin in (key.fingerprint, f"{key.type} {key.base64}")

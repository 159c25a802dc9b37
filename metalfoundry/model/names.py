"""Which names and addresses there can be: whatever else stands where one is expected is not used as one.

A field of an object, an annotation or a file may hold any text. Only what passes here becomes a word of a command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_OBJECT = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_ADDRESS = re.compile(r"[A-Za-z0-9_:](?:[A-Za-z0-9_.:%-]*[A-Za-z0-9.])?")
LONGEST = 253


def is_object_name(text: str) -> bool:
    """Whether Kubernetes lets an object have this name: an RFC 1123 subdomain."""
    return len(text) <= LONGEST and _OBJECT.fullmatch(text) is not None


def is_address(text: str) -> bool:
    """Whether this may be a host name or an IP address, a zone (`%eth0`) included."""
    return len(text) <= LONGEST and _ADDRESS.fullmatch(text) is not None


def nearest(name: str, known: Iterable[str]) -> str:
    """What to add to "there is no NAME": `; did you mean OTHER?`, or nothing where none is like it."""
    near = get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""

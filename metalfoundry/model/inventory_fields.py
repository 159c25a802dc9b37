"""What single keys of inventory.yaml may hold. A validator's own ValueError begins with what it found."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)

from metalfoundry.model.durations import seconds
from metalfoundry.model.host_keys import read_pin
from metalfoundry.model.hosts import HostKeyPolicy

_LONGEST = 7 * 24 * 3600.0
_PIN = r"^(SHA256:|ssh-|ecdsa-)"
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
_CHOICES = {"yes": HostKeyPolicy.YES, "accept-new": HostKeyPolicy.ACCEPT_NEW} | dict.fromkeys(
    ("true", "on", "y"), HostKeyPolicy.YES
)


def key(meaning: str, expected: str, *, default: str = "") -> Any:
    """What a key means and what may stand there: for faults, the manual and the JSON Schema.

    `default` says it in words, where the value alone says too little.
    """
    return Field(title=expected, description=meaning, json_schema_extra={"$comment": default} if default else None)


def mac(text: str) -> str:
    """A MAC address in the one form that Tinkerbell knows: lower case, colons; raises ValueError."""
    lowered = text.strip().lower().replace("-", ":")
    if not _MAC.fullmatch(lowered):
        raise ValueError(f"found {text!r}")
    return lowered


def _host_key(value: Any) -> HostKeyPolicy:
    word = str(value.value if isinstance(value, HostKeyPolicy) else value).lower()
    if word in {"no", "off", "false", "n", "never"}:
        raise ValueError(
            f"found {value!r}; there is no such choice, since with an unchecked key anyone on the way could pose as "
            "this host and be given root"
        )
    if word not in _CHOICES:
        raise ValueError(f"found {value!r}")
    return _CHOICES[word]


def _host_key_or_pin(value: Any) -> HostKeyPolicy | str:
    pin = read_pin(value) if isinstance(value, str) else None
    if pin is None and isinstance(value, str) and " " in value.strip():
        raise ValueError(f"found {value!r}; that is no public key of a known type, nor its fingerprint")
    return pin or _host_key(value)


def _span(value: Any) -> float:
    span = value if isinstance(value, float) else seconds(str(value))
    if not 0 < span <= _LONGEST:
        raise ValueError(f"found {value!r}")
    return span


def _words(value: Any) -> Any:
    return shlex.split(value) if isinstance(value, str) else value


def _unlike(rungs: tuple[str, ...]) -> tuple[str, ...]:
    if not rungs or len(set(rungs)) < len(rungs):
        raise ValueError(f"found {', '.join(rungs)}: one of them twice" if rungs else "found an empty list")
    return rungs


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"found {text!r}")
    _ = parts.port  # raises ValueError when it is no port
    return text.rstrip("/")


def _absolute(value: Any, info: ValidationInfo) -> Any:
    """`~` is the user's home; the validation's context is the folder where anything relative starts."""
    if not isinstance(value, str | Path):
        return value
    if not str(value):
        raise ValueError(f"found {value!r}")
    try:
        return str(Path(info.context or "") / Path(value).expanduser())
    except RuntimeError as error:
        raise ValueError(f"found {str(value)!r}; there is no such user here") from error


Text = Annotated[str, StringConstraints(min_length=1)]
Word = Annotated[str, StringConstraints(pattern=r"^[^\s\-][^\s]*$")]
ObjectName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
Namespace = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
AbsolutePath = Annotated[str, StringConstraints(pattern=r"^/")]
Port = Annotated[int, Field(ge=1, le=65535)]
Mac = Annotated[str, AfterValidator(mac)]
Url = Annotated[str, AfterValidator(_url)]
Names = Annotated[
    Mapping[str, str], AfterValidator(lambda names: MappingProxyType(names)), PlainSerializer(lambda names: dict(names))
]
_FILE = WithJsonSchema({"type": "string", "minLength": 1})
File = Annotated[str, BeforeValidator(_absolute), _FILE]
FilePath = Annotated[Path, BeforeValidator(_absolute), _FILE]
HostKey = Annotated[
    HostKeyPolicy, BeforeValidator(_host_key), WithJsonSchema({"type": "string", "enum": ["yes", "accept-new"]})
]
HostKeyOrPin = Annotated[
    HostKeyPolicy | str,
    BeforeValidator(_host_key_or_pin),
    WithJsonSchema({"anyOf": [{"enum": ["yes", "accept-new"]}, {"type": "string", "pattern": _PIN}]}),
]
Argv = Annotated[
    tuple[Text, ...],
    BeforeValidator(_words),
    Field(min_length=1),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string", "minLength": 1}, "minItems": 1}),
]
Rung = Literal["ssh", "bmc", "person"]
Rungs = Annotated[
    tuple[Rung, ...],
    AfterValidator(_unlike),
    WithJsonSchema({"type": "array", "items": {"enum": list(get_args(Rung))}, "minItems": 1, "uniqueItems": True}),
]
Span = Annotated[
    float,
    BeforeValidator(_span),
    WithJsonSchema({"type": ["string", "number"], "exclusiveMinimum": 0, "maximum": _LONGEST}),
]

A_PORT = "a port number, 1 to 65535"
A_FILE = "a path; ~ is your home, anything relative starts at the inventory's folder"
A_SPAN = "a span of time such as 10m, 90s, 1h30m, or a number of seconds"
A_COMMAND = "a command for the shell of this computer"
A_HOST_KEY = "yes (known keys only) or accept-new (take an unknown key once, refuse a changed one), as in OpenSSH"
A_SERVER_KEY = f'{A_HOST_KEY}; or its one key: "ssh-ed25519 AAAA…", or the SHA256:… of its ed25519 key'

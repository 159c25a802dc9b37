"""Writing known_hosts: add a new key, or record the key of a system that was just installed."""

from __future__ import annotations

import base64
import errno
import fcntl
import hashlib
import hmac
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metalfoundry.model.errors import TransportError
from metalfoundry.model.hosts import ServerKey
from metalfoundry.model.whole_file import replace_text
from metalfoundry.transport.host_keys import Entry, host_name, names_match, parse


def add(known_hosts: Path, name: str, key: ServerKey) -> None:
    """Append `key` of the host that known_hosts calls `name`. Raises OSError.

    The file is made (0600, its folder 0700) where there is none.
    """
    line = f"{name} {key.type} {key.base64}\n"
    with _locked(known_hosts) as file:
        with file.open("rb") as old:
            size = old.seek(0, os.SEEK_END)
            old.seek(max(0, size - 1))
            ends = size == 0 or old.read(1) == b"\n"
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, (line if ends else "\n" + line).encode())
        finally:
            os.close(descriptor)


def record(known_hosts: Path, address: str, port: int, key: ServerKey) -> str | None:
    """Make `key` the only one of that host in the file, in one step; all other lines stay as they are.

    Returns what was replaced, one `type fingerprint (file:line)` for each, for telling the user; None when
    nothing was. A line that names other hosts as well keeps those; wildcard and marked (`@…`) lines stay. A
    hashed name stays hashed. Raises TransportError when the file cannot be written.
    """
    return record_as(known_hosts, host_name(address, port), key)


def record_as(known_hosts: Path, name: str, key: ServerKey) -> str | None:
    """As `record`, for the host that known_hosts calls `name`."""
    try:
        with _locked(known_hosts) as file:
            text = file.read_text(encoding="utf-8", errors="surrogateescape")
            mine = [entry for entry in parse(text, known_hosts) if not entry.marker and _is_own(entry, name)]
            old = [entry for entry in mine if entry.base64 != key.base64]
            if mine and not old:
                return None
            replace_text(file, _without(text, mine, name) + _line(name, key, any("|1|" in e.names for e in mine)))
    except OSError as exc:
        raise TransportError(
            f"the new host key of {name} could not be recorded: {exc.strerror}",
            where=str(known_hosts),
            next=f"add this line to it: {name} {key.type} {key.base64}",
        ) from exc
    return ", ".join(f"{e.type} {e.fingerprint} ({e.where})" for e in old) or None


def _is_own(entry: Entry, name: str) -> bool:
    return any(_names_it(word, name) for word in entry.names.split(","))


def _names_it(word: str, name: str) -> bool:
    return (word.startswith("|1|") and names_match(word, name)) or word.lower() == name


def _without(text: str, entries: list[Entry], name: str) -> str:
    lines = text.splitlines(keepends=True)
    for entry in entries:
        others = ",".join(word for word in entry.names.split(",") if not _names_it(word, name))
        old = lines[entry.line - 1]
        lines[entry.line - 1] = old.replace(entry.names, others, 1) if others else ""
    kept = "".join(lines)
    return kept if not kept or kept.endswith("\n") else kept + "\n"


def _line(name: str, key: ServerKey, hashed: bool) -> str:
    if hashed:
        salt = os.urandom(20)
        digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
        name = f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"
    return f"{name} {key.type} {key.base64}\n"


@contextmanager
def _locked(known_hosts: Path) -> Iterator[Path]:
    """The file behind any symlink, made if absent, held against every other writer of ours."""
    file = known_hosts.expanduser().resolve()
    if file.exists() and not file.is_file():  # /dev/null is a favourite
        raise OSError(errno.EINVAL, "not a regular file")
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if file.exists() and os.fstat(descriptor).st_ino == file.stat().st_ino:  # not replaced while we waited
                yield file
                return
        finally:
            os.close(descriptor)

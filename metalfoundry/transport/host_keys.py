"""known_hosts as OpenSSH reads it, and the check of the key a host shows.

Known: plain, hashed and wildcard names, `[host]:port`, `@revoked`, and `@cert-authority`, whose certificates a host may
show instead of a known key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from metalfoundry.model.errors import HostKeyError
from metalfoundry.model.host_keys import fingerprint, is_pinned
from metalfoundry.model.hosts import HostKeyPolicy, ServerKey

RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")
CERTIFIED = "-cert-v01@openssh.com"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a known_hosts file; `marker` is "", "@revoked" or "@cert-authority"."""

    file: Path
    line: int
    marker: str
    names: str
    type: str
    base64: str

    @property
    def where(self) -> str:
        """`file:line`, as messages show it."""
        return f"{self.file}:{self.line}"

    @property
    def fingerprint(self) -> str:
        """SHA256:… of the key on this line."""
        return fingerprint(self.base64)

    def is_for(self, name: str) -> bool:
        """Whether this line speaks of the host that known_hosts calls `name`."""
        return names_match(self.names, name)


@dataclass(frozen=True, slots=True)
class HostCertificate:
    """What the certificate that a host shows is worth: `authority` is the key that signed it, in base64; `problem`, why
    it proves nothing for this host even if that authority is trusted, "" where it does."""

    authority: str
    problem: str = ""


def host_name(address: str, port: int) -> str:
    """What known_hosts calls a host: the bare name on port 22, `[name]:port` elsewhere."""
    return address.lower() if port == 22 else f"[{address.lower()}]:{port}"


def names_match(names: str, name: str) -> bool:
    """Whether the first field of a line covers `name`: hashed, literal, `*` and `?`; one `!pattern` excludes."""
    found = False
    for pattern in names.split(","):
        if pattern.startswith("|1|"):
            found = found or _hash_matches(pattern, name)
        elif pattern.startswith("!"):
            if _glob(pattern[1:], name):
                return False
        else:
            found = found or _glob(pattern, name)
    return found


def _glob(pattern: str, name: str) -> bool:
    expression = re.escape(pattern.lower()).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, name.lower()) is not None


def _hash_matches(pattern: str, name: str) -> bool:
    try:
        _, _, salt, digest = pattern.split("|")
        expected = base64.b64decode(digest)
        found = hmac.new(base64.b64decode(salt), name.lower().encode(), hashlib.sha1).digest()
    except ValueError:
        return False
    return hmac.compare_digest(found, expected)


def parse(text: str, file: Path) -> list[Entry]:
    """The entries of a file's text; what OpenSSH would skip is skipped."""
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        marker = words.pop(0) if words[0].startswith("@") else ""
        if len(words) >= 3:
            entries.append(Entry(file, number, marker, words[0], words[1], words[2]))
    return entries


def _load(file: Path) -> list[Entry]:
    try:
        return parse(file.read_text(encoding="utf-8", errors="replace"), file)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as exc:
        raise HostKeyError(
            f"known_hosts cannot be read: {exc.strerror}", where=str(file), next=f"ls -l {file}"
        ) from exc


class HostKeys:
    """What is known of one host: `files` in the order they are read, what the inventory pins, and what is published.

    A pin is the whole answer. Published keys count where the files say nothing of the host: they override no line.
    """

    def __init__(
        self,
        label: str,
        name: str,
        address: str,
        port: int,
        files: Sequence[Path],
        *,
        pinned: str = "",
        published: Sequence[ServerKey] = (),
    ) -> None:
        """`label` is how messages call the host, `name` how known_hosts does; `pinned` and `published` as in Host.

        Raises HostKeyError when a file cannot be read.
        """
        self.label, self.name, self.address, self.port = label, name, address, port
        self.files, self.pinned, self.published = tuple(files), pinned, tuple(published)
        everything = [entry for file in self.files for entry in _load(file)]
        mine = [entry for entry in everything if entry.is_for(self.name)]
        self._portless: list[Entry] = []
        if not mine and name.startswith("["):  # as OpenSSH: a line without a port counts if the key is the same
            self._portless = [entry for entry in everything if not entry.marker and entry.is_for(address.lower())]
        self.known = [entry for entry in mine if not entry.marker]
        self.revoked = [entry for entry in everything if entry.marker == "@revoked" and entry.is_for(self.name)]
        authorities = [entry for entry in everything if entry.marker == "@cert-authority"]
        self.authorities = [entry for entry in authorities if entry.is_for(self.name) or entry.is_for(address.lower())]

    def knows(self, key: ServerKey) -> bool | None:
        """Whether `key` is a known one; None where nothing is known of the host at all."""
        if self.pinned:
            return is_pinned(self.pinned, key)
        lines = [entry.base64 for entry in (*self.known, *self._portless)]
        known = lines if self.known else lines + [each.base64 for each in self.published]
        return key.base64 in known if known else None

    def prefer(self, algorithms: Iterable[str]) -> tuple[str, ...]:
        """`algorithms` with those of the known keys first, so that the server shows the key we can check."""
        pinned = [self.pinned.split(" ")[0]] if " " in self.pinned else []
        lines = [entry.type for entry in (*self.known, *self._portless)]
        types = pinned or (lines if self.known else [*lines, *(key.type for key in self.published)])
        known = [name for kind in types for name in (RSA_SIGNATURES if kind == "ssh-rsa" else (kind,))]
        offered = tuple(algorithms)
        keys = (*(n for n in dict.fromkeys(known) if n in offered), *(n for n in offered if n not in known))
        return (*(f"{name}{CERTIFIED}" for name in keys), *keys) if self.authorities and not self.pinned else keys

    @property
    def principal(self) -> str:
        """What a certificate calls the host: its alias, or its address, without a port."""
        return self.address.lower() if self.name.startswith("[") else self.name

    def check(
        self,
        key: ServerKey,
        policy: HostKeyPolicy,
        add: Callable[[ServerKey], None],
        certificate: HostCertificate | None = None,
    ) -> None:
        """Accept `key`, which the host may have shown in a `certificate`, or raise HostKeyError. `add` is called for a
        new key that accept-new takes.
        """
        shown = {key.base64, certificate.authority if certificate else ""}
        if any(entry.base64 in shown for entry in self.revoked):
            raise self._refusal(f"the key is marked @revoked in {self._places(self.revoked)}", key)
        if self.pinned and not is_pinned(self.pinned, key):
            raise self._not_pinned(key)
        if policy is HostKeyPolicy.LEARN or self.knows(key) or (certificate and not self._doubt(certificate)):
            return
        if self.known:
            raise self._changed(key)
        if self.published:
            raise self._not_published(key)
        if policy is HostKeyPolicy.ACCEPT_NEW:
            add(key)
            return
        raise self._unknown(key, certificate)

    def _doubt(self, certificate: HostCertificate) -> str:
        """Why a certificate does not make its key a known one; "" where it does."""
        if not any(entry.base64 == certificate.authority for entry in self.authorities):
            return certificate.problem or "another authority has signed it"
        return certificate.problem

    def _changed(self, key: ServerKey) -> HostKeyError:
        old = next((entry for entry in self.known if entry.type == key.type), self.known[0])
        hint = ", as its Hardware publishes it" if key in self.published else ""
        forget = f"ssh-keygen -R '{self.name}' -f {old.file}"
        error = HostKeyError(
            f"{self.label}: the host key has changed: known_hosts has {old.type} {old.fingerprint}, "
            f"the host shows {key.type} {key.fingerprint}{hint}",
            where=old.where,
            next=f"if the host was re-installed: {forget}",
            evidence=self._line(key),
        )
        error.forget = forget
        return error

    def _not_pinned(self, key: ServerKey) -> HostKeyError:
        pin = self.pinned if " " not in self.pinned else fingerprint(self.pinned.split(" ")[1])
        return HostKeyError(
            f"{self.label}: the host key is not the pinned one: the inventory pins {pin}, the host shows {key.type} "
            f"{key.fingerprint}",
            where=f"host_key of {self.label}",
            next=f"find out who answers there; if the pin is old, give host_key anew: {key.type} {key.base64}",
            evidence=self._line(key),
        )

    def _not_published(self, key: ServerKey) -> HostKeyError:
        known = next((each for each in self.published if each.type == key.type), self.published[0])
        return HostKeyError(
            f"{self.label}: the host key is not the published one: its Hardware has {known.type} {known.fingerprint}, "
            f"the host shows {key.type} {key.fingerprint}",
            where="annotation metalfoundry.dev/host-keys",
            next="if the host was re-installed by other means, compare the key and add it to known_hosts, or take the "
            "annotation off its Hardware",
            evidence=self._line(key),
        )

    def _unknown(self, key: ServerKey, certificate: HostCertificate | None) -> HostKeyError:
        hint = ""
        if self.authorities and certificate is None:
            hint = f", and no certificate, though {self._places(self.authorities)} names a @cert-authority for it"
        elif certificate is not None:
            hint = f", and its certificate does not count: {self._doubt(certificate)}"
        file = self.files[0] if self.files else Path("known_hosts")
        error = HostKeyError(
            f"{self.label}: the host key is not known: the host shows {key.type} {key.fingerprint}{hint}",
            where=f"{self.name}, looked in {', '.join(map(str, self.files)) or 'no file'}",
            next=f"compare it: ssh-keyscan -p {self.port} {self.address} 2>/dev/null | ssh-keygen -lf -; "
            f"what is known: ssh-keygen -F '{self.name}' -f {file}",
            evidence=self._line(key),
        )
        error.unknown = (self.name, key)
        return error

    def _refusal(self, why: str, key: ServerKey) -> HostKeyError:
        return HostKeyError(
            f"{self.label}: {why}: {key.type} {key.fingerprint}",
            where=self._places(self.revoked),
            next=f"give the host a new key; look at it: ssh-keyscan -p {self.port} {self.address}",
            evidence=self._line(key),
        )

    def _line(self, key: ServerKey) -> str:
        return f"{self.name} {key.type} {key.base64}"

    @staticmethod
    def _places(entries: Iterable[Entry]) -> str:
        return ", ".join(entry.where for entry in entries)

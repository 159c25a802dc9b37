"""Take secrets out of what leaves the house: passwords and their hashes, tokens, private keys.

By name (`password: …`, `REGISTRY_PASSWORD=…`, `--token …`), by place (chpasswd's lists, sshpass, user data in base64)
and by shape (crypt hashes, JWTs, PEM blocks, credentials in a URL): `secret_forms.py`. Rather too much than too little:
a value under such a name goes, whatever it is. Public SSH keys and MACs stay, since a diagnosis needs them.
"""

from __future__ import annotations

import base64
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from metalfoundry.model.secret_forms import BASE64, FORMS, IN_LIST, NAMES, PAIR, USERS, Form

HIDDEN = "[hidden]"
_NAME = re.compile(
    rf"(?:^|[^a-z])(?:\w*[_-])?(?:hashed[_-])?(?:pass|pw|{NAMES})(?:[_-]?(?:hash|data|b64|base64))?$", re.IGNORECASE
)
_FLAG = re.compile(rf"--?(?:[a-z0-9]{{1,30}}[-_]){{0,6}}(?:{NAMES}|pass)", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_HARMLESS = frozenset({"", HIDDEN, "null", "true", "false"})
_KEEP_NAMES = frozenset({"authsecretref", "secretref", "imagepullsecrets", "secretname", "disable_root_password"})
_PACKED = re.compile(r"[A-Za-z0-9+/]{8,}={0,2}")
_GZIP = b"\x1f\x8b"
_GOES_ON = re.compile(r"PRIVATE KEY|[:=]\s*(?:[|>][-+0-9]{0,2}|[\"'].*)?$|chpasswd|base64|binary|userData")
_LINES_ON = 120  # so many lines may belong to what such a line begins


def hide(text: str, secrets: Iterable[str]) -> str:
    """`text` with every one of these secrets replaced."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, HIDDEN)
    return text


def text(value: str, secrets: Iterable[str] = ()) -> str:
    """`value` without secrets; `secrets` are words that are known to be some."""
    return _without(hide(value, secrets))


@lru_cache(maxsize=256)  # the same script goes to each of a hundred servers, and to each sink
def _without(value: str) -> str:
    low = value.lower()
    held: dict[tuple[str, ...], bool] = {}
    for form, replacement in _REPLACED:
        if form.needs not in held:
            held[form.needs] = any(word in low for word in form.needs)
        if held[form.needs]:
            value = form.pattern.sub(replacement, value)
    return value


def data(value: Any, secrets: Sequence[str] = ()) -> Any:
    """JSON data without secrets: what stands under a secret's name is hidden whole, all other text is looked through.

    A list of `{name, value}` pairs (environment variables) counts as names and values, and so does a list of words
    (`--token`, `abc`); what a Secret of Kubernetes holds goes whole.
    """
    if isinstance(value, str):
        return text(value, secrets)
    if isinstance(value, Mapping):
        name = value.get("name")
        hidden = {"data", "stringData"} if value.get("kind") == "Secret" else set()
        if isinstance(name, str) and _is_secret(name) and isinstance(value.get("value"), str):
            hidden = {"value"}
        return {
            key: HIDDEN if key in hidden or _hides(key, item) else data(item, secrets) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        flags = [False, *(isinstance(item, str) and _FLAG.fullmatch(item) is not None for item in value)]
        return [
            HIDDEN if flag and isinstance(item, str) else data(item, secrets)
            for flag, item in zip(flags, value, strict=False)
        ]
    return value


class Reader:
    """Reads one stream line by line: a line that may begin what goes on is kept in mind with those that follow it."""

    def __init__(self) -> None:
        self._before: deque[str] = deque()

    def read(self, line: str) -> str:
        """`line` without secrets."""
        if self._before or _GOES_ON.search(line):
            self._before.append(line)
        shown = text("\n".join(self._before) if self._before else line)
        if len(self._before) > _LINES_ON:
            self._before.clear()
        lines = line.count("\n") + 1
        return "\n".join(shown.split("\n")[-lines:]) if len(self._before) > 1 else shown


def _users(found: re.Match[str]) -> str:
    return found["lead"] + IN_LIST.pattern.sub(rf"\g<name>{HIDDEN}", found["pairs"])


def _encoded(found: re.Match[str]) -> str:
    """base64 of packed text, or of text with a secret in it, goes whole; what is no text, as a public key, stays."""
    packed = re.sub(r"\s|\\+n", "", found[0]).rstrip("=")
    try:
        inner = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
        return HIDDEN if inner.startswith(_GZIP) or text(inner.decode()) != inner.decode() else found[0]
    except ValueError:
        return found[0]


def _pair(found: re.Match[str]) -> str:
    """`name=[hidden]`, in the quotes that it had; a name alone, or one that is known to be harmless, stays."""
    value = found["value"]
    if value.strip("\\\"'") in _HARMLESS or re.fullmatch(r"[|>][-+0-9]{0,2}", value):
        return found[0]
    quote = next((mark for mark in ('\\"', '"', "'") if value.startswith(mark) and value.endswith(mark)), "")
    return f"{found['name']}{found['mark']}{quote}{HIDDEN}{quote}"


_REPLACED: tuple[tuple[Form, str | Callable[[re.Match[str]], str]], ...] = (
    *((form, rf"\g<lead>{HIDDEN}") for form in FORMS),
    (USERS, _users),
    (PAIR, _pair),
    (BASE64, _encoded),
)


def _hides(key: Any, item: Any) -> bool:
    if key == "auth" and isinstance(item, str):  # of docker's config: user and password
        return _PACKED.fullmatch(item) is not None
    return isinstance(key, str) and _is_secret(key) and item not in (None, "", False, True)


def _is_secret(name: str) -> bool:
    low = _CAMEL.sub("_", name).lower()
    return name.lower() not in _KEEP_NAMES and _NAME.search(low) is not None

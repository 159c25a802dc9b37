"""Take secrets out of what leaves the house in a bundle: passwords and their hashes, tokens, private keys.

By name (`password: …`, `REGISTRY_PASSWORD=…`, `Authorization: …`) and by shape (crypt hashes, JWTs, PEM blocks,
credentials in a URL). Rather too much than too little: a value under such a name goes, whatever it is. Public SSH keys
and MACs stay, since a diagnosis needs them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from metalfoundry.commands.command import HIDDEN, hide

_LONG = (
    r"passwd|password|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?|authorization|"
    r"secret[_-]?key|signing[_-]?key|encryption[_-]?key|cookie|kubeconfig|client[_-](?:key|certificate)-data|rootpw|"
    r"dockerconfigjson"
)
_WORDS = rf"pass|pw|{_LONG}"
_NAME = re.compile(rf"(?:^|[^a-z])(?:\w*[_-])?(?:hashed[_-])?(?:{_WORDS})(?:[_-]?(?:hash|data|b64|base64))?$", re.I)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_HARMLESS = frozenset({"", HIDDEN, "null", "true", "false", "|", ">", "|-", ">-", "|+", ">+"})
_KEEP_NAMES = frozenset({"authsecretref", "secretref", "imagepullsecrets", "secretname", "disable_root_password"})

# Only the end of a name is matched, so that a long line costs no more than its length.
_PAIR = re.compile(
    rf"""(?P<name>(?:(?<![A-Za-z])(?:pw|pass)|(?:{_LONG}))["'\\]*)(?P<mark>\s*[=:]\s*)"""
    r"""(?P<value>\[hidden\]|[|>][-+]?(?=\s*$)|\\?"(?:[^"\\]|\\.)*?\\?"|'[^']*'|(?:(?:Basic|Bearer)\s+)?[^\s,;&"'\]}\\]+)""",
    re.IGNORECASE | re.MULTILINE,
)
_SCALAR = re.compile(
    rf"^(?P<head>(?P<indent>[ \t]*)(?:-[ \t]+)?[\"']?[\w.-]{{0,40}}(?:{_LONG}|pass)[\"']?:[ \t]*[|>][-+0-9]*[ \t]*\n)"
    r"(?P<body>(?:(?P=indent)[ \t]+\S.*(?:\n|\Z)|[ \t]*\n)+)",
    re.IGNORECASE | re.MULTILINE,
)
_BLOCK = re.compile(r"-----BEGIN (?P<what>[A-Z0-9 ]*PRIVATE KEY)-----.*?(?:-----END (?P=what)-----|\Z)", re.DOTALL)
_SHAPES = (
    re.compile(r"\bAGE-SECRET-KEY-1[0-9A-Z]{20,}", re.IGNORECASE),
    re.compile(r"\$(?:1|2[abxy]|5|6|7|y|gy|argon2\w*|scrypt)\$[^\s\"':,\\]+"),  # crypt(3) hashes
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"),  # JSON web tokens
    re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|AKIA|dckr_pat_)[\w-]{12,}"),  # well-known tokens
    re.compile(r"(?<=Bearer )[\w.~+/=-]{8,}", re.IGNORECASE),
    re.compile(r"(?<=Basic )[\w+/=-]{8,}", re.IGNORECASE),
)
_URL = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]{0,15}://)(?P<user>[^\s/:@\"']*):(?P<word>[^\s/@\"']+)@")
_OPEN = r"(?!\[hidden\])"  # what is hidden already stays as it is
_FLAG = re.compile(
    rf"""(?P<lead>(?:(?<![\w-])--?(?:[a-z0-9]+[-_])*(?:{_LONG}|pass|psk)\s+|\bsshpass\s+-p\s*"""
    rf"""|\blogin\b[^\n]{{0,200}}?\s-p\s*)){_OPEN}(?P<value>"[^"\n]*"|'[^'\n]*'|[^\s"'-]\S*)""",
    re.IGNORECASE,
)
_PSK = re.compile(
    rf"""(?P<lead>\b(?:wpa[-_]?)?psk["']?\s*[=:]\s*){_OPEN}(?P<value>"[^"\n]*"|'[^'\n]*'|[^\s,}}\]]+)""", re.IGNORECASE
)
_NAMED = r"""(?:\s*(?:-[ ])?["']?[\w.-]{1,32}:[^\s,'"]+["']?,?)"""
_USERS = re.compile(
    r"""(?P<lead>\bchpasswd\b\s*:?\s*\{?\s*(?:expire:\s*\w+,?\s*)?(?:list["']?\s*:\s*)?[|>\[]?[-+]?\s*)"""
    rf"(?P<pairs>{_NAMED}+)"
)
_USER = re.compile(rf"""(?P<name>["']?[\w.-]{{1,32}}:){_OPEN}(?P<word>[^\s,'"\]]+)""")
_ECHO = re.compile(
    rf"""(?P<lead>\b(?:echo|printf)\s+(?:-\w+\s+)?["']?[\w.-]{{1,32}}:){_OPEN}(?P<word>[^\s"'|]+)"""
    r"""(?=["']?\s*\|\s*(?:sudo\s+)?chpasswd)"""
)
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/]{24,}={0,2}(?![A-Za-z0-9+/=])")
_CHPASSWD = re.compile(r"(?m)^(?P<lead>\s*(?:-\s*)?(?:root|ubuntu|admin|\w+):)(?P<word>\$[^\s]+|RANDOM|R)\s*$")


def text(value: str, secrets: Iterable[str] = ()) -> str:
    """`value` without secrets; `secrets` are words that are known to be some."""
    value = _BLOCK.sub(HIDDEN, hide(value, secrets))
    value = _SCALAR.sub(lambda found: f"{found['head']}{found['indent']}  {HIDDEN}\n", value)
    value = _URL.sub(rf"\g<scheme>\g<user>:{HIDDEN}@", value)
    for shape in _SHAPES:
        value = shape.sub(HIDDEN, value)
    value = _CHPASSWD.sub(rf"\g<lead>{HIDDEN}", value)
    value = _ECHO.sub(rf"\g<lead>{HIDDEN}", value)
    value = _USERS.sub(lambda found: found["lead"] + _USER.sub(rf"\g<name>{HIDDEN}", found["pairs"]), value)
    value = _FLAG.sub(rf"\g<lead>{HIDDEN}", value)
    value = _PSK.sub(rf"\g<lead>{HIDDEN}", value)
    value = _BASE64.sub(_encoded, value)
    return _PAIR.sub(_pair, value)


def _encoded(found: re.Match[str]) -> str:
    """base64 that hides text with a secret in it goes whole; what is no text, such as a public key, stays."""
    try:
        inner = base64.b64decode(found[0] + "=" * (-len(found[0]) % 4), validate=True).decode()
    except ValueError:
        return found[0]
    return HIDDEN if inner.isascii() and text(inner) != inner else found[0]


def data(value: Any, secrets: Sequence[str] = ()) -> Any:
    """JSON data without secrets: what stands under a secret's name is hidden whole, all other text is looked through.

    A list of `{name, value}` pairs (environment variables) counts as names and values.
    """
    if isinstance(value, str):
        return text(value, secrets)
    if isinstance(value, Mapping):
        name = value.get("name")
        hidden = isinstance(name, str) and _is_secret(name) and isinstance(value.get("value"), str)
        return {
            key: HIDDEN if (hidden and key == "value") or _hides(key, item) else data(item, secrets)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [data(item, secrets) for item in value]
    return value


def _hides(key: Any, item: Any) -> bool:
    return isinstance(key, str) and _is_secret(key) and item not in (None, "", False, True)


def _is_secret(name: str) -> bool:
    low = _CAMEL.sub("_", name).lower()
    return name.lower() not in _KEEP_NAMES and _NAME.search(low) is not None


def _pair(found: re.Match[str]) -> str:
    """`name=[hidden]`, in the quotes that it had; a name alone, or one that is known to be harmless, stays."""
    value = found["value"]
    if value.strip("\\\"'") in (
        "",
        HIDDEN,
        "null",
        "true",
        "false",
    ):
        return found[0]
    quote = next((mark for mark in ('\\"', '"', "'") if value.startswith(mark) and value.endswith(mark)), "")
    return f"{found['name']}{found['mark']}{quote}{HIDDEN}{quote}"

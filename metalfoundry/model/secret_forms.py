"""The forms in which secrets are written down, as patterns: what stands in `lead` stays, the rest is the secret.

A text may stand in a string of JSON, and that in another one: wherever a quote or a newline is meant, backslashes may
stand before it. Every pattern takes time in proportion to the text: what repeats without bound is possessive, or cannot
hold the beginning of the next match; all else is bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

_KEYS = "api|access|private|secret|signing|encryption|shared|luks|auth|wep"
NAMES = (
    r"passwd|password|passphrase|passcode|secret|token|credentials?|authorization|cookie|kubeconfig|dockerconfigjson|"
    rf"(?:{_KEYS})[_-]?key[0-3]?|rootpw|psk|client[_-](?:key|certificate)-data|(?<=[_-])pwd|"
    r"(?:root|user|admin|db|bmc|ipmi|ldap|bind)(?:pw|pass)"
)
_NEEDED = (
    "pass",
    "pw",
    "secret",
    "token",
    "credential",
    "authorization",
    "cookie",
    "kubeconfig",
    "dockerconfig",
    "psk",
)
_WORDS = (*_NEEDED, "-data", *(f"{kind}{mark}key" for kind in _KEYS.split("|") for mark in ("", "_", "-")))  # fmt: skip
OPEN = r"(?!\[hidden\])"  # what is hidden already stays as it is
USER = r"[\w.-]{1,32}:"
_START = r"(?:(?<![\w-])|(?<=\\n))"  # of a word
_ANY = rf"(?:{NAMES}|(?:(?<![a-z])|(?<=\\n))(?:pass|pw))"
_Q = r"""["'\\]{0,17}"""
_NL = r"(?:\n|\\{1,15}n)"
_KEY = rf"{_Q}[\w.-]{{0,60}}?{_ANY}{_Q}"

# A string in quotes of any depth (to the end of the text, where it was cut short), else a word.
# An atomic group, not a possessive repeat: Python 3.11.2, Debian 12's, loses what such a repeat refers back to.
_QUOTED = r"""(?P<quote>\\{0,15}["'])(?>(?:''|(?!(?<!\\)(?P=quote)).)*)(?:(?P=quote)|\Z)"""
_BARE = r"""(?:[^\s"'\\]|\\++(?![nrt"']))"""
_WORD = rf"""{OPEN}(?:{_QUOTED}|(?!-){_BARE}++)"""
_TO = rf"""(?:{_Q}(?:,?\s{{1,9}}|,)(?=["'\\])|\s{{1,9}}|{_Q}{_NL}[ \t]{{0,60}}-[ \t]{{1,9}})"""  # the next word
_LISTED = r"""(?:[^\s'"\\]|\\++(?![n"']))++"""


@dataclass(frozen=True, slots=True)
class Form:
    """One form. `needs`: words in lower case; a text without any of them does not hold it, and is passed quickly."""

    needs: tuple[str, ...]
    written: str
    flags: int

    @property
    def pattern(self) -> re.Pattern[str]:
        """The pattern, compiled when it is first wanted."""
        return _compiled(self.written, self.flags)


@cache
def _compiled(written: str, flags: int) -> re.Pattern[str]:
    return re.compile(written, flags)


def _form(needs: str | tuple[str, ...], pattern: str, flags: int = re.IGNORECASE) -> Form:
    words = (needs,) if isinstance(needs, str) else needs
    return Form(words, pattern, flags | re.MULTILINE | re.DOTALL)


def _scalar(start: str, newline: str, rest: str) -> Form:
    """A YAML block scalar under a secret's name, with the lines that are indented more."""
    name = rf"{start}(?=[^\n:]{{0,120}}:[ \t]{{0,9}}[|>])(?P<indent>[ \t]{{0,200}})(?:-[ \t]{{1,9}})?{_KEY}"
    head = rf"(?P<lead>{name}:[ \t]{{0,9}}[|>][-+0-9]{{0,2}}[ \t]{{0,9}}"
    more = rf"(?>(?:{newline}(?:(?P=indent)[ \t]{rest}|[ \t]{{0,200}}(?={newline}|\Z)))*)"
    return _form(_WORDS, rf"{head}{newline}(?P=indent)[ \t]{{1,200}}+){OPEN}{rest}{more}")


def _line(start: str, rest: str) -> Form:
    """A plain YAML scalar under a secret's name that begins a line: it ends with the line."""
    harmless = r"(?!(?:null|true|false|~)\b)"
    key = r"(?=[^\n:]{0,120}:[ \t])"
    lead = rf"(?P<lead>{start}{key}[ \t]{{0,200}}(?:-[ \t]{{1,9}}){{0,3}}{_KEY}:[ \t]{{1,9}})"
    return _form(_WORDS, rf"""{lead}{OPEN}{harmless}(?=[^\s"'|>{{\[&*!#\\]){rest}""")


def _header(name: str) -> Form:
    opening = rf"{_Q}\[?{_Q}"
    mark = rf"{_Q}\s{{0,9}}[=:]\s{{0,9}}(?!{opening}\[hidden\])"
    return _form(name, rf"""(?P<lead>\b{name}{mark}{opening})(?:Digest\s[^\n]*+|[^\s"'\\][^\n"'\\]*+)""")


def _option(programs: tuple[str, ...], option: str) -> Form:
    """`program … -p VALUE` or `-pVALUE`."""
    lead = rf"(?P<lead>{_START}(?:{'|'.join(programs)})\b(?:{OPEN}[^\n]){{0,120}}?[\s\"']{option})"
    return _form(programs, lead + _WORD, re.NOFLAG)


_REST, _REST_ESCAPED = r"[^\n]*+", r"""(?:[^\n\\"]|\\++(?![nr"]))*+"""
_ESCAPED_NL = r"\\{1,15}n"
_ENDED = rf'(?:{_ESCAPED_NL}|(?<="))'  # where a line begins in a string
_TO_PROGRAM = r"""\s{0,9}\|[^\n|]{0,80}?(?:chpasswd|passwd|\s-S\b|-stdin\b|\bcryptsetup\b)"""

FORMS = (
    _form("private key", r"(?P<lead>)-----BEGIN (?P<what>[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?)-----"
                         r".*?(?:-----END (?P=what)-----|\Z)", re.NOFLAG),
    _scalar("^", r"\n", _REST),
    _scalar(_ENDED, _ESCAPED_NL, _REST_ESCAPED),
    _form("://", rf"""(?P<lead>\b[a-z][a-z0-9+.-]{{0,15}}://[^\s/:@"']*+:){OPEN}[^\s/"']+(?=@)"""),
    _form("age-secret-key-", r"(?P<lead>)AGE-SECRET-KEY-1[0-9A-Z]{20,}+"),
    _form("$", r"""(?P<lead>)\$(?:1|2[abxy]|5|6|7|y|gy|argon2\w{0,9}|scrypt)\$[^\s"':\\]++"""),  # crypt(3) hashes
    _form("eyj", rf"(?P<lead>){_START}eyJ[\w-]{{8,}}+\.[\w-]{{8,}}+\.[\w-]*+", re.NOFLAG),  # JSON web tokens
    _form(("gh", "glpat", "xox", "akia", "dckr"),
          r"(?P<lead>)(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|AKIA|dckr_pat_)[\w-]{12,}+", re.NOFLAG),
    _header("authorization"),
    _header("cookie"),
    _form(("bearer ", "basic "), r"(?P<lead>\b(?:Bearer|Basic) )[\w.~+/=-]{8,}+"),
    _form('"auth', rf"""(?P<lead>"auth{_Q}\s{{0,9}}:\s{{0,9}}\\{{0,15}}")[A-Za-z0-9+/]{{8,}}+={{0,2}}"""),
    _form(("$", "random", ":r"),
          r"(?P<lead>^[ \t]{0,80}(?:-[ \t]{1,9})?\w{1,32}:)(?:\$\S++|RANDOM|R)(?=[ \t]{0,80}$)", re.NOFLAG),
    _form(("echo", "printf"), rf"""(?P<lead>{_START}(?:echo|printf)\s{{1,9}}(?:-\w{{1,9}}\s{{1,9}})?)"""
                              rf"""{OPEN}(?:'[^'\n]{{1,300}}'|\\{{0,15}}"[^"\n]{{1,300}}"|[^\s|]{{1,300}})"""
                              rf"""(?={_TO_PROGRAM})"""),
    _form(_WORDS, rf"(?P<lead>(?<![\w-])--?(?:[a-z0-9]{{1,30}}[-_]){{0,6}}(?:{NAMES}|pass){_TO}){_WORD}"),
    _option(("sshpass", "login"), rf"-p{_TO}?"),
    _option(("ipmitool",), rf"-P{_TO}?"),
    _option(("curl", "wget"), rf"(?:-u|--user){_TO}?[\"']?[^\s:\"']{{1,60}}:"),
    _option(("useradd", "usermod"), rf"-p{_TO}"),
    _option(("nmcli",), r"(?:password|[\w.-]{0,40}psk)\s{1,9}"),
    _form("wpa_passphrase", rf"(?P<lead>\bwpa_passphrase\s{{1,9}}(?:\"[^\"\n]{{1,60}}\"|\S{{1,60}})\s{{1,9}}){_WORD}"),
    _form("password", r"(?P<lead>\bmachine\s{1,9}\S{1,200}\s{1,9}login\s{1,9}\S{1,200}\s{1,9}password\s{1,9})" + _WORD),
    _form(_WORDS, rf"(?P<lead>{_START}set(?:env|(?:\s{{1,9}}--?[a-z]{{1,12}}){{1,4}})\s{{1,9}}{_KEY}\s{{1,9}}){_WORD}"),
    _form("set_credential", rf"(?P<lead>\bsystemd\.set_credential(?:_binary)?=[^\s:]{{1,80}}:){_WORD}"),
    _form("iscsi:", rf"(?P<lead>\bnetroot=iscsi:[^\s:@\"']{{1,80}}:){OPEN}[^\s@\"']{{1,200}}(?=@)"),
    _form(_WORDS, rf"(?P<lead>\bname{_Q}:\s{{0,9}}{_KEY},?(?:\s|{_NL}){{0,60}}{_Q}value{_Q}:\s{{0,9}}){_WORD}"),
    _line("^", _REST),
    _line(_ESCAPED_NL, _REST_ESCAPED),
)  # fmt: skip

_BETWEEN = (
    rf"""(?:[\s:{{\[|>+'"-]|{_NL}|\\++(?=["'])|expire{_Q}:\s{{0,9}}\w{{1,5}},?|list(?={_Q}\s?:)"""
    rf"""|<<-?{_Q}\w{{1,20}}{_Q}(?={_NL}))"""
)
USERS = _form(
    "chpasswd",
    rf"""(?P<lead>chpasswd{_BETWEEN}{{1,300}}+)(?P<pairs>(?:{USER}{_LISTED}(?:{_NL}|\\++(?=["'])|[\s'",-]){{0,100}}+)+)""",
)
IN_LIST = _form(":", rf"(?P<name>{USER}){OPEN}{_LISTED}")
PAIR = _form(
    _WORDS,
    rf"""(?P<name>{_ANY}{_Q})(?P<mark>\s{{0,9}}(?:=|(?P<colon>:))\s{{0,60}})"""
    rf"""(?P<value>\[hidden\]|[|>][-+0-9]{{0,2}}(?=[ \t]{{0,9}}(?:$|\\{{1,15}}n))|{_QUOTED}|"""
    r"""(?:(?:Basic|Bearer|Token)\s{1,9})?(?:(?(colon)[^\s,"'\]}\\]|[^\s"'\\])|\\++(?![nrt"']))++)""",
)
BASE64 = _form(
    "",
    rf"(?:(?<![A-Za-z0-9+/_\\-])|(?<=\\n))(?:(?:[A-Za-z0-9+/]{{40,100}}{_NL}\s{{0,60}})+[A-Za-z0-9+/]{{0,100}}|"
    r"[A-Za-z0-9+/]{24,}+)={0,2}(?![A-Za-z0-9+/=])",
    re.NOFLAG,
)

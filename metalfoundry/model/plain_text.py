"""Text that is not ours, made plain: what no eye sees is written out, and nothing in it is a command.

Names, reasons, logs and errors come from clusters and machines. An escape among them could repaint the screen or type
for the operator, a direction mark could reverse a name, a lone surrogate could end the program.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # controls, formats (bidi too), surrogates, line separators
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
_BEYOND_ASCII = re.compile(r"[^\x20-\x7e]")


def visible(text: str, keep: str = "\n\t") -> str:
    """`text` with every character that is not seen written out (`\\x1b`, `\\u202e`), but for those in `keep`."""
    return _written_out(text, keep, _as_python)


def inline(text: str) -> str:
    """`visible`, on one line: its newlines are written out, too."""
    return visible(text, keep="")


def json_text(value: Any, indent: int | None = None) -> str:
    """`value` as JSON, with every character that is not seen as JSON's own escape: it means the same to a program."""
    return _written_out(json.dumps(value, indent=indent, ensure_ascii=False), "\n", _as_json)


def is_unseen(character: str) -> bool:
    """Whether this character shows nothing by itself."""
    return unicodedata.category(character) in _UNSEEN


def _written_out(text: str, keep: str, write: Any) -> str:
    def shown(found: re.Match[str]) -> str:
        character = found[0]
        return str(write(character)) if character not in keep and is_unseen(character) else character

    return _BEYOND_ASCII.sub(shown, text)


def _as_python(character: str) -> str:
    number = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _as_json(character: str) -> str:
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"

"""kubectl's `-o jsonpath=`: texts, fields, indexes, `[*]`, and range…end."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from metalfoundry.lab.clock import UnknownForm

_STEP = re.compile(
    r"""\.(?P<field>(?:\\.|[^.\[\]\\{}\s])+)      # .name, with \. for a dot in it
      | \[(?P<index>-?\d+)\]                       # [0]
      | (?:\[\*\]|\.\*)(?P<all>)                   # [*]
    """,
    re.VERBOSE,
)


class PathError(Exception):
    """kubectl's own complaint about a template or about data that does not fit it."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A text to print, a path to print, or a loop over a path."""

    text: str | None = None
    path: str = ""
    body: tuple[_Piece, ...] = ()
    loop: bool = False


def render(template: str, data: Any) -> str:
    """`template` filled from `data`; an absent key is empty. Raises PathError, UnknownForm."""
    pieces, rest = _parse(_tokens(template))
    if rest:
        raise PathError(f"error parsing jsonpath {template}, not in range, nothing to end")
    return "".join(_render(piece, data, template) for piece in pieces)


def _tokens(template: str) -> list[tuple[bool, str]]:
    """(in braces, content) for each part of the template."""
    tokens, at = list[tuple[bool, str]](), 0
    while at < len(template):
        start = template.find("{", at)
        if start < 0:
            tokens.append((False, template[at:]))
            break
        if start > at:
            tokens.append((False, template[at:start]))
        end = _closing(template, start)
        tokens.append((True, template[start + 1 : end].strip()))
        at = end + 1
    return tokens


def _closing(template: str, start: int) -> int:
    quote = ""
    for at in range(start + 1, len(template)):
        char = template[at]
        if quote:
            if char == quote and template[at - 1] != "\\":
                quote = ""
        elif char in "\"'":
            quote = char
        elif char == "}":
            return at
    raise PathError(f"error parsing jsonpath {template}, unclosed action")


def _parse(tokens: list[tuple[bool, str]]) -> tuple[tuple[_Piece, ...], list[tuple[bool, str]]]:
    pieces = []
    while tokens:
        (braces, content), tokens = tokens[0], tokens[1:]
        if not braces:
            pieces.append(_Piece(text=content))
        elif content == "end":
            return tuple(pieces), [(True, "end"), *tokens]
        elif content.startswith("range "):
            body, rest = _parse(tokens)
            if not rest:
                raise PathError("error parsing jsonpath, unclosed range")
            pieces.append(_Piece(path=content[6:].strip(), body=body, loop=True))
            tokens = rest[1:]
        elif content[:1] in ("'", '"'):
            pieces.append(_Piece(text=json.loads('"' + content[1:-1].replace("\\'", "'") + '"')))
        else:
            pieces.append(_Piece(path=content))
    return tuple(pieces), []


def _render(piece: _Piece, data: Any, template: str) -> str:
    if piece.text is not None:
        return piece.text
    found = find(piece.path, data, template)
    if piece.loop:
        return "".join(_render(inner, each, template) for each in found for inner in piece.body)
    return " ".join(_text(each) for each in found)


def find(path: str, data: Any, template: str = "") -> list[Any]:
    """What `path` names in `data`; nothing for absent keys."""
    rest = path[1:] if path[:1] in ("@", "$") else path
    found = [data]
    at = 0
    while at < len(rest):
        if rest[at:] == ".":
            break
        match = _STEP.match(rest, at)
        if match is None:
            raise UnknownForm(f"jsonpath {path!r}")
        found = [inner for each in found for inner in _step(match, each, template)]
        at = match.end()
    return found


def _step(match: re.Match[str], value: Any, template: str) -> list[Any]:
    if match["field"] is not None:
        name = re.sub(r"\\(.)", r"\1", match["field"])
        return [value[name]] if isinstance(value, dict) and name in value else []
    if match["index"] is not None:
        return _at(value, int(match["index"]), template)
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _at(value: Any, index: int, template: str) -> list[Any]:
    if not isinstance(value, list):
        return []
    if not -len(value) <= index < len(value):
        raise PathError(
            f'error executing jsonpath "{template}": Error executing template: array index out of bounds: '
            f"index {index}, length {len(value)}. Printing more information for debugging the template:\n"
            f"\ttemplate was:\n\t\t{template}"
        )
    return [value[index]]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return escape(text) if isinstance(value, dict | list) else text


def escape(text: str) -> str:
    """JSON text as Go writes it: `<`, `>` and `&` never stand bare."""
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")

"""kubectl's `-o go-template=`: texts, fields, `with`, `range`, `if`, `else`, `index . "key"`, and string literals."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from metalfoundry.lab.kubectl.args import Unknown

_ACTION = re.compile(r"\{\{(-?)\s*(.*?)\s*(-?)\}\}", re.DOTALL)
_BLOCK = re.compile(r"(with|range|if)\s+(.+)")
_FIELD = re.compile(r"(?:\.[A-Za-z_]\w*)+")
_INDEX = re.compile(r'index\s+(\S+)\s+(".*")')


@dataclass
class _Node:
    """A text, an expression to print, or a block with its two bodies."""

    word: str
    value: str = ""
    body: list[_Node] = field(default_factory=list)
    other: list[_Node] = field(default_factory=list)


def render(template: str, value: object) -> str:
    """`template` over one object. Raises Unknown for what the lab does not speak."""
    return "".join(_print(_parse(template), value))


def check(template: str) -> None:
    """Raise Unknown for a template that the lab does not speak."""
    _parse(template)


def _parse(template: str) -> list[_Node]:
    root = _Node("root")
    stack = [(root, root.body)]
    place = 0
    for action in _ACTION.finditer(template):
        stack[-1][1].append(_Node("text", template[place : action.start()]))
        place = action.end()
        words = action[2]
        if action[1] or action[3]:
            raise Unknown(f"go-template trim markers in {action[0]}")
        if block := _BLOCK.fullmatch(words):
            node = _Node(block[1], block[2])
            stack[-1][1].append(node)
            stack.append((node, node.body))
        elif words == "else" and len(stack) > 1:
            stack[-1] = (stack[-1][0], stack[-1][0].other)
        elif words == "end" and len(stack) > 1:
            stack.pop()
        else:
            stack[-1][1].append(_Node("print", words))
    if len(stack) > 1:
        raise Unknown(f"go-template without its end: {template}")
    root.body.append(_Node("text", template[place:]))
    return root.body


def _print(nodes: list[_Node], value: object) -> Iterator[str]:
    for node in nodes:
        if node.word == "text":
            yield node.value
            continue
        found = _find(node.value, value)
        if node.word == "print":
            yield _shown(found)
        elif not found:
            yield from _print(node.other, value)
        elif node.word == "range":
            items = found if isinstance(found, list) else list(found.values()) if isinstance(found, dict) else []
            for item in items:
                yield from _print(node.body, item)
        else:
            yield from _print(node.body, found if node.word == "with" else value)


def _find(words: str, value: object) -> object:
    if words == ".":
        return value
    if words.startswith('"'):
        return json.loads(words)
    if index := _INDEX.fullmatch(words):
        held = _find(index[1], value)
        return held.get(json.loads(index[2])) if isinstance(held, dict) else None
    if not _FIELD.fullmatch(words):
        raise Unknown(f"go-template {words!r}")
    for name in words[1:].split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _shown(found: object) -> str:
    if found is None:
        return "<no value>"
    return str(found).lower() if isinstance(found, bool) else str(found)

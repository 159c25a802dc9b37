"""Go's templates, as kubectl's `-o go-template=` and Tinkerbell's Templates use them.

The lab knows texts, fields, literals, parentheses, `with`, `range`, `if`, `else`, `index`, `eq`, `urlquery` and
`printf "%q"`; a caller may add functions. Anything else is UnknownForm.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus

from metalfoundry.lab.clock import UnknownForm

_ACTION = re.compile(r"\{\{(-?)\s*(.*?)\s*(-?)\}\}", re.DOTALL)
_BLOCK = re.compile(r"(with|range|if)\s+(.+)", re.DOTALL)
_FIELD = re.compile(r"\.|(?:\.[A-Za-z_]\w*)+")
_TOKEN = re.compile(r'\s*(\(|\)|"(?:[^"\\]|\\.)*"|[^\s()"]+)')
_SHORT = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_SHORT |= {'"': '\\"', "\\": "\\\\"}

Functions = Mapping[str, Callable[..., Any]]


class Unfilled(Exception):
    """Under `strict`: `expression`, which begins at character `at`, names a `key` that is not there."""

    def __init__(self, expression: str, at: int, key: str) -> None:
        super().__init__(key)
        self.expression, self.at, self.key = expression, at, key


@dataclass
class _Node:
    """A text, an expression to print, or a block with its two bodies."""

    word: str
    value: str = ""
    at: int = 0
    body: list[_Node] = field(default_factory=list)
    other: list[_Node] = field(default_factory=list)


class GoTemplate:
    """A template that was read. Raises UnknownForm for what the lab does not know."""

    def __init__(self, text: str, functions: Functions | None = None, *, strict: bool = False) -> None:
        self._functions = {**_FUNCTIONS, **(functions or {})}
        self._strict = strict
        self._nodes = _parse(text)

    def render(self, value: object) -> str:
        """The template over one value. Where it is `strict`, raises Unfilled for an absent key instead of printing
        `<no value>`.
        """
        return "".join(self._print(self._nodes, value))

    def _print(self, nodes: list[_Node], value: object) -> Iterator[str]:
        for node in nodes:
            if node.word == "text":
                yield node.value
                continue
            result = self._evaluate(node, value)
            if node.word == "print":
                yield _shown(result)
            elif not result:
                yield from self._print(node.other, value)
            elif node.word == "range":
                items = (
                    result if isinstance(result, list) else list(result.values()) if isinstance(result, dict) else []
                )
                for item in items:
                    yield from self._print(node.body, item)
            else:
                yield from self._print(node.body, result if node.word == "with" else value)

    def _evaluate(self, node: _Node, value: object) -> object:
        try:
            result, rest = self._call(_tokens(node.value), value)
        except (KeyError, IndexError, TypeError) as error:
            key = error.args[0] if isinstance(error, KeyError) else node.value
            raise Unfilled(node.value, node.at, key) from error
        if rest:
            raise UnknownForm(f"go-template {node.value!r}")
        if result is None and self._strict:
            raise Unfilled(node.value, node.at, node.value.lstrip("."))
        return result

    def _call(self, tokens: list[str], value: object) -> tuple[Any, list[str]]:
        """Value of the expression at the head of `tokens`, and what follows it."""
        if tokens[:1] and (function := self._functions.get(tokens[0])):
            arguments, rest = [], tokens[1:]
            while rest and rest[0] != ")":
                argument, rest = self._operand(rest, value)
                arguments.append(argument)
            return function(*arguments), rest
        return self._operand(tokens, value)

    def _operand(self, tokens: list[str], value: object) -> tuple[Any, list[str]]:
        head, rest = tokens[0], tokens[1:]
        if head == "(":
            result, rest = self._call(rest, value)
            if rest[:1] != [")"]:
                raise UnknownForm(f"go-template without its ): {' '.join(tokens)}")
            return result, rest[1:]
        if head.startswith('"'):
            return json.loads(head), rest
        if head.isdigit():
            return int(head), rest
        if not _FIELD.fullmatch(head):
            raise UnknownForm(f"go-template {head!r}")
        for name in filter(None, head.split(".")):
            if self._strict and isinstance(value, dict) and name not in value:
                raise KeyError(name)
            value = value.get(name) if isinstance(value, dict) else None
        return value, rest


def _tokens(text: str) -> list[str]:
    tokens = _TOKEN.findall(text)
    if not tokens:
        raise UnknownForm("go-template {{}}")
    return tokens


def _parse(template: str) -> list[_Node]:
    root = _Node("root")
    stack = [(root, root.body)]
    place, trim = 0, ""
    for action in _ACTION.finditer(template):
        text = template[place : action.start()]
        text = text.lstrip() if trim else text
        stack[-1][1].append(_Node("text", text.rstrip() if action[1] else text))
        place, trim, words = action.end(), action[3], action[2]
        if block := _BLOCK.fullmatch(words):
            node = _Node(block[1], block[2], action.start(2) + block.start(2))
            stack[-1][1].append(node)
            stack.append((node, node.body))
        elif words == "else" and len(stack) > 1:
            stack[-1] = (stack[-1][0], stack[-1][0].other)
        elif words == "end" and len(stack) > 1:
            stack.pop()
        else:
            stack[-1][1].append(_Node("print", words, action.start(2)))
    if len(stack) > 1:
        raise UnknownForm(f"go-template without its end: {template}")
    root.body.append(_Node("text", template[place:].lstrip() if trim else template[place:]))
    return root.body


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else value[key] if isinstance(value, list) else None
    return value


def _printf(form: str, value: object) -> str:
    if form != "%q":
        raise UnknownForm(f"go-template printf {form!r}")
    return '"' + "".join(_quoted(char) for char in str(value)) + '"'


def _quoted(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_FUNCTIONS: Functions = {
    "index": _index,
    "printf": _printf,
    "eq": lambda value, other: value == other,
    "urlquery": lambda value: quote_plus(str(value)),
}


def _shown(value: object) -> str:
    if value is None:
        return "<no value>"
    return str(value).lower() if isinstance(value, bool) else str(value)

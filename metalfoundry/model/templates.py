"""Reading a Template's text before Tinkerbell renders it: YAML with Go's `{{ }}` in it."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import yaml

from metalfoundry.model.actions import mapping

_BRACES = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_CONTROL_LINE = re.compile(
    r"^[ \t]*(?:\{\{-?\s*(?:if|else|end|range|with|define|block|template|/\*).*?\}\}[ \t]*)+$", re.M
)
_STAND_IN = re.compile(r"GoBraces(\d+)x")
_LIST_ITEM = re.compile(r"^\s*-\s+")
_FIELD = re.compile(r"^(\s*)(?:-\s+)?(name|image|timeout|command|worker|actions)\s*:\s*(.*?)\s*$")


def tasks(data: str) -> list[Any]:
    """The tasks that the text declares, with their actions; braces stay as they are written.

    Never raises: where the text is no YAML even with the braces taken for words, its lines are read for what can
    be seen (name, image, timeout, command of each action).
    """
    found: list[str] = []

    def stand_in(match: re.Match[str]) -> str:
        found.append(match.group())
        return f"GoBraces{len(found) - 1}x"

    plain = _BRACES.sub(stand_in, _CONTROL_LINE.sub("", data))
    try:
        document = mapping(yaml.safe_load(plain))
    except (yaml.YAMLError, ValueError):
        return _by_lines(data)
    listed = _restored(document.get("tasks"), found)
    return listed if isinstance(listed, list) else []


def _restored(value: Any, found: list[str]) -> Any:
    if isinstance(value, str):
        return _STAND_IN.sub(lambda match: found[int(match.group(1))], value)
    if isinstance(value, list):
        return [_restored(item, found) for item in value]
    if isinstance(value, dict):
        return {_restored(key, found): _restored(item, found) for key, item in value.items()}
    return value


def _by_lines(data: str) -> list[Any]:
    """One unnamed task with every list item under an `actions:` line; good enough to see the last action."""
    actions: list[dict[str, Any]] = []
    inside, depth = False, 0
    for line in data.splitlines():
        field = _FIELD.match(line)
        starts = _LIST_ITEM.match(line)
        indent = len(line) - len(line.lstrip())
        if field and field.group(2) == "actions":
            inside, depth = True, -1
            continue
        if not inside or not line.strip():
            continue
        if starts and depth in {-1, indent}:
            depth = indent
            actions.append({})
        elif starts and indent < depth:
            inside = False
            continue
        if actions and field and (starts is None or indent == depth):
            actions[-1].setdefault(field.group(2), field.group(3).strip("'\""))
        elif actions and starts and indent > depth:
            actions[-1]["command"] = f"{actions[-1].get('command', '')} {_LIST_ITEM.sub('', line).strip()}".strip()
    return [{"name": "", "actions": actions}] if actions else []


_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_TOKEN = re.compile(r'[()|]|"(?:[^"\\]|\\.)*"|`[^`]*`|[^\s()|"`]+')
_WORKER = re.compile(r"""^[^\S\n]*(?:-[^\S\n]+)?["']?worker["']?[^\S\n]*:(.*)$""", re.M)
_MENTIONED = re.compile(r"""\bworker["']?\s*:""")
_REBINDS = ("range", "with", "define", "block")
_UNKNOWN = "GoUnknown"


class Unresolved(Exception):
    """What only Tinkerbell can tell; the text says which expression, or why."""


@dataclass(frozen=True, slots=True)
class Worker:
    """To whom one task is given: `id` as it will be rendered, `written` as it stands in the Template; `perhaps`: only
    where a condition holds."""

    task: str
    id: str
    written: str
    perhaps: bool = False


def workers(data: str, values: Mapping[str, Any]) -> list[Worker]:
    """The agent to which each task will be given, with `values` as the Template will see them.

    Only what renders for certain to one text is taken: keys, paths and `index`. Under an `if`, every branch counts as a
    task. Raises Unresolved where only Tinkerbell can tell.
    """
    written = [match.group(1).strip() for match in _WORKER.finditer(data)]
    text, branches = _rendered(data, values)
    try:
        listed = mapping(_Texts(text).get_single_data()).get("tasks")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Unresolved("its text is no YAML before it is rendered") from error
    tasks = [mapping(task) for task in listed] if isinstance(listed, list) else []
    if not tasks:
        raise Unresolved("its tasks cannot be seen before it is rendered")
    shown = written if len(written) == len(tasks) else [""] * len(tasks)
    found = [_worker(task, line) for task, line in zip(tasks, shown, strict=True)]
    if not branches:
        return found
    # Of two branches YAML keeps one, and nobody knows yet which of them Tinkerbell takes.
    lines = [match.group(1) for match in _WORKER.finditer(text)]
    if len(lines) != len(_MENTIONED.findall(text)) or len(lines) < len(tasks):
        raise Unresolved("it has conditions around its tasks")
    found += [_worker({"worker": _scalar(line)}, line.strip()) for line in lines]
    return [replace(worker, perhaps=True) for worker in found]


def missing_keys(data: str, known: Container[str]) -> list[str]:
    """The keys that the Template names outside of `range`, `with` and the like, and that are not `known`: Tinkerbell
    renders no Template that names one.
    """
    found: dict[str, None] = {}
    depth: list[str] = []
    for match in _ACTION.finditer(data):
        tokens = _TOKEN.findall(match.group(1))
        word = tokens[0] if tokens else ""
        if match.group(1).startswith("/*"):
            continue
        if not any(item in _REBINDS for item in depth):
            for before, token in pairwise(["", *tokens]):
                name = token[1:].partition(".")[0] if token.startswith(".") and before != ")" else ""
                if name and name not in known:
                    found[name] = None
        if word in ("if", *_REBINDS):
            depth.append(word)
        elif word == "end" and depth:
            depth.pop()
    return list(found)


def _worker(task: Mapping[str, Any], written: str) -> Worker:
    value, name = task.get("worker"), str(task.get("name") or "")
    if not isinstance(value, str) or not value or _UNKNOWN in value:
        raise Unresolved(f"the worker of task {name!r} is {written or 'not a plain text'}")
    return Worker(name, value, written or value)


def _scalar(line: str) -> Any:
    try:
        return _Texts(line).get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError):
        return None


class _Texts(yaml.SafeLoader):
    """Every scalar is a text: to YAML 1.1 a MAC of digits alone is a number."""

    def resolve(self, kind: type[yaml.nodes.Node], value: Any, implicit: Any) -> str:
        """The tag of a node that has none of its own."""
        if kind is yaml.nodes.ScalarNode:
            return "tag:yaml.org,2002:str"
        tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        return tag


def _rendered(data: str, values: Mapping[str, Any]) -> tuple[str, bool]:
    """The text with each expression in place that can be resolved, else `GoUnknown`; and whether it branches."""
    out: list[str] = []
    depth: list[str] = []
    last, branches, trimmed = 0, False, False
    for match in _ACTION.finditer(data):
        word = (match.group(1).split() or [""])[0]
        before, last = data[last : match.start()], match.end()
        before = before.lstrip() if trimmed else before
        trimmed = match.group().endswith("-}}")
        out.append(before.rstrip() if match.group().startswith("{{-") else before)
        if word in ("if", *_REBINDS):
            depth.append(word)
        elif word == "end" and depth:
            depth.pop()
        if word in ("define", "block", "template") or (":=" in match.group(1) and word not in _REBINDS):
            raise Unresolved(f"it says {match.group()}")
        if word in ("if", "else", "end", *_REBINDS) or match.group(1).startswith("/*"):
            branches = branches or word in ("if", "else", *_REBINDS)
            continue
        rebound = any(item in _REBINDS for item in depth)
        value = _UNKNOWN if rebound else _value(match.group(1), values)
        if value == _UNKNOWN and _alone(data, match.start(), match.end()):
            raise Unresolved(f"{match.group()} stands alone, and may be whole tasks")
        out.append(value)
    return "".join([*out, data[last:].lstrip() if trimmed else data[last:]]), branches


def _alone(data: str, start: int, end: int) -> bool:
    line = data[data.rfind("\n", 0, start) + 1 : start] + data[end:].split("\n", 1)[0]
    return not line.strip()


def _value(expression: str, values: Mapping[str, Any]) -> str:
    tokens = _TOKEN.findall(expression)
    try:
        value, rest = _expression(tokens, values)
    except Unresolved:
        return _UNKNOWN
    return _UNKNOWN if rest or isinstance(value, (Mapping, list, bool)) or value is None else str(value)


def _expression(tokens: list[str], values: Any) -> tuple[Any, list[str]]:
    """The value of the expression at the head of `tokens`, and what follows it."""
    if not tokens:
        raise Unresolved
    head, rest = tokens[0], tokens[1:]
    if head == "(":
        value, rest = _expression(rest, values)
        if rest[:1] != [")"]:
            raise Unresolved
        rest = rest[1:]
        if rest and rest[0].startswith(".") and len(rest[0]) > 1:
            return _path(value, rest[0]), rest[1:]
        return value, rest
    if head == "index":
        value, rest = _expression(rest, values)
        while rest and rest[0] not in (")", "|"):
            key, rest = _expression(rest, values)
            value = _item(value, key)
        return value, rest
    if head == ".":
        return values, rest
    if head.startswith("."):
        return _path(values, head), rest
    if head[0] in '"`':
        return head[1:-1], rest
    if head.isdecimal():
        return int(head), rest
    raise Unresolved


def _path(value: Any, path: str) -> Any:
    for key in path[1:].split("."):
        value = _item(value, key)
    return value


def _item(value: Any, key: Any) -> Any:
    if isinstance(value, Mapping) and isinstance(key, str):
        if key in value:
            return value[key]
        # Go's field names begin with capitals where the object's own do not (DHCP, MAC).
        same = [item for name, item in value.items() if str(name).lower() == key.lower()]
        if len(same) == 1 and key[:1].isupper():
            return same[0]
    if isinstance(value, list) and isinstance(key, int) and key < len(value):
        return value[key]
    raise Unresolved

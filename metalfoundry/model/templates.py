"""Reading a Template's text before Tinkerbell renders it: YAML with Go's `{{ }}` in it."""

from __future__ import annotations

import re
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

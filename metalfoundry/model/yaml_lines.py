"""YAML as plain text values, each with the line and column it stands at.

Scalars stay the text that was written (null becomes None): YAML 1.1 would turn the MAC 52:54:00:12:34:56 into a
number, the version 24.10 into 24.1 and the word no into False.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

Place = tuple[str | int, ...]


class BrokenYaml(Exception):
    """The text is not YAML: `what`, and where, both counted from 1."""

    def __init__(self, what: str, line: int, column: int) -> None:
        super().__init__(what)
        self.what, self.line, self.column = what, line, column


@dataclass(slots=True)
class LocatedYaml:
    """What a YAML text says. `faults` are keys given twice and the like: where, what, expected."""

    value: Any = None
    marks: dict[Place, tuple[int, int]] = field(default_factory=dict)
    faults: list[tuple[Place, str, str]] = field(default_factory=list)

    def mark(self, place: Place) -> tuple[int, int]:
        """Line and column of `place`, or of the nearest thing around it; both counted from 1."""
        while place and place not in self.marks:
            place = place[:-1]
        return self.marks.get(place, (1, 1))


def broken(error: yaml.YAMLError, text: str) -> BrokenYaml:
    """`error` in plain words, with its line and column."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        what = ", ".join(part for part in (error.context, error.problem) if part)
        return BrokenYaml(what, error.problem_mark.line + 1, error.problem_mark.column + 1)
    position = getattr(error, "position", 0)
    before = text[:position]
    what = f"the character {text[position : position + 1]!r} is not allowed"
    return BrokenYaml(what, before.count("\n") + 1, position - before.rfind("\n"))


def read(text: str) -> LocatedYaml:
    """Read one YAML document; raises BrokenYaml."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise broken(error, text) from error
    marked = LocatedYaml()
    if node is not None:
        marked.marks[()] = _mark(node)
        marked.value = _value(node, (), (), marked)
    return marked


def _mark(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _value(node: yaml.Node, place: Place, above: tuple[yaml.Node, ...], marked: LocatedYaml) -> Any:
    if any(node is other for other in above):
        marked.faults.append((place, "an alias that contains itself", "no such loop"))
        return None
    above = (*above, node)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, place, above, marked)
    if isinstance(node, yaml.SequenceNode):
        values = []
        for index, item in enumerate(node.value):
            marked.marks[(*place, index)] = _mark(item)
            values.append(_value(item, (*place, index), above, marked))
        return values
    return None if node.tag == "tag:yaml.org,2002:null" else str(node.value)


def _mapping(node: yaml.MappingNode, place: Place, above: tuple[yaml.Node, ...], marked: LocatedYaml) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    own: dict[str, Any] = {}
    seen: dict[str, int] = {}
    for key_node, value_node in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            for part in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                found = _value(part, place, above, marked)
                merged = {**(found if isinstance(found, dict) else {}), **merged}
            continue
        if not isinstance(key_node, yaml.ScalarNode):
            marked.faults.append((place, "a key that is a list or a mapping", "a word as key"))
            continue
        key, line = str(key_node.value), _mark(key_node)[0]
        if key in seen:
            what = f"given twice, first in line {seen[key]} and again in line {line}"
            marked.faults.append(((*place, key), what, "each key once"))
        seen[key] = line
        marked.marks[(*place, key)] = _mark(key_node)
        own[key] = _value(value_node, (*place, key), above, marked)
    return {**merged, **own}

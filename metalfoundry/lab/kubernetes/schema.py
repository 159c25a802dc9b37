"""What kube-apiserver does to a custom resource before it stores it: prune, default, validate.

The fields of Tinkerbell's kinds stand in fields.yaml beside this file.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

RELEASES = ("0.21", "0.25")
"""The releases of Tinkerbell whose fields are known; the lab is the first."""

METADATA = frozenset(
    {
        *("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation"),
        *("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations"),
        *("ownerReferences", "finalizers", "managedFields"),
    }
)
_FIELD = re.compile(r"(?P<newer>\+?)(?P<name>[^\[{!]+)(?P<inside>(?:\[\d*\+?\]|\{\})*)(?P<required>!?)")
_FACTS = re.compile(
    r"(?P<type>\w+)(?: in (?P<options>[^=~]+?))?(?: = (?P<default>\S+))?(?P<filled> not empty)?(?: ~ (?P<pattern>.+))?"
)
_FORMATS = {"int32": ("integer", "int32"), "int64": ("integer", "int64"), "time": ("string", "date-time")}
_FORMATS |= {"uri": ("string", "uri")}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`: its title, its path in the object, and whether only `-o wide` shows it."""

    name: str
    path: str
    wide: bool


@dataclass(frozen=True, slots=True)
class Field:
    """What is known of one value. `inside` is what a list or a map holds; `least` and `most` bound its size."""

    type: str
    fields: Mapping[str, Field] = field(default_factory=dict)
    inside: Field | None = None
    required: tuple[str, ...] = ()
    default: Any = None
    options: tuple[str, ...] = ()
    pattern: str = ""
    format: str = ""
    least: int = 0
    most: int | None = None
    together: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Schema:
    """One kind's fields and table columns."""

    root: Field
    columns: tuple[Column, ...]

    def tidy(self, obj: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """A copy without unknown fields and with defaults, and the paths of what was unknown."""
        unknown: list[str] = []
        tidied = _tidy(obj, self.root, "", unknown)
        return tidied, sorted(unknown)

    def faults(self, obj: dict[str, Any]) -> list[str]:
        """One `field: what` for everything the schema forbids."""
        return list(_faults({key: obj[key] for key in obj if key != "metadata"}, self.root, ""))


@cache
def schema_of(group: str, kind: str, release: str = RELEASES[0]) -> Schema | None:
    """The schema of a custom kind; None for what is no custom kind."""
    facts = _table().get(f"{group}/{kind}")
    if facts is None:
        return None
    words = [str(line).split() for line in facts.get("columns", ())]
    columns = tuple(Column(title.upper(), path, bool(wide)) for title, path, *wide in words)
    own = {"apiVersion": "string", "kind": "string", "metadata": "object"}
    own |= {part: facts[part] for part in ("spec", "status")}
    return Schema(_read(own, newer=release != RELEASES[0]), columns)


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("fields.yaml").read_text(encoding="utf-8"))
    return table


def _read(facts: Any, *, newer: bool) -> Field:
    """What fields.yaml says of one value, lists and maps aside."""
    if isinstance(facts, str):
        return _leaf(facts)
    fields, required, bounds = dict[str, Field](), list[str](), dict[str, Any]()
    for key, inner in facts.items():
        match = _FIELD.fullmatch(key)
        if match is None:
            raise ValueError(f"fields.yaml: {key!r} names no field")
        name = match["name"]
        if match["newer"] and not newer:
            continue
        if name == "at most":
            bounds["most"] = inner
        elif name == "together":
            bounds["together"] = tuple(inner.split())
        else:
            fields[name] = _wrapped(_read(inner, newer=newer), match["inside"])
            required += [name] if match["required"] else []
    return Field("object", fields, required=tuple(sorted(required)), **bounds)


def _wrapped(value: Field, inside: str) -> Field:
    for part in reversed(re.findall(r"\[\d*\+?\]|\{\}", inside)):
        least = int(part.strip("[+]") or 0) if part != "{}" else 0
        value = Field("object" if part == "{}" else "array", inside=value, least=least)
    return value


def _leaf(text: str) -> Field:
    match = _FACTS.fullmatch(text)
    if match is None:
        raise ValueError(f"fields.yaml: {text!r} says nothing of a field")
    kind, form = _FORMATS.get(match["type"], (match["type"], ""))
    return Field(
        kind,
        default=yaml.safe_load(match["default"]) if match["default"] else None,
        options=tuple((match["options"] or "").split()),
        pattern=match["pattern"] or "",
        format=form,
        least=1 if match["filled"] else 0,
    )


def _tidy(value: Any, known: Field, path: str, unknown: list[str]) -> Any:
    if isinstance(value, list) and known.type == "array" and known.inside:
        return [_tidy(each, known.inside, f"{path}[{i}]", unknown) for i, each in enumerate(value)]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, dict):
        return copy.deepcopy(value)
    tidied: dict[str, Any] = {}
    others = known.inside if known.type == "object" else None
    for key, inner in value.items():
        at = f"{path}.{key}" if path else key
        part = known.fields.get(key, others)
        if at == "metadata":
            tidied[key] = _metadata(inner, unknown)
        elif part is None:
            unknown.append(at)
        elif inner is not None:
            tidied[key] = _tidy(inner, part, at, unknown)
    for key, part in known.fields.items():
        if key not in tidied and part.default is not None:
            tidied[key] = part.default
    return tidied


def _metadata(value: Any, unknown: list[str]) -> Any:
    if not isinstance(value, dict):
        return value
    unknown.extend(f"metadata.{key}" for key in value if key not in METADATA)
    kept = {key: copy.deepcopy(value[key]) for key in value if key in METADATA and value[key] is not None}
    for words in ("labels", "annotations"):
        if isinstance(kept.get(words), dict):
            kept[words] = {key: "" if each is None else each for key, each in kept[words].items()}
    return kept


def _faults(value: Any, known: Field, path: str) -> Iterator[str]:
    kind = _type(value)
    wanted = ("integer", "string") if known.type == "quantity" else (known.type,)
    if kind == "array" and known.type == "string" and known.format:
        return  # kube-apiserver looks at neither the type of such a list nor at what is in it
    if kind not in wanted:
        types = ",".join(wanted)
        yield f'{path}: Invalid value: "{kind}": {path} in body must be of type {types}: "{kind}"'
    elif isinstance(value, dict):
        yield from _object_faults(value, known, path)
    elif isinstance(value, list):
        if len(value) < known.least:
            yield f"{path}: Invalid value: {len(value)}: {path} in body should have at least {known.least} items"
        for i, each in enumerate(value):
            yield from _faults(each, known.inside or known, f"{path}[{i}]")
    elif fault := _leaf_fault(value, known, path):
        yield fault


def _object_faults(value: dict[str, Any], known: Field, path: str) -> Iterator[str]:
    dot = f"{path}." if path else ""
    for key in known.required:
        if key not in value:
            yield f"{dot}{key}: Required value"
    if known.most is not None and len(value) > known.most:
        yield f"{path}: Too many: {len(value)}: must have at most {known.most} items"
    if known.together and len({bool(value.get(key)) for key in known.together}) > 1:
        yield f'{path}: Invalid value: "object": {" and ".join(known.together)} must both be specified or both be empty'
    for key, inner in value.items():
        if part := known.fields.get(key, known.inside):
            yield from _faults(inner, part, f"{dot}{key}")


def _leaf_fault(value: Any, known: Field, path: str) -> str:
    if isinstance(value, str) and len(value) < known.least:
        return f'{path}: Invalid value: "{value}": {path} in body should be at least {known.least} chars long'
    if known.pattern and isinstance(value, str) and not re.search(known.pattern, value):
        return f"{path}: Invalid value: \"{value}\": {path} in body should match '{known.pattern}'"
    if known.options and value not in known.options:
        offered = ", ".join(f'"{each}"' for each in known.options)
        return f'{path}: Unsupported value: "{value}": supported values: {offered}'
    if known.format in _CHECKS and not _CHECKS[known.format](value):
        return f'{path}: Invalid value: "{value}": {path} in body must be of type {known.format}: "{value}"'
    return ""


def _is_time(text: str) -> bool:
    try:
        return "T" in text and datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "int32": lambda number: -(2**31) <= number < 2**31,
    "date-time": _is_time,
    "uri": lambda text: bool(urlsplit(text).scheme) or text.startswith("/"),
}


def _type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float) and value == value // 1:
        return "integer" if -(2**63) <= value < 2**63 else "number"
    names = {float: "number", str: "string", list: "array", dict: "object"}
    return names[type(value)]

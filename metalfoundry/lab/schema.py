"""What kube-apiserver does to a custom resource before it stores it: prune, default, validate.

The schemas are the CRDs that Tinkerbell ships, in `crds` beside this file.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CRDS = Path(__file__).with_name("crds") / "v0.21"
"""The folder of the CustomResourceDefinitions that the embedded store goes by."""

METADATA = frozenset(
    {
        *("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation"),
        *("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations"),
        *("ownerReferences", "finalizers", "managedFields"),
    }
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`: its title, its path in the object, and whether only `-o wide` shows it."""

    name: str
    path: str
    wide: bool


@dataclass(frozen=True, slots=True)
class Schema:
    """One CRD's structural schema and table columns."""

    root: dict[str, Any]
    columns: tuple[Column, ...]

    def tidy(self, obj: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """A copy without unknown fields and with defaults, and the paths of what was unknown."""
        unknown: list[str] = []
        tidied = _tidy(obj, self.root, "", unknown)
        return tidied, sorted(unknown)

    def faults(self, obj: dict[str, Any]) -> list[str]:
        """One `field: what` for everything the schema forbids."""
        return _faults({key: obj[key] for key in obj if key != "metadata"}, self.root, "")


@cache
def schema_of(group: str, kind: str) -> Schema | None:
    """The schema of a custom kind; None for what is no custom kind."""
    for file in sorted(CRDS.glob(f"{group}_*.yaml")) if group else ():
        crd = yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        if crd["spec"]["names"]["kind"] == kind:
            version = crd["spec"]["versions"][0]
            columns = tuple(
                Column(each["name"].upper(), each["jsonPath"], bool(each.get("priority")))
                for each in version.get("additionalPrinterColumns", ())
            )
            return Schema(version["schema"]["openAPIV3Schema"], columns)
    return None


def _tidy(value: Any, schema: dict[str, Any], path: str, unknown: list[str]) -> Any:
    if isinstance(value, list) and "items" in schema:
        return [_tidy(each, schema["items"], f"{path}[{i}]", unknown) for i, each in enumerate(value)]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, dict) or schema.get("x-kubernetes-preserve-unknown-fields"):
        return copy.deepcopy(value)
    known: dict[str, Any] = schema.get("properties", {})
    others = schema.get("additionalProperties")
    tidied: dict[str, Any] = {}
    for key, inner in value.items():
        at = f"{path}.{key}" if path else key
        if at == "metadata":
            tidied[key] = _metadata(inner, unknown)
        else:
            part = known.get(key, others)
            if not isinstance(part, dict):
                unknown.append(at)
            elif inner is not None or part.get("nullable"):
                tidied[key] = _tidy(inner, part, at, unknown)
    for key, part in known.items():
        if key not in tidied and "default" in part:
            tidied[key] = copy.deepcopy(part["default"])
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


def _faults(value: Any, schema: dict[str, Any], path: str) -> list[str]:
    wanted = schema.get("type")
    seen = _type(value)
    if schema.get("x-kubernetes-int-or-string"):
        wrong = seen not in ("integer", "string")
        wanted = "integer,string"
    else:
        wrong = wanted is not None and seen != wanted and not (wanted == "number" and seen == "integer")
    if wrong:
        return [f'{path}: Invalid value: "{seen}": {path} in body must be of type {wanted}: "{seen}"']
    if isinstance(value, dict):
        return _object_faults(value, schema, path)
    if isinstance(value, list):
        items = schema.get("items", {})
        return [fault for i, each in enumerate(value) for fault in _faults(each, items, f"{path}[{i}]")]
    return _leaf_faults(value, schema, path)


def _object_faults(value: dict[str, Any], schema: dict[str, Any], path: str) -> list[str]:
    known = schema.get("properties", {})
    others = schema.get("additionalProperties")
    dot = f"{path}." if path else ""
    faults = [f"{dot}{key}: Required value" for key in schema.get("required", ()) if key not in value]
    for key, inner in value.items():
        part = known.get(key, others if isinstance(others, dict) else {})
        faults += _faults(inner, part, f"{dot}{key}")
    return faults


def _leaf_faults(value: Any, schema: dict[str, Any], path: str) -> list[str]:
    pattern = schema.get("pattern")
    if pattern and isinstance(value, str) and not re.search(pattern, value):
        return [f"{path}: Invalid value: \"{value}\": {path} in body should match '{pattern}'"]
    options = schema.get("enum")
    if options and value not in options:
        offered = ", ".join(f'"{each}"' for each in options)
        return [f'{path}: Unsupported value: "{value}": supported values: {offered}']
    return []


def _type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return "integer"
    names = {float: "number", str: "string", list: "array", dict: "object"}
    return names[type(value)]

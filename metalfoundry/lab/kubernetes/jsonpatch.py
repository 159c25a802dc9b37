"""JSON patch (without `move` and `copy`) and JSON merge patch as kube-apiserver applies them.

kube-apiserver is looser than RFC 6902: `replace` of an absent key succeeds, `test` with null passes on an
absent key, an index may count from the end, the first part of a path is skipped whatever it is. It is strict where
a parent is absent, where `remove` finds nothing, and where an index is out of range.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

from metalfoundry.lab.kubernetes.errors import BadRequest, BarePatch

_INDEX = re.compile(r"[+-]?[0-9]+")
_ABSENT = object()


def apply_patch(document: Any, operations: Any) -> Any:
    """A changed copy of `document`; raises BarePatch (422) or BadRequest (400), and then nothing was changed."""
    if not isinstance(operations, list) or not all(isinstance(each, dict) for each in operations):
        raise BadRequest("error decoding patch: json: cannot unmarshal into Go value of type []handlers.jsonPatchOp")
    document = copy.deepcopy(document)
    for operation in operations:
        verb = _VERBS.get(operation.get("op") or "")
        path = operation.get("path")
        if verb is None or not isinstance(path, str):
            raise BarePatch(f"unexpected operation {operation!r}")
        document = verb(document, path, operation)
    return document


def merge_patch(document: Any, patch: Any) -> Any:
    """A changed copy of `document` after RFC 7386: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return copy.deepcopy(merged)


def merge_difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The merge patch that makes `after` of `before`."""
    patch: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            if inner := merge_difference(old, value):
                patch[key] = inner
        elif key not in before or not same(old, value):
            patch[key] = value
    return patch


def same(one: Any, other: Any) -> bool:
    """Equality of JSON values: true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _parent(document: Any, path: str) -> tuple[Any, str]:
    parts = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")]
    if len(parts) < 2:
        raise BarePatch(f"no parent for {path!r}")
    node = document
    for part in parts[1:-1]:
        node = _get(node, part)
        if not isinstance(node, dict | list):
            raise BarePatch(f"absent parent in {path!r}")
    return node, parts[-1]


def _index(node: list[Any], key: str, size: int) -> int:
    if not _INDEX.fullmatch(key):
        raise BarePatch(f"not an index: {key!r}")
    index = int(key)
    if not -size <= index < size:
        raise BarePatch(f"index out of range: {key}")
    return index + size if index < 0 else index


def _get(node: Any, key: str) -> Any:
    if isinstance(node, list):
        return node[_index(node, key, len(node))]
    return node.get(key)


def _put(node: Any, key: str, value: Any) -> None:
    if not isinstance(node, list):
        node[key] = value
    elif key == "-":
        node.append(value)
    else:
        node.insert(_index(node, key, len(node) + 1), value)


def _drop(node: Any, key: str) -> None:
    if isinstance(node, list):
        del node[_index(node, key, len(node))]
    elif key in node:
        del node[key]
    else:
        raise BarePatch(f"unable to remove nonexistent key {key!r}")


def _value(operation: dict[str, Any]) -> Any:
    return copy.deepcopy(operation.get("value"))


def _add(document: Any, path: str, operation: dict[str, Any]) -> Any:
    node, key = _parent(document, path)
    _put(node, key, _value(operation))
    return document


def _replace(document: Any, path: str, operation: dict[str, Any]) -> Any:
    if path == "":
        value = _value(operation)
        return value if isinstance(value, dict | list) else document  # the server lets anything else pass
    node, key = _parent(document, path)
    if isinstance(node, list):
        node[_index(node, key, len(node))] = _value(operation)
    else:
        node[key] = _value(operation)
    return document


def _remove(document: Any, path: str, operation: dict[str, Any]) -> Any:
    node, key = _parent(document, path)
    _drop(node, key)
    return document


def _test(document: Any, path: str, operation: dict[str, Any]) -> Any:
    if path == "":
        seen = document
    else:
        node, key = _parent(document, path)
        seen = _get(node, key)
    if not same(seen, operation.get("value")):
        raise BarePatch(f"testing value {path} failed")
    return document


_VERBS: dict[str, Callable[[Any, str, dict[str, Any]], Any]] = {
    "add": _add,
    "replace": _replace,
    "remove": _remove,
    "test": _test,
}

"""One annotation of an object, changed by compare-and-swap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metalfoundry.model.objects import Object


def pointer(key: str) -> str:
    """The annotation `key` as the path of a JSON patch."""
    return "/metadata/annotations/" + key.replace("~", "~0").replace("/", "~1")


def change(
    seen: Object, key: str, value: str | None, given: Mapping[str, str | None] | None = None
) -> list[dict[str, Any]]:
    """Set the annotation to `value`, or remove it (None); empty where it is so already.

    Refused when it is another one than was `seen`, or when one of the `given` ones (None: absent) is not as said.
    """
    known = seen.annotations.get(key)
    if known == value:
        return []
    if not seen.annotations:
        path = "/metadata/annotations"
        return [{"op": "test", "path": path, "value": None}, {"op": "add", "path": path, "value": {key: value}}]
    tests = {key: known, **(given or {})}
    operations = [{"op": "test", "path": pointer(name), "value": text} for name, text in tests.items()]
    if value is None:
        return [*operations, {"op": "remove", "path": pointer(key)}]
    return [*operations, {"op": "add", "path": pointer(key), "value": value}]

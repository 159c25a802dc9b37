"""From plain values to checked keys of an inventory, or faults in plain words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from metalfoundry.model.inventory import OTHERS, InventoryKeys
from metalfoundry.model.inventory_fields import mac
from metalfoundry.model.site_config import Section
from metalfoundry.model.yaml_lines import Place

_SERVER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_GONE = {("site", "sweeper"): ("the sweeper is gone: the guard has taken its place", "guard, with its image")}
_OBJECT = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


OWN = ("hardware", "address", "mac")  # keys that can be one server's alone


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in the file."""

    place: Place
    what: str
    expected: str


def check(data: Any, folder: Path) -> tuple[InventoryKeys | None, list[Fault]]:
    """The checked keys, or None; and every fault: of each key alone, and of keys that do not fit together.

    Relative paths start at `folder`.
    """
    faults = list(_together(data))
    try:
        return InventoryKeys.model_validate(data, context=folder), faults
    except ValidationError as error:
        return None, [_fault(dict(item)) for item in error.errors(include_url=False)] + faults


def _together(data: Any) -> Iterator[Fault]:
    """Judged on the plain values, so that it is said even where single keys are wrong."""
    top = _mapping(data)
    servers = _mapping(top.get("servers"))
    sections = [("defaults",), *(("servers", name) for name in servers)]
    for place in sections:
        keys_ = _mapping(top.get("defaults") if len(place) == 1 else servers[place[1]])
        if keys_.get("workflow") and keys_.get("template"):
            yield Fault((*place, "template"), "given beside `workflow`", "one of the two")
    for key_ in OWN:
        if _mapping(servers.get(OTHERS)).get(key_):
            yield Fault(("servers", OTHERS, key_), "one for many servers", "it under the name of a single server")
    for name in servers:
        if name == OTHERS:
            continue
        if not _SERVER.fullmatch(name) or name == "all":
            what = "a name that stands for all servers" if name == "all" else "a name that cannot be typed as one"
            yield Fault(("servers", name), what, "letters, digits, dots, dashes; a letter or digit first; not `all`")
        elif not _OBJECT.fullmatch(name) and not _mapping(servers[name]).get("hardware"):
            yield Fault(("servers", name), "no name that a Hardware object can have", "`hardware` to say which it is")
    yield from _shared(_mapping(top.get("defaults")), servers)


def _shared(defaults: Mapping[str, Any], servers: Mapping[str, Any]) -> Iterator[Fault]:
    """Two servers that are one: most often a copied block, and then the wrong machine would be wiped."""
    seen: dict[tuple[str, str], str] = {}
    for name, own in servers.items():
        if name == OTHERS:
            continue
        given = {**defaults, **{key: value for key, value in _mapping(own).items() if value is not None}}
        marks = {
            "hardware": str(given.get("hardware") or name),
            "mac": _mac(given.get("mac")),
            "address": f"{given['address']} port {given.get('port') or 22}" if given.get("address") else "",
        }
        for key, mark in marks.items():
            other = seen.setdefault((key, mark), name) if mark else name
            if other != name:
                yield Fault(("servers", name, key), f"the same as of {other}", "another one for each server")


def _mac(value: Any) -> str:
    try:
        return mac(str(value))
    except ValueError:
        return ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _fault(item: dict[str, Any]) -> Fault:
    place: Place = tuple(item["loc"])
    if item["type"] == "extra_forbidden" and place in _GONE:
        return Fault(place, *_GONE[place])
    if item["type"] == "extra_forbidden":
        known = list((_section(place[:-1]) or InventoryKeys).model_fields)
        near = difflib.get_close_matches(str(place[-1]), known, 1, 0.5)
        others = f"one of {', '.join(known)}"
        return Fault(place, "unknown key", f"{near[0]} (the nearest), or {others}" if near else others)
    expected = _expected(place)
    if item["type"] == "missing":
        return Fault(place, "missing", expected)
    cause = item.get("ctx", {}).get("error")
    own = str(cause) if isinstance(cause, ValueError) and str(cause).startswith("found ") else ""
    return Fault(place, own or f"found {_shown(item['input'])}", expected)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    return "nothing" if value is None else repr(value)[:80]


def section_of(annotation: Any) -> type[Section] | None:
    """The section that a key of this type holds, or holds by name."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for part in get_args(annotation) if (found := section_of(part))), None)


def _section(place: Place) -> type[Section] | None:
    section: type[Section] | None = InventoryKeys
    for step in place:
        fields = section.model_fields if section else {}
        section = section_of(fields[str(step)].annotation) if step in fields else section
    return section


def _expected(place: Place) -> str:
    for end in range(len(place), 0, -1):
        section = _section(place[: end - 1])
        if section and place[end - 1] in section.model_fields:
            return section.model_fields[str(place[end - 1])].title or ""
    return "a mapping"

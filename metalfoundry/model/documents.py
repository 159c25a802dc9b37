"""The Workflow of one server: picked from the owner's file, or made from a Template.

Of the owner's file only this one document is ever handed on: applying the whole file would make Tinkerbell open
netboot on every other server in it.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import yaml

from metalfoundry.model.actions import mapping, text
from metalfoundry.model.errors import PreflightError
from metalfoundry.model.yaml_lines import broken

_API = "tinkerbell.org/v1alpha1"
_NAME_LENGTH = 63
_POWER_CYCLING = ("netboot", "isoboot", "iso")  # customboot does what its own list says
_READING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Document:
    """One Workflow to apply. `manifest` has its namespace filled in; `text` is YAML of this document alone, in the
    owner's own words where it was a document of its own (then without a namespace where the owner gave none).
    """

    name: str
    manifest: Mapping[str, Any] = field(hash=False)
    text: str

    @property
    def template_ref(self) -> str:
        """The Template it names."""
        return text(mapping(self.manifest.get("spec")).get("templateRef"))

    @property
    def hardware_ref(self) -> str:
        """The Hardware it names."""
        return text(mapping(self.manifest.get("spec")).get("hardwareRef"))

    @property
    def toggles(self) -> bool:
        """Whether it asks Tinkerbell to open netboot by itself: from its application on, netboot is open."""
        return self._boot.get("toggleAllowNetboot") is True

    @property
    def is_power_cycled(self) -> bool:
        """Whether Tinkerbell itself switches the machine off and on by its BMC, with netboot open before."""
        return self.toggles and text(self._boot.get("bootMode")) in _POWER_CYCLING

    @property
    def _boot(self) -> Mapping[str, Any]:
        return mapping(mapping(self.manifest.get("spec")).get("bootOptions"))

    @property
    def hardware_map(self) -> Mapping[str, str]:
        """The values it hands to the Template."""
        values = mapping(mapping(self.manifest.get("spec")).get("hardwareMap"))
        return {text(key): text(value) for key, value in values.items()}


@dataclass(frozen=True, slots=True)
class _Found:
    manifest: dict[str, Any]
    text: str
    line: int

    @property
    def name(self) -> str:
        return text(mapping(self.manifest.get("metadata")).get("name"))

    @property
    def hardware(self) -> str:
        return text(mapping(self.manifest.get("spec")).get("hardwareRef"))

    @property
    def is_workflow(self) -> bool:
        return self.manifest.get("kind") == "Workflow" and text(self.manifest.get("apiVersion")).startswith(
            "tinkerbell.org/"
        )

    def __str__(self) -> str:
        kind = text(self.manifest.get("kind")) or "document without kind"
        refers = f" (hardwareRef {self.hardware or 'missing'})" if self.is_workflow else ""
        return f"line {self.line}: {kind} {self.name or 'without a name'}{refers}"


def workflow_for(text: str, source: str, hardware: str, name: str | None = None, *, namespace: str) -> Document:
    """The Workflow for `hardware` out of the owner's file, whose text this is; `source` is what messages call it.

    Raises PreflightError: not YAML; no Workflow, or several, with this hardwareRef (`name` picks one of several);
    `name` belongs to another server; another namespace than the site's; no name; disabled.
    """
    found = _documents(text, source)
    mine = [item for item in found if item.is_workflow and item.hardware == hardware]
    listed = "\n".join(str(item) for item in found) or "the file has no documents"
    if not mine:
        what = f"no Workflow in this file has hardwareRef {hardware}"
        raise PreflightError(what, where=source, next="add one, or correct its spec.hardwareRef", evidence=listed)
    picked = [item for item in mine if name in {None, item.name}]
    if not picked:
        what = f"no Workflow {name} in this file has hardwareRef {hardware}"
        names = ", ".join(item.name for item in mine)
        raise PreflightError(what, where=source, next=f"name one of: {names}", evidence=listed)
    if len(picked) > 1:
        what = f"{len(picked)} Workflows in this file have hardwareRef {hardware}"
        next_step = "pick one: " + " or ".join(f"--workflow-name {item.name}" for item in picked)
        if len({item.name for item in picked}) < len(picked):
            next_step = "leave one document of each name in the file"
        raise PreflightError(what, where=source, next=next_step, evidence="\n".join(str(item) for item in picked))
    return _checked(picked[0], source, namespace)


def workflow_from(
    *,
    server: str,
    template: str,
    hardware: str,
    hardware_map: Mapping[str, str],
    namespace: str,
    name: str | None = None,
) -> Document:
    """A Workflow made from a Template; it is called `<server>-<template>`, made safe, where no `name` is given."""
    called = safe_name(name or f"{server}-{template}")
    spec: dict[str, Any] = {"templateRef": template, "hardwareRef": hardware}
    if hardware_map:
        spec["hardwareMap"] = dict(hardware_map)
    manifest = {
        "apiVersion": _API,
        "kind": "Workflow",
        "metadata": {"name": called, "namespace": namespace},
        "spec": spec,
    }
    return Document(called, manifest, _dump(manifest))


def safe_name(wanted: str) -> str:
    """`wanted` as a name that Kubernetes takes: lower case, [a-z0-9-.], at most 63 long (then told apart by a hash)."""
    plain = re.sub(r"[^a-z0-9]*[^a-z0-9.][^a-z0-9]*", "-", wanted.lower())
    plain = re.sub(r"\.+", ".", plain).strip("-.")
    if len(plain) > _NAME_LENGTH:
        digest = hashlib.sha256(wanted.encode()).hexdigest()[:8]
        plain = f"{plain[: _NAME_LENGTH - 9].rstrip('-.')}-{digest}"
    return plain


def _checked(found: _Found, source: str, namespace: str) -> Document:
    where = f"{source}:{found.line}"
    metadata = mapping(found.manifest.get("metadata"))
    if not found.name:
        raise PreflightError(
            "the Workflow has no metadata.name", where=where, next="give it one; it is applied by name"
        )
    given = text(metadata.get("namespace"))
    if given and given != namespace:
        what = f"the Workflow {found.name} is for namespace {given}, and the site's is {namespace}"
        raise PreflightError(what, where=where, next="correct metadata.namespace, or site.namespace in the inventory")
    if mapping(found.manifest.get("spec")).get("disabled") is True:
        what = f"the Workflow {found.name} has spec.disabled: true, so Tinkerbell would never start it"
        raise PreflightError(what, where=where, next="remove spec.disabled")
    manifest = {**found.manifest, "metadata": {**metadata, "namespace": namespace}}
    return Document(found.name, manifest, found.text)


class _Mark(Protocol):
    @property
    def index(self) -> int: ...
    @property
    def line(self) -> int: ...


class _Loader(yaml.SafeLoader):
    """As kubectl reads YAML: no numbers of base 60 (52:54:00:12:34:56 is a MAC), no dates, no key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _as_kubectl() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    number, real, date = (f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp"))
    kept = {
        first: [(tag, pattern) for tag, pattern in known if tag not in {number, real, date}]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    whole = re.compile(r"[-+]?(?:0[0-7_]*|[1-9][0-9_]*|0x[0-9a-fA-F][0-9a-fA-F_]*)$")
    fraction = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?$")
    for first in "-+0123456789.":
        kept[first] = [*kept.get(first, []), (number, whole), (real, fraction)]
    return kept


_Loader.yaml_implicit_resolvers = _as_kubectl()


def _documents(whole: str, source: str) -> tuple[_Found, ...]:
    """The documents of a file: read once for all servers in it, whose runs may begin at the same time."""
    with _READING:
        return _read(whole, source)


@lru_cache(maxsize=4)
def _read(whole: str, source: str) -> tuple[_Found, ...]:
    return tuple(_parsed(whole, source))


def _parsed(whole: str, source: str) -> Iterator[_Found]:
    try:
        bounds = list(_bounds(whole))
        loaded = list(yaml.load_all(whole, Loader=_Loader))
    except yaml.YAMLError as error:
        fault = broken(error, whole)
        where = f"{source}:{fault.line}:{fault.column}"
        raise PreflightError(
            f"this is not YAML: {fault.what}", where=where, next=f"correct line {fault.line}"
        ) from error
    except ValueError as error:
        raise PreflightError(f"this is not YAML: {error}", where=source, next="look for a tag such as !!int") from error
    for (start, end, line), manifest in zip(bounds, loaded, strict=True):
        if not isinstance(manifest, dict):
            continue
        if isinstance(listed := manifest.get("items"), list) and text(manifest.get("kind")).endswith("List"):
            yield from (_Found(item, _dump(item), line) for item in listed if isinstance(item, dict))
            continue
        yield _Found(manifest, _own_words(whole[start:end], manifest), line)


def _bounds(whole: str) -> Iterator[tuple[int, int, int]]:
    """Where each document's text starts and ends, and the line of its first word."""
    start = line = after = 0
    for event in yaml.parse(whole, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.DocumentStartEvent):
            start = _set(event.end_mark).index if event.explicit else after
            line = 0
        elif isinstance(event, yaml.DocumentEndEvent):
            yield start, _set(event.start_mark).index, line
            after = _set(event.end_mark).index
        elif isinstance(event, yaml.NodeEvent) and not line:
            line = _set(event.start_mark).line + 1


def _set(mark: _Mark | None) -> _Mark:
    if mark is None:
        raise yaml.YAMLError("a part of the text has no place in it")
    return mark


def _own_words(part: str, manifest: dict[str, Any]) -> str:
    """The owner's text of one document, where it says alone what it says in its file; else the same written anew."""
    part = part.strip("\n") + "\n"
    try:
        return part if yaml.load(part, Loader=_Loader) == manifest else _dump(manifest)
    except (yaml.YAMLError, RecursionError):
        return _dump(manifest)


def _dump(manifest: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(manifest), sort_keys=False, allow_unicode=True)

"""How kubectl prints objects."""

from __future__ import annotations

import json
from collections.abc import Sequence

import yaml

from metalfoundry.lab.clock import UnknownForm
from metalfoundry.lab.gotemplate import GoTemplate
from metalfoundry.lab.kubectl import jsonpath
from metalfoundry.lab.kubernetes.resources import Kind, of_object
from metalfoundry.lab.kubernetes.schema import Column, schema_of
from metalfoundry.lab.kubernetes.store import Object

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_LEAST, _GAP = 6, 3
"""kubectl's narrowest column and the blanks behind each cell."""
_NAME = Column("NAME", ".metadata.name", False)
_BUILT_IN: dict[str, tuple[Column, ...]] = {
    "pods": (Column("STATUS", ".status.phase", False),),
    "events": (
        Column("TYPE", ".type", False),
        Column("REASON", ".reason", False),
        Column("OBJECT", ".involvedObject.name", False),
        Column("MESSAGE", ".message", False),
    ),
    "deployments": (Column("READY", ".status.readyReplicas", False),),
}


def compact(value: object) -> str:
    """JSON in one line, as Go writes it."""
    return jsonpath.escape(json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")))


def pretty(value: object) -> str:
    """JSON as `kubectl -o json` prints it."""
    return jsonpath.escape(json.dumps(value, sort_keys=True, ensure_ascii=False, indent=4)) + "\n"


def as_list(items: Sequence[Object]) -> Object:
    """The List that kubectl makes of several objects."""
    return {"apiVersion": "v1", "items": list(items), "kind": "List", "metadata": {"resourceVersion": ""}}


def known(form: str) -> str:
    """`form` itself when it can be printed; raises UnknownForm otherwise."""
    if form in ("", "json", "yaml", "name", "wide") or form.startswith("jsonpath="):
        return form
    if form.startswith("go-template="):
        GoTemplate(form.removeprefix("go-template="))
        return form
    raise UnknownForm(f"-o {form}")


def one(value: Object, form: str) -> str:
    """One object or List in `form`: json, yaml, name, go-template=… or jsonpath=…"""
    if form == "json":
        return pretty(value)
    if form == "yaml":
        return str(yaml.dump(value, Dumper=_Dumper, allow_unicode=True, default_flow_style=False, width=float("inf")))
    if form == "name":
        items = value["items"] if value.get("kind") == "List" else [value]
        return "".join(f"{title(item)}\n" for item in items)
    if form.startswith("go-template="):
        return GoTemplate(form.removeprefix("go-template=")).render(value)
    return jsonpath.render(form.removeprefix("jsonpath="), value)


def title(obj: Object) -> str:
    """`hardware.tinkerbell.org/NAME`"""
    kind = of_object(obj["apiVersion"], obj["kind"])
    name = str(obj["metadata"]["name"])
    return kind.title(name) if kind else f"{obj['kind'].lower()}/{name}"


_STR = "tag:yaml.org,2002:str"


class _Dumper(yaml.SafeDumper):
    """YAML as kubectl writes it: texts of several lines as blocks, texts that look like something else in quotes."""

    def text(self, value: str) -> yaml.Node:
        plain: bool = self.resolve(yaml.ScalarNode, value, (True, False)) == _STR  # type: ignore[no-untyped-call]
        style = "|" if "\n" in value else None if plain else '"'
        return self.represent_scalar(_STR, value, style=style)


_Dumper.add_representer(str, _Dumper.text)


class Table:
    """Rows as kubectl aligns them; `full` puts the kind into each name."""

    def __init__(self, kind: Kind, *, wide: bool = False, full: bool = False) -> None:
        schema = schema_of(kind.group, kind.kind)
        columns = schema.columns if schema else _BUILT_IN.get(kind.plural, ())
        self._columns = [_NAME, *(each for each in columns if wide or not each.wide)]
        self._full = full

    def text(self, objects: Sequence[Object]) -> str:
        """The title line and a row for each object."""
        rows = [[column.name for column in self._columns], *(self._row(obj) for obj in objects)]
        widths = [max(_LEAST, *(len(cell) + _GAP for cell in column)) for column in zip(*rows, strict=True)]
        return "".join(
            "".join(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)) + row[-1] + "\n"
            for row in rows
        )

    def _row(self, obj: Object) -> list[str]:
        cells = [" ".join(str(each) for each in jsonpath.find(column.path, obj)) for column in self._columns]
        return [title(obj), *cells[1:]] if self._full else cells

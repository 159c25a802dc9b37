"""JSON Schemas of what tasks print with --json, made from the tables of the docs that list the fields."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.parent / "docs"
Schema = dict[str, Any]
ROW = re.compile(r"^\| (?:`(?P<event>[^`|]+)`)? ?\| `(?P<path>[^`]+)` \| (?P<types>[^|]+) \| ?(?P<text>.*?) ?\|$", re.M)
FIELD = re.compile(r"^\| `(?P<path>[^`]+)` \| (?P<types>[^|]+) \| ?(?P<text>.*?) ?\|$", re.M)


def fields(text: str) -> list[tuple[str, str, str]]:
    """Path, types and meaning of each row of a table of fields."""
    return [(found["path"], found["types"], found["text"]) for found in FIELD.finditer(text)]


def object_of(rows: Iterable[tuple[str, str, str]]) -> Schema:
    """The schema of an object with these fields: `a.b`, `a[].b` for each element, `a.*` for each value.

    A field whose types end with `absent` may be missing.
    """
    whole = _object()
    for path, types, text in rows:
        parent, _, name = path.rpartition(".")
        kinds = types.removesuffix(", absent")
        own: Schema = {"type": kinds.split(", ") if ", " in kinds else kinds}
        if text:
            own["description"] = text
        inside = _at(whole, parent) if parent else whole
        if name == "*":
            inside["additionalProperties"] = own
        else:
            inside["properties"][name] = own
            inside["required"] += [name] if kinds == types else []
    _tidy(whole)
    return whole


def _object() -> Schema:
    return {"type": "object", "properties": {}, "required": []}


def _at(whole: Schema, path: str) -> Schema:
    here = whole
    for name in path.split("."):
        here = here["additionalProperties"] if name == "*" else here["properties"][name.removesuffix("[]")]
        if name.endswith("[]"):
            here = here.setdefault("items", {"type": "object"})
        here.setdefault("properties", {})
        here.setdefault("required", [])
    return here


def _tidy(schema: Schema) -> None:
    """Take out what says nothing."""
    for inner in (*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")):
        if inner:
            _tidy(inner)
    for key in ("properties", "required"):
        if not schema.get(key, True):
            del schema[key]


def section(page: str, title: str) -> Schema:
    """The object of the table under this heading."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return object_of(fields(text.split(f"\n## {title}\n")[1].split("\n## ")[0]))


def several(one: Schema, **beside: Schema) -> Schema:
    """The document for one server, or `servers` with those of several, and `beside` what concerns them all."""
    fields = {"servers": {"type": "array", "items": {"$ref": "#/$defs/one"}}} | beside
    many = {"type": "object", "properties": fields, "required": [*fields]}
    return {"$defs": {"one": one}, "anyOf": [{"$ref": "#/$defs/one"}, many]}


def report() -> Schema:
    """A run's report; `earlier` only where it took up another run."""
    one = object_of(fields((DOCS / "report.md").read_text(encoding="utf-8")))
    one["properties"]["earlier"] = section("json.md", "earlier")
    return several(
        one, **{name: of for name, of in section("json.md", "fleet")["properties"].items() if name != "servers"}
    )


def event() -> Schema:
    """A record: the fields of all, and those of its own event."""
    common, own = (DOCS / "events.md").read_text(encoding="utf-8").split("| event | field | type | what it says |\n")
    kinds = []
    for block in re.split(r"^(?=\| `)", own, flags=re.M)[1:]:
        name = block.split("`")[1]
        rows = [(found["path"], found["types"], found["text"]) for found in ROW.finditer(block)]
        kinds.append({"properties": {"event": {"const": name}} | object_of(rows).get("properties", {})})
        kinds[-1]["required"] = ["event", *(path for path, _, _ in rows)]
    return object_of(fields(common)) | {"anyOf": kinds}


def schemas() -> dict[str, str]:
    """The text of each file of docs/schema, by its name."""
    found: dict[str, Schema] = {
        "report": report(),
        "diagnosis": several(object_of(fields((DOCS / "troubleshoot-json.md").read_text(encoding="utf-8")))),
        "plan": several(section("json.md", "plan")),
        "server": section("json.md", "status")["properties"]["servers"]["items"],
        "event": event(),
    }
    for name in ("error", "fleet", "history", "status", "doctor", "line", "end", "runs", "netboot", "audit", "guard",
                 "power"):  # fmt: skip
        found[name] = section("json.md", name)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {f"{name}.json": json.dumps(head | {"title": name} | found[name], indent=2) + "\n" for name in sorted(found)}


def main() -> None:
    """Write them all."""
    (DOCS / "schema").mkdir(exist_ok=True)
    for name, text in schemas().items():
        (DOCS / "schema" / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

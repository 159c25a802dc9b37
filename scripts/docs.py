"""Writes what the docs repeat of the code: the tables of scenarios, events and inventory keys, and the JSON Schema.

What an event or a field means is kept from the page; a new one gets an empty cell, to be filled in by hand.
"""

from __future__ import annotations

import inspect
import json
import re
import typing
from collections.abc import Callable, Iterator
from pathlib import Path

import metalfoundry
from metalfoundry.commands import rights
from metalfoundry.lab.scenarios import SCENARIOS
from metalfoundry.model import events
from metalfoundry.model.events import Event
from metalfoundry.model.hosts import HostKeyPolicy
from metalfoundry.model.inventory import InventoryKeys
from metalfoundry.model.inventory_errors import section_of
from metalfoundry.model.inventory_reader import schema
from metalfoundry.model.site_config import Section
from scripts import messages, schemas

DOCS = Path(__file__).parent.parent / "docs"
TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
KINDS = [
    kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
]


def scenarios(old: str) -> str:
    """The rows of docs/lab.md."""
    return "".join(f"| `{name}` | {scenario.story} |\n" for name, scenario in SCENARIOS.items())


def events_table(old: str) -> str:
    """The rows of docs/events.md; `old` are those that stand there."""
    meanings: dict[tuple[str, str], str] = {}
    event = ""
    for line in old.splitlines():
        first, field, _, meaning = (cell.strip() for cell in line.strip().strip("|").split("|", 3))
        event = first.strip("`") or event
        meanings[event, field.strip("`")] = meaning
    rows = []
    for kind in KINDS:
        rows.append(f"| `{kind.__name__}` | | | {meanings.get((kind.__name__, ''), '')} |\n")
        for name, hint in typing.get_type_hints(kind).items():
            written = ", ".join(TYPES[each] for each in typing.get_args(hint) or (hint,))
            rows.append(f"| | `{name}` | {written} | {meanings.get((kind.__name__, name), '')} |\n")
    return "".join(rows)


class Key(typing.NamedTuple):
    """One key of the inventory."""

    path: str
    default: str
    expected: str
    meaning: str


def inventory_keys(section: type[Section] = InventoryKeys, above: str = "") -> Iterator[Key]:
    """Every key that may stand in the inventory, in order; `defaults` is named once, without its keys."""
    for name, info in section.model_fields.items():
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        default = "required" if info.is_required() else str(extra.get("$comment") or _plain(info.default))
        yield Key(above + name, default, info.title or "", info.description or "")
        inner = section_of(info.annotation)
        if inner and name != "defaults":
            yield from inventory_keys(inner, f"{above}{name}.{'*.' if name == 'servers' else ''}")


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return " ".join(value) or "none"
    if isinstance(value, HostKeyPolicy):
        return value.value
    return value if isinstance(value, str) else "none"


def inventory_table(old: str) -> str:
    """The rows of docs/inventory.md."""
    return "".join(f"| `{key.path}` | {key.default} | {key.expected} | {key.meaning} |\n" for key in inventory_keys())


def public_names(old: str) -> str:
    """The rows of docs/library.md: each public name, and the first sentence of its docstring."""
    rows = []
    for name in metalfoundry.__all__:
        text = " ".join((inspect.getdoc(getattr(metalfoundry, name)) or "").split("\n\n")[0].split())
        rows.append(f"| `{name}` | {re.split(r'(?<=[.])(?: |$)', text)[0].replace('|', chr(92) + '|')} |\n")
    return "".join(rows)


def rights_table(old: str) -> str:
    """The rows of docs/rights.md."""
    rows = []
    for right in rights.wanted():
        refusing, less = ([f"`{task}`" for task in tasks] for tasks in rights.tasks_with(right))
        rows.append(f"| `{right}` | {', '.join(refusing)} | {', '.join(less)} |\n")
    return "".join(rows)


def schema_text() -> str:
    """The text of docs/schema/inventory.json."""
    return json.dumps(schema(), indent=2) + "\n"


TABLES: dict[str, tuple[str, Callable[[str], str]]] = {
    "lab.md": ("| name | what happens |\n|---|---|\n", scenarios),
    "events.md": ("| event | field | type | what it says |\n|---|---|---|---|\n", events_table),
    "library.md": ("| name | what it is |\n|---|---|\n", public_names),
    "rights.md": (
        "| right | without it these refuse | without it these see or tell less |\n|---|---|---|\n",
        rights_table,
    ),
    "inventory.md": ("| key | default | what may stand there | what it means |\n|---|---|---|---|\n", inventory_table),
}


def written(page: str) -> str:
    """The page as it should be."""
    head, rows = TABLES[page]
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.sub(re.escape(head) + r"((?:\|.*\n)+)", lambda found: head + rows(found[1]), text)


def main() -> None:
    """Replace the tables, and write what is made from them."""
    (DOCS / "schema/inventory.json").write_text(schema_text(), encoding="utf-8")
    for page in TABLES:
        (DOCS / page).write_text(written(page), encoding="utf-8")
    schemas.main()
    messages.main()


if __name__ == "__main__":
    main()

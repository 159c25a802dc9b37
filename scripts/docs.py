"""Writes the tables of the docs that repeat what the code says: the lab's scenarios, and the events with their fields.

What an event or a field means is kept from the page; a new one gets an empty cell, to be filled in by hand.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable
from pathlib import Path

from metalfoundry.lab.scenarios import SCENARIOS
from metalfoundry.model import events
from metalfoundry.model.events import Event
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


TABLES: dict[str, tuple[str, Callable[[str], str]]] = {
    "lab.md": ("| name | what happens |\n|---|---|\n", scenarios),
    "events.md": ("| event | field | type | what it says |\n|---|---|---|---|\n", events_table),
}


def written(page: str) -> str:
    """The page as it should be."""
    head, rows = TABLES[page]
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.sub(re.escape(head) + r"((?:\|.*\n)+)", lambda found: head + rows(found[1]), text)


def main() -> None:
    """Replace the tables, and write what is made from them."""
    for page in TABLES:
        (DOCS / page).write_text(written(page), encoding="utf-8")
    schemas.main()
    messages.main()


if __name__ == "__main__":
    main()

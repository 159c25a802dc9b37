"""`fab inventory.*`: what may stand in an inventory."""

from __future__ import annotations

from invoke.collection import Collection
from invoke.context import Context

from metalfoundry.model.plain_text import json_text
from metalfoundry.ui.output.plain import say
from metalfoundry.ui.tasks.errors import boundary
from metalfoundry.ui.tasks.options import task


@task(name="schema")
def schema(c: Context) -> None:
    """Print the JSON Schema of inventory.yaml.

    Example: fab inventory.schema > inventory.schema.json
    """
    with boundary():
        from metalfoundry.model import inventory_reader

        say(json_text(inventory_reader.schema(), indent=2))


def collection() -> Collection:
    """The tasks as `inventory.*`."""
    return Collection("inventory", schema)

"""A site of many servers, for `fab status`: one machine of the lab, the others are objects in its cluster alone."""

from __future__ import annotations

from pathlib import Path

import yaml

from metalfoundry.lab import fixtures
from metalfoundry.lab.lab import Lab
from metalfoundry.lab.scenarios import scenario
from tests.lab.bench import NAME


def many(lab: Lab, count: int) -> Path:
    """Add servers until there are `count`, each with a Workflow; return the inventory that knows all of them."""
    story = scenario("installs")
    known = yaml.safe_load(lab.inventory.read_text())
    for place in range(1, count):
        metal = fixtures.metal(f"server-{place:03}", place)
        lab.store.create("hardware", fixtures.hardware(metal, story, allow_workflow=True))
        document = fixtures.finished_workflow(metal, story)
        lab.store.create("workflows", document)
        mine = {"hardware": metal.name, "address": metal.ip, "mac": metal.mac}
        known["servers"][metal.name] = mine | {"workflow": known["servers"][NAME]["workflow"]}
    path = lab.folder / "many.yaml"
    path.write_text(yaml.safe_dump(known))
    return path

"""The manual and the example must not fall behind the schema."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from metalfoundry.model import inventory, inventory_errors, inventory_schema, yaml_lines

ROOT = Path(__file__).parents[2]


def rows() -> list[str]:
    return [f"| `{key.path}` | {key.default} | {key.expected} | {key.meaning} |" for key in inventory_errors.manual()]


def test_the_manuals_table_is_the_schema() -> None:
    page = (ROOT / "docs/inventory.md").read_text(encoding="utf-8")
    assert [line for line in page.splitlines() if line.startswith("| `")] == rows()


def test_the_example_shows_every_key() -> None:
    value = yaml_lines.read((ROOT / "inventory.yaml").read_text(encoding="utf-8")).value
    shown: set[str] = set()

    def walk(section: Any, above: str) -> None:
        for name, item in section.items():
            step = "*" if above == "servers." else name
            shown.add(above + step)
            if isinstance(item, dict):
                walk(item, f"{above}{step}.")

    walk(value, "")
    shown |= {path.replace("defaults.", "servers.*.", 1) for path in shown}
    assert {key.path for key in inventory_errors.manual()} == {path for path in shown if not _free(path)}


def _free(path: str) -> bool:
    """A name of the owner's own, or what `defaults` repeats."""
    return path == "servers.*" or path.startswith(("defaults.", "servers.*.hardware_map."))


@pytest.mark.parametrize(
    ("section", "made"),
    [
        (inventory_schema.ServerKeys, inventory.Server),
        (inventory_schema.VerifyKeys, inventory.Verify),
        (inventory_schema.TimeoutKeys, inventory.Timeouts),
        (inventory_schema.SiteKeys, inventory.Site),
        (inventory_schema.HookKeys, inventory.Hooks),
        (inventory_schema.SweeperKeys, inventory.Sweeper),
    ],
)
def test_what_is_loaded_has_the_schemas_keys_and_defaults(section: type[inventory_schema.Section], made: Any) -> None:
    own = {field.name: field for field in fields(made)}
    assert set(section.model_fields) == set(own) - ({"name"} if made is inventory.Server else set())
    for name, info in section.model_fields.items():
        if own[name].default is MISSING or name in {"verify", "hardware", "sweeper"}:
            continue
        default = own[name].default
        assert info.default == getattr(default, "value", default), name

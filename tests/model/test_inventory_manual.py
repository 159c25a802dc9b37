"""The manual and the example must not fall behind the models."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from invoke.context import Context
from jsonschema import Draft202012Validator

from metalfoundry.fab import ns
from metalfoundry.model import inventory_reader, yaml_lines
from metalfoundry.model.errors import InventoryError
from scripts import docs

ROOT = Path(__file__).parents[2]


def test_the_manuals_table_is_what_is_checked() -> None:
    assert (ROOT / "docs/inventory.md").read_text(encoding="utf-8") == docs.written("inventory.md")


def test_the_json_schema_is_what_is_checked() -> None:
    assert (ROOT / "docs/schema/inventory.json").read_text(encoding="utf-8") == docs.schema_text()


JUMP = {"host": "jump.example.org"}


@pytest.mark.parametrize(
    ("site", "server", "fits"),
    [
        ({}, {}, True),
        ({"kubectl": "sudo k3s kubectl", "smee": "http://192.0.2.2:7171"}, {"port": 22, "address": None}, True),
        ({"kubectl": ["k3s", "kubectl"]}, {"host_key": "accept-new", "hardware_map": {"a": "b"}}, True),
        ({}, {"verify": {"cloud_init": True, "commands": ["true"]}, "mac": "00:00:5e:00:53:01"}, True),
        ({"jump": "local"}, {}, True),
        ({}, {"reboot": ["bmc", "person"], "boot_next": "network"}, True),
        ({}, {"reboot": ["ssh", "ssh"]}, False),
        ({}, {"reboot": []}, False),
        ({}, {"reboot": "ssh"}, False),
        ({}, {"reboot": ["ipmi"]}, False),
        ({}, {"boot_next": "disk"}, False),
        ({"jump": "here"}, {}, False),
        ({"jump": {}}, {}, False),
        ({"jump": {"host": "-o"}}, {}, False),
        ({"kubectl": []}, {}, False),
        ({"flux": "on"}, {}, False),
        ({}, {"name": "s"}, False),
        ({}, {"port": 0}, False),
        ({}, {"via": "jumps"}, False),
        ({}, {"host_key": "no"}, False),
        ({}, {"host_key": "learn"}, False),
        ({}, {"workflow": ""}, False),
        ({}, {"verify": {"marker": "relative"}}, False),
    ],
)
def test_the_json_schema_and_the_checks_agree(site: dict[str, Any], server: dict[str, Any], fits: bool) -> None:
    data = {"site": {"jump": JUMP} | site, "servers": {"s": server}, "timeouts": {"boot": "90s", "verify": 9}}
    checker = Draft202012Validator(inventory_reader.schema())
    Draft202012Validator.check_schema(inventory_reader.schema())
    assert checker.is_valid(data) == fits
    with nullcontext() if fits else pytest.raises(InventoryError):
        inventory_reader.of(data)


def test_the_task_prints_the_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    ns["inventory.schema"].body(Context())
    assert json.loads(capsys.readouterr().out) == inventory_reader.schema()


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
    assert {key.path for key in docs.inventory_keys()} == {path for path in shown if not _free(path)}


def _free(path: str) -> bool:
    """A name of the owner's own, or what `defaults` repeats."""
    return path == "servers.*" or path.startswith(("defaults.", "servers.*.hardware_map."))

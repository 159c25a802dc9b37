"""Reads an inventory from a file or from plain values, and tells every fault at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metalfoundry.model import inventory_errors, yaml_lines
from metalfoundry.model.errors import InventoryError
from metalfoundry.model.inventory import OTHERS, Inventory, InventoryKeys, Server
from metalfoundry.model.program import ours
from metalfoundry.model.yaml_lines import Place

ENVIRONMENT = "METALFOUNDRY_INVENTORY"
USUAL = "inventory.yaml"
MINIMAL = """\
site:
  jump: {host: 192.0.2.10, user: ubuntu}
  namespace: tink-system
servers:
  colo-server-01: {workflow: workflows.yaml}
"""


def load(path: str | Path | None = None) -> Inventory:
    """Read and check the inventory at `path`, or at $METALFOUNDRY_INVENTORY, or ./inventory.yaml.

    Raises InventoryError that tells every fault at once, each with its line and column.
    """
    path = Path(path or os.environ.get(ENVIRONMENT) or USUAL)
    text = _text(path)
    try:
        read = yaml_lines.read(text)
    except yaml_lines.BrokenYaml as error:
        where = f"{path}:{error.line}:{error.column}"
        raise InventoryError(
            f"this is not YAML: {error.what}", where=where, next=f"correct line {error.line}"
        ) from error
    return _inventory(read, path.absolute().parent, path)


def of(mapping: Mapping[str, Any], folder: str | Path = "") -> Inventory:
    """Check an inventory that is given as plain values, with the keys of the file; relative paths start at `folder`.

    Raises InventoryError that tells every fault at once.
    """
    return _inventory(yaml_lines.LocatedYaml(mapping), Path(folder).absolute())


def jump_words(text: str) -> dict[str, Any]:
    """`[USER@]HOST[:PORT]`, an IPv6 address in brackets, as the keys of site.jump."""
    user, _, place = text.strip().rpartition("@")
    host, colon, port = place.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        host, port = place, ""
    found: dict[str, Any] = {"host": host.strip("[]")}
    return found | ({"user": user} if user else {}) | ({"port": port} if port else {})


def schema() -> dict[str, Any]:
    """The JSON Schema of inventory.yaml."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | InventoryKeys.model_json_schema()


def _inventory(read: yaml_lines.LocatedYaml, folder: Path, path: Path | None = None) -> Inventory:
    keys, faults = inventory_errors.check(read.value, folder)
    faults += [inventory_errors.Fault(*fault) for fault in read.faults]
    if keys is None or faults:
        faults.sort(key=lambda fault: read.mark(fault.place))
        lines = tuple(
            f"{_dotted(fault.place)}{_at(path, *read.mark(fault.place))}: {fault.what}; expected {fault.expected}"
            for fault in faults
        )
        count = "one fault" if len(lines) == 1 else f"{len(lines)} faults"
        next_step = "correct what is listed; docs/inventory.md explains every key"
        raise InventoryError(f"the inventory has {count}", where=str(path or ""), next=next_step, faults=lines)
    servers = {
        name: Server(**{"hardware": name} | own.over(keys.defaults), name=name) for name, own in keys.servers.items()
    }
    rest = servers.pop(OTHERS, None)
    return Inventory(
        site=keys.site,
        servers=servers,
        rest=rest,
        timeouts=keys.timeouts,
        hooks=keys.hooks,
        path=path and path.absolute(),
        folder=folder,
    )


def _at(path: Path | None, line: int, column: int) -> str:
    return f" ({path}:{line}:{column})" if path else ""


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        new = ours("inventory.new", "--jump", "USER@HOST")
        next_step = f"{new} writes one, --inventory FILE names another; the smallest is:\n\n{MINIMAL}"
        raise InventoryError("there is no inventory", where=str(path), next=next_step) from error
    except OSError as error:
        what = f"the inventory cannot be read: {error.strerror}"
        raise InventoryError(what, where=str(path), next=f"look at it with: ls -ld {path}") from error
    except UnicodeDecodeError as error:
        line = bytes(error.object)[: error.start].count(b"\n") + 1
        raise InventoryError("this is not UTF-8 text", where=f"{path}:{line}", next="save it as UTF-8") from error


def _dotted(place: Place) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.lstrip(".") or "the file"

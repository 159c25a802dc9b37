"""Which servers a word of the command line means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from metalfoundry import Foundry, InventoryError, Journal, UsageError
from metalfoundry.model.inventory_reader import of
from tests.fakes import FakeTransport
from tests.runs.scene import script_reply

NAMES = ["anvil", "colo-1", "colo-2", "colo-10"]
RACKS = {"anvil": {"rack": "a"}, "colo-1": {"rack": "b", "row": "7"}, "colo-2": {"rack": "b"}}  # colo-10: no Hardware


def named(names: str | None, but: str | None = None, **more: Any) -> list[str]:
    inventory = {"site": {"jump": {"host": "192.0.2.1", "user": "ubuntu"}}, "servers": {name: {} for name in NAMES}}
    items = [{"kind": "Hardware", "metadata": {"name": name, "labels": labels}} for name, labels in RACKS.items()]
    transport = FakeTransport()
    transport.on("kubectl get", reply=script_reply({"objects": json.dumps({"kind": "List", "items": items})}))
    chosen = Foundry(of(inventory, ""), transport=transport).servers(names, but=but, **more)
    assert len(transport.said) == bool(more.get("labels"))
    return [server.name for server in chosen]


@pytest.mark.parametrize(
    ("names", "but", "meant"),
    [
        (None, None, NAMES),
        ("all", None, NAMES),
        ("colo-2, anvil,colo-2", None, ["colo-2", "anvil"]),
        ("colo-*", None, NAMES[1:]),
        ("colo-?", None, ["colo-1", "colo-2"]),
        ("all", "colo-1*,anvil", ["colo-2"]),
    ],
)
def test_a_name_a_pattern_and_all(names: str | None, but: str | None, meant: list[str]) -> None:
    assert named(names, but) == meant


@pytest.mark.parametrize(("names", "but"), [("rack-*", None), ("colo", None), ("all", "anvl")])
def test_what_fits_no_server_is_an_error(names: str, but: str | None) -> None:
    with pytest.raises(InventoryError):
        named(names, but)


@pytest.mark.parametrize("empty", ["", " ", ",", {}])
@pytest.mark.parametrize("what", ["names", "but", "labels", "unfinished"])
def test_only_what_is_not_given_means_all(what: str, empty: Any) -> None:
    words: dict[str, Any] = {"names": "all", what: empty}
    with pytest.raises(UsageError, match=f"{what} is empty"):
        named(**words)


def test_an_empty_selection_is_no_selection_of_all() -> None:
    with pytest.raises(UsageError, match="no server is left of 'colo-"):
        named("colo-*", "all")


@pytest.mark.parametrize(
    ("names", "labels", "meant"),
    [
        ("all", {"rack": "b"}, ["colo-1", "colo-2"]),
        ("all", {"rack": "b", "row": "7"}, ["colo-1"]),
        ("colo-2,anvil", {"rack": "b"}, ["colo-2"]),
    ],
)
def test_labels_of_the_hardware_leave_fewer(names: str, labels: dict[str, str], meant: list[str]) -> None:
    assert named(names, labels=labels) == meant


@pytest.mark.parametrize("labels", [{"rack": "c"}, {"shelf": ""}, {"rack": "b", "row": "8"}])
def test_labels_that_nothing_carries_are_an_error(labels: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="no server is left of 'all' of"):
        named("all", labels=labels)


def test_those_that_did_not_end_well_are_known_from_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METALFOUNDRY_STATE", str(tmp_path))
    fleet, single = "20260102T030405Z-fleet.00c0ffee", "20260102T030405Z-anvil-00c0ffee"
    rows = [{"server": name, "verdict": verdict} for name, verdict in
            (("anvil", "provisioned"), ("colo-1", "failed"), ("colo-2", "no end"))]  # fmt: skip
    Journal().save(fleet, {"servers": rows, "not_begun": ["colo-10"]})
    Journal().save(single, {"server": "anvil", "verdict": "failed"})
    assert named("all", unfinished=fleet) == ["colo-1", "colo-2", "colo-10"]
    assert named("all", unfinished=fleet, labels={"row": "7"}) == ["colo-1"]
    assert named("all", unfinished=single) == ["anvil"]
    with pytest.raises(UsageError, match=f"no server is left of 'anvil' of {fleet}"):
        named("anvil", unfinished=fleet)
    with pytest.raises(UsageError, match="there is no run"):
        named("all", unfinished="nothing")

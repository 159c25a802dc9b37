"""Which servers a word of the command line means."""

from __future__ import annotations

import pytest

from metalfoundry import Foundry, InventoryError, UsageError

NAMES = ["anvil", "colo-1", "colo-2", "colo-10"]


def named(names: str | None, but: str = "") -> list[str]:
    inventory = {"site": {"jump": {"host": "192.0.2.1", "user": "ubuntu"}}, "servers": {name: {} for name in NAMES}}
    return [server.name for server in Foundry.of(inventory).servers(names, but=but)]


@pytest.mark.parametrize(
    ("names", "but", "meant"),
    [
        (None, "", NAMES),
        ("all", "", NAMES),
        ("colo-2, anvil,colo-2", "", ["colo-2", "anvil"]),
        ("colo-*", "", NAMES[1:]),
        ("colo-?", "", ["colo-1", "colo-2"]),
        ("all", "colo-1*,anvil", ["colo-2"]),
    ],
)
def test_a_name_a_pattern_and_all(names: str | None, but: str, meant: list[str]) -> None:
    assert named(names, but) == meant


@pytest.mark.parametrize(("names", "but"), [("rack-*", ""), ("colo", ""), ("all", "anvl")])
def test_what_fits_no_server_is_an_error(names: str, but: str) -> None:
    with pytest.raises(InventoryError):
        named(names, but)


def test_an_empty_selection_is_no_selection_of_all() -> None:
    with pytest.raises(UsageError, match="no server is left of 'colo-"):
        named("colo-*", "all")

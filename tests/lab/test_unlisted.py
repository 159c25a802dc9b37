"""Hardware that stands in no inventory: named by `'*'`, installed by a label or by convention, and shown by status."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from metalfoundry import Foundry, InventoryError, PreflightError
from metalfoundry.lab.lab import Lab
from metalfoundry.model.events import CommandStarted
from metalfoundry.model.resources import TEMPLATE_LABEL
from metalfoundry.ui.tasks.status import status
from tests.lab.bench import NAME, SPEED, Ran, is_open

OTHER = "anvil"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab"), speed=SPEED) as lab:
        yield lab


def inventory(lab: Lab, servers: dict[str, Any]) -> Path:
    known = yaml.safe_load(lab.inventory.read_text())
    known["servers"] = servers
    path = lab.folder / "unlisted.yaml"
    path.write_text(yaml.safe_dump(known))
    return path


def label(lab: Lab, **labels: str) -> None:
    obj = lab.store.get("hardware", OTHER)
    obj["metadata"]["labels"] = labels
    lab.store.replace("hardware", obj)


def test_it_is_named_by_the_namespace_and_installed_by_a_label(lab: Lab) -> None:
    with Foundry.load(inventory(lab, {"*": {}, NAME: {"template": "ubuntu-2404"}})) as foundry:
        assert [server.name for server in foundry.servers("all")] == [NAME, OTHER]
        assert [server.name for server in foundry.servers("an*")] == [OTHER]
        assert foundry.servers(OTHER)[0].identity == str(lab.folder / "id_ed25519")
        assert {check.server for check in foundry.doctor()} == {"", NAME, OTHER}
        with pytest.raises(PreflightError, match="neither a Workflow file nor a Template") as caught:
            foundry.plan(OTHER)
        assert TEMPLATE_LABEL in caught.value.next
        rows = {row.server: row.refused for row in foundry.status()}
        assert rows == {NAME: "", OTHER: "no Workflow file or Template is known"}
        label(lab, **{TEMPLATE_LABEL: "ubuntu-2404"})
        assert {row.refused for row in foundry.status()} == {""}
        assert foundry.provision(OTHER).raise_for_error().closed
        with pytest.raises(PreflightError, match="there is no Hardware bellows"):
            foundry.plan("bellows")
    assert lab.machines[OTHER].state == "new"
    assert not is_open(lab, OTHER)
    label(lab)


def test_a_template_of_its_name_is_its_own(lab: Lab) -> None:
    template = lab.store.get("templates", "ubuntu-2404")
    lab.store.create("templates", {"metadata": {"name": OTHER}, "spec": template["spec"]})
    with Foundry.load(inventory(lab, {"*": {}})) as foundry:
        assert "templateRef: anvil" in "".join(step.command for step in foundry.plan(OTHER).steps)
    lab.store.delete("templates", OTHER)


def test_without_the_star_it_is_shown_and_cannot_be_named(
    lab: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    ran = Ran()
    with Foundry.load(inventory(lab, {NAME: {"template": "none"}}), sinks=[ran]) as foundry:
        with pytest.raises(InventoryError):
            foundry.servers(OTHER)
        rows = foundry.status()
        assert [(row.server, row.hardware, row.refused) for row in rows] == [
            (NAME, NAME, "there is no Template none"),
            ("", OTHER, "it is not in the inventory"),
        ]
        assert len(ran.each(CommandStarted)) == 1
        assert [row.server for row in foundry.status([NAME])] == [NAME]
        status(foundry, None, watch=False, probe=False, json=False)
    shown = capsys.readouterr().out
    assert "it is not in the inventory" in shown and OTHER in shown


def test_keys_of_one_server_are_not_given_to_all(lab: Lab) -> None:
    with pytest.raises(InventoryError) as caught:
        Foundry.load(inventory(lab, {"*": {"address": "192.0.2.1", "mac": "00:00:5e:00:53:01"}}))
    assert len(caught.value.faults) == 2
    assert all("one for many servers" in fault for fault in caught.value.faults)

"""Two colleagues with two homes: one provisions, and the other's next look knows the keys and what came of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from metalfoundry import Foundry, Options
from metalfoundry.commands.history import HISTORY
from metalfoundry.commands.published_keys import HOST_KEYS
from metalfoundry.lab.lab import Lab
from metalfoundry.model.events import Notice
from metalfoundry.ui.tasks import published
from metalfoundry.ui.tasks.status import status
from tests.lab.bench import NAME, SPEED, hardware, provision, tune

OTHER = "anvil"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Where the first of them has provisioned one server, and failed at the other."""
    with Lab(tmp_path_factory.mktemp("lab"), speed=SPEED, each={OTHER: "image-missing"}) as lab:
        assert provision(lab, options=Options(reason="new disk")).json["verdict"] == "provisioned"
        assert provision(lab, OTHER).json["exit_code"] == 31
        yield lab


@pytest.fixture
def home(lab: Lab, tmp_path: Path) -> Path:
    """The other one's: the same inventory, and a known_hosts with nothing but the jump host."""
    known = (lab.folder / "known_hosts").read_text().splitlines()
    (tmp_path / "known_hosts").write_text(next(line for line in known if f":{lab.jump.port} " in line) + "\n")
    words = yaml.safe_load(lab.inventory.read_text())
    for keys in (words["site"]["jump"], words["defaults"], *words["servers"].values()):
        if "known_hosts" in keys:
            keys["known_hosts"] = str(tmp_path / "known_hosts")
        if "workflow" in keys:
            keys["workflow"] = str(lab.folder / keys["workflow"])
    (tmp_path / "inventory.yaml").write_text(yaml.safe_dump(words))
    return tmp_path


def events(lab: Lab, name: str = NAME) -> list[dict[str, Any]]:
    about = hardware(lab, name)["metadata"]["uid"]
    found = [one for one in lab.store.list("events") if one["involvedObject"].get("uid") == about]
    return sorted(found, key=lambda one: int(one["metadata"]["resourceVersion"]))


def test_the_other_one_knows_the_keys_without_a_word_and_what_came_of_it(
    lab: Lab, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METALFOUNDRY_STATE", str(home / "state"))
    monkeypatch.setenv("COLUMNS", "200")
    known = (home / "known_hosts").read_text()
    with Foundry.load(home / "inventory.yaml") as foundry:
        rows = {row.server: row for row in foundry.status(probe=True)}
        assert rows[NAME].machine.startswith("Ubuntu")
        last = rows[NAME].last_run
        assert last is not None and (last.verdict, last.exit_code, last.reason) == ("provisioned", 0, "new disk")
        status(foundry, None, watch=False, probe=False, json=False)
        shown = capsys.readouterr().out
        assert "provisioned, " in shown and "failed, " in shown and "last here" not in shown
        (run,) = foundry.history(OTHER)
        assert (run.verdict, run.exit_code) == ("failed", 31) and run.cause and run.started <= run.ended
        assert foundry.plan(NAME).identity.system.startswith("Ubuntu")
    assert (home / "known_hosts").read_text() == known


def test_what_known_hosts_says_wins_and_the_refusal_says_what_is_published(lab: Lab, home: Path) -> None:
    own = f"[127.0.0.1]:{lab.machine(NAME).port}"
    key = next(line.split()[1:] for line in lab.known_hosts().splitlines() if f":{lab.jump.port} " in line)
    with (home / "known_hosts").open("a") as file:
        file.write(f"{own} {' '.join(key)}\n")
    with Foundry.load(home / "inventory.yaml") as foundry:
        report = foundry.provision(NAME)
    assert report.exit_code == 10
    assert "the host key has changed" in str(report.error) and "as its Hardware publishes it" in str(report.error)


def test_plain_ssh_is_fed_by_known_hosts_lines(lab: Lab, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Foundry.load(home / "inventory.yaml") as foundry:
        published.known_hosts(foundry, foundry.servers("all"))
    said = capsys.readouterr()
    assert said.out == f"[127.0.0.1]:{lab.machine(NAME).port} {lab.machine(NAME).host_key()}\n"
    assert said.err.startswith(f"{OTHER}: no host key is published")


def test_history_is_shown_and_is_data(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    with Foundry.load(lab.inventory) as foundry:
        published.history(foundry, foundry.servers("all"), json=True)
        told = json.loads(capsys.readouterr().out)
        assert [(row["server"], len(row["runs"])) for row in told["servers"]] == [(NAME, 1), (OTHER, 1)]
        published.history(foundry, foundry.servers(NAME), json=False)
        assert re.search(r"provisioned +0 +new disk", capsys.readouterr().out)


def test_kubernetes_events_tell_it_too(lab: Lab) -> None:
    told = [one["reason"] for one in events(lab)]
    assert told == ["Claimed", "NetbootOpened", "NetbootClosed", "Provisioned"]
    assert [one["reason"] for one in events(lab, OTHER)][-1] == "ProvisionFailed"
    assert all("@" in one["message"] for one in events(lab))


def test_without_the_right_to_events_the_run_goes_on_and_says_so_once(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", speed=SPEED, servers=(NAME,)) as lab:
        assert lab.door is not None
        lab.door.faults.denied.add(("create", "events"))
        ran = provision(lab)
        assert ran.json["verdict"] == "provisioned"
        notices = [event.text for event in ran.events if isinstance(event, Notice) and "Events" in event.text]
        assert len(notices) == 1 and "rbac.print" in notices[0]
        assert lab.store.list("events") == []


def test_a_new_system_with_another_key_than_the_pinned_one_is_not_provisioned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lab(tmp_path / "lab", speed=SPEED, servers=(NAME,)) as lab:
        machine = lab.machine(NAME)
        tune(lab, server={"host_key": machine.host_key()}, timeouts={"boot": "30s"})
        monkeypatch.setattr("metalfoundry.runs.phases.verify.CERTAIN_SECONDS", 0.5)
        known = (lab.folder / "known_hosts").read_text()
        ran = provision(lab)
        assert ran.json["exit_code"] == 33
        assert "not the pinned one" in str(ran.report and ran.report.error)
        assert (lab.folder / "known_hosts").read_text() == known
        annotations = hardware(lab)["metadata"]["annotations"]
        assert HOST_KEYS not in annotations and json.loads(annotations[HISTORY])[0]["exit_code"] == 33
        tune(lab, server={"host_key": machine.host_key()})
        kept = machine.disk
        assert kept is not None
        monkeypatch.setattr("asyncssh.generate_private_key", lambda *_: kept.host_key)  # the Template hands it over
        assert provision(lab).json["verdict"] == "provisioned"
        assert hardware(lab)["metadata"]["annotations"][HOST_KEYS] == machine.host_key()

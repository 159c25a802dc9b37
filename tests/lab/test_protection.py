"""A protected server in the lab: a single run, a fleet, one that is taken up; and what is shown."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest

from metalfoundry import Declined, Foundry, Options, UsageError
from metalfoundry.commands.claims import RUN, WINDOW
from metalfoundry.commands.command import Effect
from metalfoundry.lab.lab import Lab
from metalfoundry.model.events import CommandStarted
from metalfoundry.model.resources import PROTECTED
from metalfoundry.ui.tasks import looking
from metalfoundry.ui.tasks.status import status
from tests.lab.bench import NAME, SPEED, Ran, call, hardware

OTHER = "anvil"
WHY = "holds the backups"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab"), speed=SPEED) as lab:
        with Foundry.load(lab.inventory) as foundry:
            looking.protect(foundry, foundry.servers(NAME), f" {WHY} ")
        yield lab


def test_nothing_is_written_for_it(lab: Lab) -> None:
    ran = Ran()
    before = {name: hardware(lab, name) for name in (NAME, OTHER)}
    with Foundry.load(lab.inventory, sinks=[ran]) as foundry:
        report = foundry.provision(NAME)
        assert (report.exit_code, report.netboot.closed) == (12, True)
        assert WHY in str(report.error)
        with pytest.raises(Declined, match=WHY):
            foundry.plan(NAME)
        with pytest.raises(Declined, match=f"{NAME} is protected") as caught:
            foundry.provision_many([OTHER, NAME])
        assert f"--except {NAME}" in caught.value.next
        with pytest.raises(Declined):
            foundry.open_netboot(NAME, "by hand")
    said = [event for event in ran.events if isinstance(event, CommandStarted)]
    assert {event.effect for event in said} == {Effect.READ.value}
    assert {name: hardware(lab, name) for name in (NAME, OTHER)} == before
    assert lab.store.list("workflows") == []


def test_a_run_on_it_is_not_taken_up(lab: Lab) -> None:
    before = hardware(lab)
    held = copy.deepcopy(before)
    held["metadata"]["annotations"] |= {RUN: "run-1", WINDOW: "{}"}
    lab.store.replace("hardware", held)
    with Foundry.load(lab.inventory) as foundry:
        assert foundry.provision(NAME, Options(resume=True)).exit_code == 12
    assert hardware(lab)["metadata"]["annotations"][RUN] == "run-1"
    back = hardware(lab)
    back["metadata"]["annotations"] = before["metadata"]["annotations"]
    lab.store.replace("hardware", back)


def test_it_is_shown_and_taken_away_by_who_types_its_name(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    refused = call(lab, "provision", f"{NAME},{OTHER}", "--yes")
    assert (refused.returncode, WHY in refused.stderr) == (12, True)
    with Foundry.load(lab.inventory) as foundry:
        servers = foundry.servers("all")
        status(foundry, servers, watch=False, probe=False, json=False)
        assert WHY in capsys.readouterr().out
        with pytest.raises(UsageError):
            looking.protect(foundry, servers, " ")
        with pytest.raises(Declined, match="this needs a confirmation"):
            looking.unprotect(foundry, servers, ask=True)
        assert PROTECTED in hardware(lab)["metadata"]["annotations"]
        looking.unprotect(foundry, servers, ask=False)
        assert capsys.readouterr().out == f"{NAME}: is no longer protected\n{OTHER}: was not protected\n"
    assert PROTECTED not in hardware(lab)["metadata"].get("annotations", {})

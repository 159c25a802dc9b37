"""Many servers at once in the lab: over one connection, by one pair of watches; and a canary that fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from metalfoundry import Foundry
from metalfoundry.lab.lab import Lab
from metalfoundry.lab.ssh.server import JumpHost
from metalfoundry.model.events import CommandStarted
from metalfoundry.runs.fleet import Policy
from tests.lab.bench import SPEED, Ran, clean, hardware, is_open

NAMES = [f"colo-{number:02d}" for number in range(12)]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path, speed=SPEED, servers=NAMES) as lab:
        yield lab


def test_twelve_servers_at_once_share_one_connection_and_one_pair_of_watches(lab: Lab) -> None:
    before = {name: hardware(lab, name) for name in NAMES}
    ran = Ran()
    with Foundry.load(lab.inventory, sinks=[ran]) as foundry:
        fleet = foundry.provision_many(foundry.servers("all"), policy=Policy(parallel=12, canary=0))
        verdicts = {report.server: (report.verdict, report.closed, str(report.error)) for report in fleet}
    assert verdicts == dict.fromkeys(NAMES, ("provisioned", True, "None"))
    assert all(clean(lab, before[name], name) for name in NAMES)
    assert isinstance(lab.jump, JumpHost)
    assert (lab.jump.accepted, lab.jump.sessions_refused) == (1, 0)
    said = [event.text for event in ran.events if isinstance(event, CommandStarted)]
    assert [text.split()[2].split(".")[0] for text in sorted(said) if " -w " in text.splitlines()[0]] == [
        "hardware",
        "workflows",
    ]
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith(("watch-", "run-", "fleet"))]
    assert left == []


def test_where_the_canary_fails_no_other_server_is_touched(tmp_path: Path) -> None:
    with Lab(tmp_path, speed=SPEED, servers=NAMES[:4], each={NAMES[0]: "image-missing"}) as lab:
        before = {name: hardware(lab, name) for name in NAMES[1:4]}
        with Foundry.load(lab.inventory) as foundry:
            fleet = foundry.provision_many(foundry.servers("all"))
            assert [(report.server, report.exit_code) for report in fleet] == [(NAMES[0], 31)]
        assert (fleet.stopped, fleet.not_begun) == ("canary", NAMES[1:4])
        assert {name: hardware(lab, name) for name in NAMES[1:4]} == before
        assert [one["metadata"]["name"] for one in lab.store.list("workflows")] == [f"{NAMES[0]}-ubuntu"]
        assert not is_open(lab, NAMES[0])

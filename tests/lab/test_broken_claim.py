"""A run whose server goes to somebody else while it goes on: broken, taken, or installed before it was claimed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from metalfoundry import Foundry, Options
from metalfoundry.lab.kubernetes.api_server import MemoryStore
from metalfoundry.lab.lab import Lab
from metalfoundry.model.errors import ClaimedError
from metalfoundry.model.events import MachineSeen, Notice, PhaseStarted, Record, WindowChanged
from metalfoundry.runs.options import Identity
from metalfoundry.ui.tasks import provision as task
from tests.lab.bench import NAME, SPEED, Ran, hardware, is_open, provision, tune, workflow

OTHER = "20990101T000000Z-colo-server-01-deadbeef"


def test_the_runner_stops_with_20_and_says_by_whom(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", "dead", SPEED, servers=[NAME]) as lab, ThreadPoolExecutor(1) as pool:
        tune(lab, timeouts={"netboot": "60s"})
        broken = []

        def breaker(record: Record) -> None:
            if isinstance(record.event, WindowChanged) and record.event.state == "open":
                broken.append(pool.submit(_break, lab, record.run))

        ran = provision(lab, at=breaker)
        broken[0].result(20)
        assert isinstance(ran.json["error"], dict)
        assert ran.json["exit_code"] == 20, ran.json["error"]
        assert ran.report is not None and isinstance(ran.report.error, ClaimedError)
        assert "broken by" in ran.json["error"]["what"]
        assert "rack move" in ran.json["error"]["what"]
        assert not is_open(lab)
        assert "metalfoundry.dev/run" not in hardware(lab)["metadata"]["annotations"]
        assert not any(isinstance(event, MachineSeen) and "HookOS" in event.system for event in ran.events)


def test_at_release_the_server_of_another_run_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Lab(tmp_path / "lab", speed=SPEED, servers=[NAME]) as lab:

        def taker(record: Record) -> None:
            if isinstance(record.event, PhaseStarted) and record.event.title == "Release":
                taken = hardware(lab)
                taken["metadata"]["annotations"]["metalfoundry.dev/run"] = OTHER
                taken["spec"]["interfaces"][0]["netboot"]["allowPXE"] = True
                lab.store.replace("hardware", taken)

        ran = provision(lab, at=taker)
        assert ran.report is not None
        assert (ran.json["exit_code"], ran.json["netboot"]["closed"]) == (0, False), ran.json["error"]
        assert workflow(lab) is not None and is_open(lab)
        assert hardware(lab)["metadata"]["annotations"]["metalfoundry.dev/run"] == OTHER
        assert any(OTHER in event.text for event in ran.each(Notice) if isinstance(event, Notice))
        capsys.readouterr()
        task._tell(ran.report, None, False)
        assert "netboot is open" in capsys.readouterr().out


def test_who_was_asked_about_another_system_than_there_is_now_does_not_claim(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", speed=SPEED, servers=[NAME]) as lab:
        assert isinstance(lab.store, MemoryStore)
        lab.store.merge("hardware", NAME, {"metadata": {"annotations": {"note": "there are annotations already"}}})
        colleague: list[Ran] = []
        ran = provision(lab, options=Options(confirm=lambda identity: _meanwhile(lab, colleague, identity)))
        assert colleague[0].json["exit_code"] == 0
        assert (ran.json["exit_code"], ran.json["netboot"]["closed"]) == (20, True)
        assert "another run has had colo-server-01" in ran.json["error"]["what"]
        assert lab.machine(NAME).wiped == 1
        assert provision(lab).json["exit_code"] == 0


def _meanwhile(lab: Lab, colleague: list[Ran], identity: Identity) -> None:
    colleague.append(provision(lab))


def _break(lab: Lab, run: str) -> None:
    with Foundry.load(lab.inventory) as foundry:
        foundry.break_claim(NAME, run, "rack move")

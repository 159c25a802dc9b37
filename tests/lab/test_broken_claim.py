"""`fab netboot.break` while the run that is broken goes on elsewhere."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from metalfoundry import Foundry
from metalfoundry.lab.lab import Lab
from metalfoundry.model.errors import ClaimedError
from metalfoundry.model.events import MachineSeen, Record, WindowChanged
from tests.lab.bench import NAME, SPEED, hardware, is_open, provision, tune


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


def _break(lab: Lab, run: str) -> None:
    with Foundry.load(lab.inventory) as foundry:
        foundry.break_claim(NAME, run, "rack move")

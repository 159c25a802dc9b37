"""`fab doctor` in the lab: each check fails for its reason, and passes once its remedy was done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from metalfoundry import CheckState, Foundry
from metalfoundry.commands.guard_cluster import NAME as GUARD
from metalfoundry.lab.lab import Lab
from metalfoundry.model.events import CommandStarted
from metalfoundry.transport.clock import SystemClock
from metalfoundry.ui.tasks.doctor import doctor
from tests.lab.bench import NAME, SPEED, Ran
from tests.lab.doctor_cases import CASES, DOC, found, page
from tests.lab.test_json import check as fits

UNSEEN_IN_THE_LAB = {"bmc"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab"), speed=SPEED, servers=[NAME]) as lab:
        yield lab


@pytest.mark.parametrize("number", sorted({case.together for case in CASES}))
def test_a_check_fails_for_its_reason_and_passes_after_its_remedy(lab: Lab, number: int) -> None:
    cases = [case for case in CASES if case.together == number]
    for case in cases:
        case.spoil(lab)
    seen = found(lab)
    failed = {name for name, check in seen.items() if check.state is CheckState.FAILED}
    assert {case.check for case in cases} <= failed, {name: seen[name].what for name in failed}
    for case in cases:
        assert case.step in seen[case.check].next
        case.mend(lab)
    after = found(lab)
    assert {case.check: after[case.check].state for case in cases} == {case.check: "passed" for case in cases}


def test_ten_servers_in_five_seconds_and_nothing_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"colo-{number:02d}" for number in range(10)]
    ran, clock = Ran(), SystemClock()
    with Lab(tmp_path, speed=SPEED, servers=names) as lab, Foundry.load(lab.inventory, sinks=[ran]) as foundry:
        begun = clock.now().mono
        checks = foundry.doctor()
        seconds = clock.now().mono - begun
        assert {check.check for check in checks if check.state is not CheckState.PASSED} == UNSEEN_IN_THE_LAB
        assert {check.server for check in checks} == {"", *names}
        said = [event for event in ran.events if isinstance(event, CommandStarted)]
        assert {event.effect for event in said} == {"read"}
        assert len([event for event in said if event.host == foundry.inventory.site.jump.host]) == 2
        assert doctor(foundry, foundry.servers(names[0]), all=False, json=True) == 0
        shown = json.loads(capsys.readouterr().out)
        fits("doctor", shown)
        assert shown["failed"] == 0
    assert seconds < 5


def test_where_the_jump_host_is_not_reached_the_rest_is_not_looked_at(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    (case,) = (case for case in CASES if case.check == "jump-host")
    case.spoil(lab)
    with Foundry.load(lab.inventory) as foundry:
        assert doctor(foundry, foundry.servers(None), all=False, json=False) == 10
    case.mend(lab)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "site: 3 passed, 1 failed, 14 not looked at"
    assert lines[1].startswith("  ✗ jump-host")
    assert lines[2].startswith("      now:   ")


def test_a_guard_in_the_cluster_without_a_pod_is_no_guard(lab: Lab) -> None:
    seen = []
    for pods in (0, 1):
        lab.store.create("deployments", {"metadata": {"name": GUARD}, "status": {"readyReplicas": pods}})
        seen.append(found(lab)["guard"])
        lab.store.delete("deployments", GUARD)
    assert [check.state for check in seen] == [CheckState.FAILED, CheckState.PASSED]
    assert seen[0].what == "the guard in the cluster has 0 pods ready"


def test_the_page_is_made_of_the_cases() -> None:
    assert DOC.read_text(encoding="utf-8") == page(), "python -m tests.lab.doctor_cases"

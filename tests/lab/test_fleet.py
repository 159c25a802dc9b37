"""Many servers at once in the lab: over one connection, by one pair of watches; and a canary that fails."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from metalfoundry import Foundry
from metalfoundry.lab.lab import Lab
from metalfoundry.lab.ssh.server import JumpHost
from metalfoundry.model.events import CommandStarted
from metalfoundry.runs.fleet import Policy
from metalfoundry.ui.tasks.errors import SAME_WISH
from tests.lab.bench import SPEED, Ran, call, clean, hardware, is_open, start, tune
from tests.waiting import until

NAMES = [f"colo-{number:02d}" for number in range(12)]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path, speed=10, servers=NAMES) as lab:  # no installation is over before all twelve have closed netboot
        tune(lab, timeouts=dict.fromkeys(("netboot", "install", "boot", "verify"), "90s"), name=NAMES[0])
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
    assert sum("selfsubjectrulesreviews" in text.lower() for text in said) <= 3  # surveys: for the first, for the rest
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


def test_each_that_fails_in_a_way_of_its_own_is_told_and_closed_and_the_others_are_installed(tmp_path: Path) -> None:
    ways = {
        "action-fails": "wrong-partition",
        "image-missing": "action-image",
        "old-system-returns": "old-system",
        "wrong-agent-id": "to 00:00:5e:00:53:ad",
        "wrong-host-key": "host key has changed",
    }
    names = [*ways, *NAMES[:2]]
    with Lab(tmp_path, speed=SPEED, servers=names, each={name: name for name in ways}) as lab:
        before = {name: hardware(lab, name) for name in names}
        with Foundry.load(lab.inventory) as foundry:
            fleet = foundry.provision_many(foundry.servers("all"), policy=Policy(canary=0, keep_going=True))
            list(fleet)
        told = fleet.to_json()
        assert fleet.unfinished == list(ways)
        assert all(report.closed in (True, None) for report in fleet.reports.values())
        assert all(clean(lab, before[name], name) for name in names)
    causes = {server: group["cause"] for group in told["causes"] for server in group["servers"]}
    assert len(told["causes"]) == len(ways)
    assert [name for name, words in ways.items() if words not in causes[name]] == [], causes
    assert (told["verdict"], told["exit_code"], told["not_begun"]) == ("failed", 50, [])


def test_what_a_killed_client_leaves_is_closed_and_can_be_taken_up_by_its_record(tmp_path: Path) -> None:
    names = NAMES[:4]
    with Lab(tmp_path, speed=SPEED, servers=names, scenario="slow") as lab:
        program = start(lab, "provision", "all", "--yes", "--no-canary", "--json")
        until(lambda: all(lab.machine(name).state != "old" for name in names))
        program.kill()
        program.communicate(timeout=30)
        until(lambda: not any(is_open(lab, name) for name in names))
        (killed,) = [run for run in json.loads(call(lab, "runs", "--json").stdout)["runs"] if run["servers"]]
        assert (killed["servers"], killed["verdict"]) == (names, "no end")
        words = ("--retry-failed", killed["run"], "--resume", "--yes", "--no-canary", "--json")
        done = call(lab, "provision", "all", *words)
        shown = json.loads(done.stdout)
        assert [(row["server"], row["verdict"], bool(row["resumes"])) for row in shown["servers"]] == [
            (name, "provisioned", True) for name in names
        ], done.stderr
        assert not any(is_open(lab, name) for name in names)


def test_ctrl_c_ends_all_that_run_and_begins_no_other(tmp_path: Path) -> None:
    with Lab(tmp_path, speed=SPEED, servers=NAMES[:4], scenario="agent-silent") as lab:
        before = {name: hardware(lab, name) for name in NAMES[:4]}
        program = start(lab, "provision", "colo-*", "--yes", "--no-canary", "--parallel", "2", "--json")
        until(lambda: all(is_open(lab, name) for name in NAMES[:2]))
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=60)
        assert program.returncode == 130, err
        shown = json.loads(out)
        assert [(row["server"], row["verdict"], row["netboot"]["closed"]) for row in shown["servers"]] == [
            (name, "interrupted", True) for name in NAMES[:2]
        ]
        assert shown["not_begun"] == NAMES[2:4]
        assert "left alone: colo-02, colo-03 (you interrupted)" in err
        assert all(clean(lab, before[name], name) for name in NAMES[:4])
        told = call(lab, "report", shown["run"]).stdout
        assert "4 servers  interrupted after" in told
        assert "left alone: colo-02, colo-03" in told
        assert call(lab, "report", shown["run"], "--html", "-").stdout.count('<div class="track fleet"') == 2
        assert json.loads(call(lab, "report", shown["run"], "--json").stdout)["causes"] == shown["causes"]


def test_a_second_ctrl_c_leaves_at_once_and_says_what_may_be_open(tmp_path: Path) -> None:
    with Lab(tmp_path, speed=SPEED, servers=NAMES[:2], scenario="agent-silent") as lab:
        program = start(lab, "provision", "all", "--yes", "--no-canary")
        until(lambda: all(is_open(lab, name) for name in NAMES[:2]))
        lab.jump.freeze()
        program.send_signal(signal.SIGINT)
        time.sleep(2 * SAME_WISH[signal.SIGINT])  # a person's second is no echo of the first
        program.send_signal(signal.SIGINT)
        _, err = program.communicate(timeout=30)
        lab.jump.thaw()
        assert program.returncode == 40, err
        assert all(f"netboot of {name} is not confirmed closed" in err for name in NAMES[:2])

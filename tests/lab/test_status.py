"""`fab status`: one command for the whole site, what the machines are, and changes as they come."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from metalfoundry import Foundry
from metalfoundry.commands.queue import stand
from metalfoundry.lab import fixtures
from metalfoundry.lab.lab import Lab
from metalfoundry.lab.scenarios import scenario
from metalfoundry.model.events import CommandEnded, CommandStarted
from metalfoundry.model.resources import Hardware
from metalfoundry.runs.status import Row
from tests.lab.bench import NAME, SPEED, Ran, call, provision, start, tune
from tests.lab.rows import many
from tests.lab.test_json import check


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path / "lab", speed=SPEED) as one:
        yield one


def test_a_hundred_servers_cost_one_remote_command(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", servers=[NAME]) as lab:
        ran = Ran()
        with Foundry.load(many(lab, 100), sinks=[ran]) as foundry:
            rows = foundry.status()
        assert len(ran.each(CommandStarted)) == 1
        assert len(rows) == len({row.workflow for row in rows}) == 100
        assert [row.state for row in rows] == ["", *["SUCCESS"] * 99]
        assert {row.netboot for row in rows} == {"closed"}


def test_a_row_tells_whose_window_it_is_and_since_when(fresh: Lab) -> None:
    with Foundry.load(fresh.inventory) as foundry:
        run = foundry.open_netboot(NAME, "a try")
        row = foundry.status([foundry.inventory.server(NAME)])[0]
        foundry.close_netboot(NAME)
        assert (row.netboot, row.run, row.expired) == ("open", run, False)
        assert "@" in row.holder
        assert datetime.fromisoformat(row.until) > datetime.now().astimezone() + timedelta(minutes=5)


def test_a_row_tells_who_waits_for_the_server_in_turn(fresh: Lab) -> None:
    with Foundry.load(fresh.inventory) as foundry:
        for run, holder in (
            ("20260102T030405Z-anvil-7f3a9c", "kevin@laptop"),
            ("20260102T030406Z-anvil-7f3a9d", "ci@x"),
        ):
            now = datetime.now().astimezone()
            line = stand(Hardware.of(fresh.store.get("hardware", NAME)), run, holder, now)
            fresh.store.patch("hardware", NAME, line)
        row = foundry.status([NAME])[0]
    assert [place.holder for place in row.waiting] == ["kevin@laptop", "ci@x"]
    assert "kevin@laptop, ci@x" in call(fresh, "status").stdout
    check("status", json.loads(call(fresh, "status", "--json").stdout))


def test_since_is_the_last_sign_of_the_workflow(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", "action-fails", speed=SPEED) as lab:
        provision(lab)
        with Foundry.load(lab.inventory) as foundry:
            row = foundry.status([foundry.inventory.server(NAME)])[0]
        assert (row.state, row.action) == ("FAILED", "write-netplan")
        made = lab.store.get("workflows", f"{NAME}-ubuntu")["metadata"]["creationTimestamp"]
        passed = datetime.fromisoformat(row.since) - datetime.fromisoformat(made)
        assert timedelta(0) <= passed < timedelta(minutes=5)


@pytest.mark.parametrize(
    ("story", "words"),
    [
        ("installs", "Debian GNU/Linux 11 (bullseye) (colo-server-01)"),
        ("already-in-hook-ssh", "HookOS"),
        ("wrong-host-key", "its host key is not the known one"),
    ],
)
def test_a_probe_says_what_the_machine_is(tmp_path: Path, story: str, words: str) -> None:
    with Lab(tmp_path / "lab", story, servers=[NAME]) as lab, Foundry.load(lab.inventory) as foundry:
        assert [row.machine for row in foundry.status(probe=True)] == [words]
        assert [row.machine for row in foundry.status()] == [""]


def test_probes_of_silent_machines_end_in_three_seconds_and_run_side_by_side(tmp_path: Path) -> None:
    """Eight servers at whose port something takes connections and says nothing."""
    names = [f"mute-{number}" for number in range(8)]
    with Lab(tmp_path / "lab", servers=names) as lab, ExitStack() as stack:
        for name in names:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            tune(lab, name=name, server={"port": listener.getsockname()[1]})
        ran = Ran()
        with Foundry.load(lab.inventory, sinks=[ran]) as foundry:
            rows = foundry.status(probe=True)
        assert {row.machine for row in rows} == {"silent"}
        looks = [record for record in ran.records if record.server]
        begun = [record.time for record in looks if isinstance(record.event, CommandStarted)]
        ended = [record.time for record in looks if isinstance(record.event, CommandEnded)]
        assert len(begun) == len(ended) == 8
        assert max(begun) < min(ended)
        assert (max(ended) - min(begun)).total_seconds() < 8 * 3.0 / 2


def test_the_last_result_here_stands_in_the_table_and_in_json(fresh: Lab) -> None:
    done = call(fresh, "provision", NAME, "--yes", "--json")
    run = json.loads(done.stdout)["run"]
    rows = json.loads(call(fresh, "status", "--json").stdout)["servers"]
    assert {row["server"]: row["last"] for row in rows} == {
        NAME: {"run": run, "verdict": "provisioned", "exit_code": 0}, "anvil": None
    }  # fmt: skip
    table = call(fresh, "status").stdout
    assert re.search(rf"{NAME} +closed .*provisioned, .*\d+ s ago", table), table


def test_watch_shows_rows_as_they_change_from_two_watches(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", "slow", speed=10) as lab, ThreadPoolExecutor(1) as pool:
        ran, shown = Ran(), list[list[Row]]()
        with Foundry.load(lab.inventory, sinks=[ran]) as foundry:
            rows = foundry.watch_status()
            shown.append(next(rows))
            done = pool.submit(provision, lab)
            while not any(one[0].state == "RUNNING" for one in shown) or shown[-1][0].workflow or shown[-1][0].run:
                shown.append(next(rows))
            rows.close()  # type: ignore[attr-defined]
        assert done.result(60).json["exit_code"] == 0
    assert {one[0].netboot for one in shown} == {"open", "closed"}
    assert {one[1].state for one in shown} == {""}
    assert all(before != after for before, after in pairwise(shown))
    said = ran.each(CommandStarted)
    assert [event.waiting for event in said].count(True) == 2  # type: ignore[attr-defined]
    assert len(said) == 2 + 3  # one look, and one more when each watch stands


def test_watch_survives_a_cut_line_and_sees_what_was_deleted_meanwhile(fresh: Lab) -> None:
    fresh.store.create("workflows", _workflow(fresh))
    with Foundry.load(fresh.inventory) as foundry:
        rows = foundry.watch_status()
        while not next(rows)[0].workflow:
            pass
        fresh.jump.cut_links()
        fresh.store.delete("workflows", f"{NAME}-ubuntu")
        while next(rows)[0].workflow:
            pass
        rows.close()  # type: ignore[attr-defined]


def _workflow(lab: Lab) -> dict[str, Any]:
    document = fixtures.workflow(lab.machine(NAME).metal, scenario("installs"))
    del document["metadata"]["namespace"]
    return document


def test_watch_prints_plain_lines_where_there_is_no_terminal_and_ends_well_at_ctrl_c(fresh: Lab) -> None:
    process = start(fresh, "status", "--watch", stdout=subprocess.PIPE)
    assert process.stdout is not None
    first = [process.stdout.readline() for _ in range(2)]
    assert re.fullmatch(rf"\d\d:\d\d:\d\d {NAME} +netboot closed\n", first[0])
    with Foundry.load(fresh.inventory) as foundry:
        foundry.open_netboot(NAME, "a try")
        line = process.stdout.readline()
        while "open until" not in line:
            line = process.stdout.readline()
        foundry.close_netboot(NAME)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "\x1b" not in out + line


def test_watch_repaints_a_table_on_a_terminal(fresh: Lab) -> None:
    ours, theirs = pty.openpty()
    process = start(fresh, "status", "--watch", stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = _read(ours, "anvil")
    with Foundry.load(fresh.inventory) as foundry:
        foundry.open_netboot(NAME, "a try")
        seen += _read(ours, "open until")
        foundry.close_netboot(NAME)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    os.close(ours)
    assert "\x1b[" in seen
    assert "Traceback" not in seen


def _read(terminal: int, words: str) -> str:
    seen, ends = "", time.monotonic() + 60
    while words not in seen:
        assert time.monotonic() < ends, seen
        seen += os.read(terminal, 65536).decode(errors="replace")
    return seen

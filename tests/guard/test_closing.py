"""When guard.sh closes, and when it keeps its hands off."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.guard.harness import RUN, Client, FakeCluster, until

TRIGGERS: dict[str, Callable[[FakeCluster], None]] = {
    "running": lambda cluster: cluster.put_workflow("RUNNING", "stream"),
    "post": lambda cluster: cluster.put_workflow("POST"),
    "success": lambda cluster: cluster.put_workflow("STATE_SUCCESS"),
    "failed": lambda cluster: cluster.put_workflow("FAILED"),
    "timeout": lambda cluster: cluster.put_workflow("STATE_TIMEOUT"),
    "deleted": lambda cluster: cluster.delete("workflows"),
}


@pytest.mark.parametrize("reason", TRIGGERS)
def test_closes_and_proves_it(guard: Client, cluster: FakeCluster, reason: str) -> None:
    guard.armed()
    cluster.put_workflow("PENDING", "stream")
    assert cluster.open
    TRIGGERS[reason](cluster)
    guard.logged(f"closed reason={reason} interfaces=1")
    assert cluster.pxe() == [False, False, None]
    assert [operation["op"] for operation in cluster.writes[0]] == ["test", "add", "add"]
    assert cluster.writes[0][0]["value"] == RUN
    told = guard.send("alive")
    assert (told["shut"], told["proved"], told["closed"], told["window"]) == (reason, "yes", "yes", "closed")
    assert len(cluster.writes) == 1


def test_another_workflow_under_the_name_means_ours_is_gone(guard: Client, cluster: FakeCluster) -> None:
    guard.armed()
    cluster.put_workflow("PENDING", uid="w-2")
    guard.logged("closed reason=deleted")


def test_a_workflow_that_was_gone_before_arming_counts_as_deleted(guard: Client, cluster: FakeCluster) -> None:
    cluster.delete("workflows")
    guard.armed()
    guard.logged("closed reason=deleted")


def test_closes_at_expires_and_leaves_the_claim(guard: Client, cluster: FakeCluster) -> None:
    guard.armed(EXPIRES="+1")
    guard.logged("closed reason=expired")
    assert guard.send("alive")["claim"] == "ours"


def test_without_a_workflow_it_holds_until_expires(guard: Client, cluster: FakeCluster) -> None:
    guard.armed(WORKFLOW="", WORKFLOW_UID="")
    guard.send("extend", EXPIRES="+0")
    guard.logged("closed reason=expired")


def test_until_end_waits_for_the_boot_action(guard: Client, cluster: FakeCluster) -> None:
    guard.armed(UNTIL="end", BOOT_ACTION="reboot | now")
    cluster.put_workflow("RUNNING", "stream")
    assert guard.send("alive")["shut"] == ""
    assert cluster.open
    cluster.put_workflow("RUNNING", "reboot | now")
    guard.logged("closed reason=boot-action")


def test_until_end_without_a_boot_action_waits_for_the_end(guard: Client, cluster: FakeCluster) -> None:
    guard.armed(UNTIL="end")
    cluster.put_workflow("RUNNING", "")
    assert guard.send("alive")["shut"] == ""
    cluster.put_workflow("POST", "")
    guard.logged("closed reason=post")


def test_closes_again_what_somebody_opens(guard: Client, cluster: FakeCluster) -> None:
    guard.armed()
    cluster.put_workflow("RUNNING")
    guard.logged("closed reason=running")
    cluster.put_hardware((True, True, None))
    guard.logged("closed reason=foreign-write interfaces=0,1")
    assert "reopened interfaces=0,1" in guard.log()
    assert cluster.pxe() == [False, False, None]


def test_says_when_there_was_nothing_to_close(guard: Client, cluster: FakeCluster) -> None:
    cluster.put_hardware((False, False))
    guard.armed()
    cluster.put_workflow("RUNNING")
    guard.logged("found-closed reason=running")
    assert cluster.writes == []
    cluster.put_hardware((True, False))
    guard.logged("closed reason=foreign-write interfaces=0")


@pytest.mark.parametrize(
    ("run", "reason"),
    [(None, "claim-gone"), ("some|body", "claim-foreign by=some|body"), ("a\nb", "claim-foreign by=")],
)
def test_never_writes_without_its_claim(guard: Client, cluster: FakeCluster, run: str | None, reason: str) -> None:
    guard.armed()
    cluster.put_hardware(run=run)
    guard.ended(reason)
    cluster.put_workflow("RUNNING")
    assert cluster.open
    assert cluster.writes == []
    assert guard.send("alive", 4)["state"] == "ended"


def test_a_claim_lost_while_the_api_was_away_is_respected(guard: Client, cluster: FakeCluster) -> None:
    guard.armed()
    cluster.flag("away")
    guard.logged("api-away error=connection refused")
    cluster.put_hardware(run="another")
    cluster.put_workflow("RUNNING")
    cluster.flag("away", False)
    guard.ended("claim-foreign by=another")
    assert cluster.writes == []


def test_api_away_and_back(guard: Client, cluster: FakeCluster) -> None:
    guard.armed()
    cluster.flag("away")
    guard.logged("api-away")
    assert guard.send("alive", 8, WAIT="0")["api"] == "away"
    cluster.put_workflow("RUNNING")
    cluster.flag("away", False)
    guard.logged("closed reason=running")
    assert [line.split()[0] for line in guard.log()].count("api-away") == 1
    assert "api-back" in guard.log()


def test_expires_while_the_api_is_away_closes_when_it_is_back(guard: Client, cluster: FakeCluster) -> None:
    guard.armed()
    cluster.flag("away")
    guard.logged("api-away")
    guard.send("extend", 8, EXPIRES="+0", WAIT="0")
    until(lambda: guard.send("alive", 8, WAIT="0")["shut"] == "expired", "expired is noticed")
    cluster.flag("away", False)
    guard.logged("closed reason=expired")


def test_an_ended_watch_is_taken_up_again(guard: Client, cluster: FakeCluster) -> None:
    guard.armed()
    for turn in "12":
        (cluster.folder / "cut").write_text(turn)
        until(lambda: guard.send("alive")["watching"] == "yes", "it watches again")
    cluster.put_workflow("RUNNING")
    guard.logged("closed reason=running")


def test_a_refused_patch_is_settled_by_reading_and_tried_again(guard: Client, cluster: FakeCluster) -> None:
    guard.armed()
    cluster.flag("refuse")
    cluster.put_workflow("RUNNING")
    guard.logged("close-refused")
    cluster.flag("refuse", False)
    guard.logged("closed reason=running")
    assert len([line for line in guard.log() if line.startswith("close-refused")]) == 1


def test_closes_without_the_kubectl_on_standby(guard: Client, cluster: FakeCluster) -> None:
    guard.armed(TICK="1")

    def waiting() -> list[int]:
        return [pid for pid in guard.processes() if b"--type=json" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    until(waiting, "one is on standby")
    for pid in waiting():
        os.kill(pid, signal.SIGKILL)
    cluster.put_workflow("RUNNING")
    guard.logged("closed reason=running")


def test_ends_at_the_hard_cap_once_closed(guard: Client, cluster: FakeCluster) -> None:
    guard.armed(HARD_CAP="+1")
    guard.ended("hard-cap window=closed")
    assert not cluster.open


def test_gives_up_an_hour_after_the_hard_cap(guard: Client, cluster: FakeCluster, tmp_path: Path) -> None:
    now = int(time.time())
    clock, date = tmp_path / "now", tmp_path / "bin" / "date"
    clock.write_text(f"{now}\n")
    date.parent.mkdir()
    date.write_text(f'#!/bin/sh\nif [ "$1" = +%s ]; then cat {clock}; else exec /bin/date "$@"; fi\n')
    date.chmod(0o755)
    guard.env["PATH"] = f"{date.parent}:{os.environ['PATH']}"
    guard.armed(HARD_CAP=str(now + 60))
    cluster.flag("away")
    guard.logged("api-away")
    clock.write_text(f"{now + 60 + 3599}\n")
    until(lambda: guard.send("alive", 8, WAIT="0")["shut"] == "expired", "it still tries")
    clock.write_text(f"{now + 60 + 3600}\n")
    guard.ended("gave-up window=open")

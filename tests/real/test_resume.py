"""A client that is killed during Install, followed and taken up by somebody else, on OpenSSH and a real API server."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from metalfoundry import Foundry
from metalfoundry.lab.lab import Lab
from tests.lab.bench import NAME, PROGRAM, start
from tests.real.kube import Kube
from tests.real.place import is_open, real_lab, until

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
RUN = "metalfoundry.dev/run"


@dataclass
class Person:
    """Somebody with the inventory, a home of their own, and nothing else of the run."""

    lab: Lab
    home: Path

    def start(self, *words: str) -> subprocess.Popen[str]:
        self.home.mkdir(exist_ok=True)
        env = {"HOME": str(self.home), "PATH": "/usr/bin:/bin", "METALFOUNDRY_INVENTORY": str(self.lab.inventory)}
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([str(PROGRAM), *words], env=env, cwd=self.home, text=True, **pipes)


@dataclass
class Story:
    """What the first client left, what the follower and the second client said, and what is there in the end."""

    lab: Lab
    held: str
    followed: tuple[int, str]
    report: dict[str, Any]
    first_report: dict[str, Any]


@pytest.fixture(scope="module")
def story(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with real_lab(kube, tmp_path_factory.mktemp("resume"), "slow", 4.0, [NAME]) as lab:
        first = start(lab, "provision", NAME, "--yes")
        assert first.stdout is not None
        for line in first.stdout:
            if "  Install …" in line:
                first.send_signal(signal.SIGKILL)
                break
        first.communicate(timeout=60)
        held = lab.store.get("hardware", NAME)["metadata"]["annotations"][RUN]
        other, events = Person(lab, lab.folder / "other"), lab.folder / "followed.jsonl"
        following = other.start("attach", NAME, "--events", str(events))
        until(lambda: events.exists() and "ActionStarted" in events.read_text(), what="the follower sees an action")
        second = start(lab, "provision", NAME, "--resume", "--yes", "--json")
        out, err = second.communicate(timeout=120)
        assert second.returncode == 0, err
        said, _ = following.communicate(timeout=60)
        kept = start(lab, "runs", "--json").communicate(timeout=60)[0]
        yield Story(lab, held, (following.returncode, said), json.loads(out), json.loads(kept))


def test_the_second_client_ends_it_verified(story: Story) -> None:
    assert (story.report["verdict"], story.report["exit_code"]) == ("provisioned", 0)
    machine = story.lab.machine(NAME)
    assert ([boot.what for boot in machine.boots], machine.wiped) == (["old", "hook", "new"], 1)
    assert not is_open(story.lab.store, NAME)
    assert RUN not in story.lab.store.get("hardware", NAME)["metadata"].get("annotations", {})


def test_the_follower_saw_it_and_was_told_who_took_it_up(story: Story) -> None:
    code, said = story.followed
    assert code == 20
    assert "stream-ubuntu-image" in said
    assert "taken up by" in said
    assert story.report["run"] in said


def test_the_report_has_both_parts(story: Story) -> None:
    earlier = story.report["earlier"]
    assert story.report["resumes"] == earlier["run"] == story.held
    assert [one["title"] for one in earlier["phases"]][-1] == "Close"
    mine = {one["title"]: one["outcome"] for one in story.report["phases"]}
    assert (mine["Boot"], mine["Install"], mine["Verify"]) == ("skipped", "done", "done")


def test_both_runs_are_recorded_where_they_ran(story: Story) -> None:
    rows = {row["run"]: row["verdict"] for row in story.first_report["runs"]}
    assert rows == {story.held: "no end", story.report["run"]: "provisioned"}


def test_one_guard_is_left_without_a_claim(story: Story) -> None:
    with Foundry.load(story.lab.inventory) as foundry:
        until(lambda: foundry.guard_status().claims == 0, what="it has seen that the claim is given back")
        assert foundry.guard_status().state == "guarding"

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metalfoundry.model.bus import Bus
from metalfoundry.model.events import ActionEnded, ActionStarted, Event, WorkflowChanged
from metalfoundry.model.resources import Workflow
from metalfoundry.runs.progress import Progress
from metalfoundry.transport.clock import FakeClock
from tests.runs.scene import Scene

RECORDED = Path(__file__).resolve().parents[2].parent / "shared/data/recorded/objects"


class Case:
    """A Progress on a FakeClock, and its events."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        bus = Bus(lambda: self.clock.now().wall, [lambda record: self.events.append(record.event)])
        self.progress = Progress(bus, self.clock)

    def take(self, state: str, *actions: str, current: int | None = None, after: float = 0.0) -> list[Event]:
        """One state of a Workflow; return what it made known."""
        self.clock.advance(after)
        self.events.clear()
        self.progress.take(workflow(state, *actions, current=current))
        return list(self.events)

    def ran(self) -> bool:
        return self.progress.ran

    def timeline(self) -> list[tuple[str, str, float | None]]:
        return [(one.name, one.state, one.seconds) for one in self.progress.actions]


def workflow(state: str, *actions: str, current: int | None = None) -> Workflow:
    made = [
        {"id": f"id{n}", "name": f"a{n}", "image": "x", "timeout": 60 * n, "state": one}
        for n, one in enumerate(actions, 1)
    ]
    status: dict[str, Any] = {"state": state, "tasks": [{"name": "os", "actions": made}]} if state else {}
    if current is not None:
        status["currentState"] = {
            "actionID": f"id{current}",
            "actionName": f"a{current}",
            "state": actions[current - 1],
            "taskName": "os",
        }
    return Workflow.of({"kind": "Workflow", "metadata": {"name": "w"}, "status": status})


def test_a_whole_installation() -> None:
    case = Case()
    assert case.take("") == [WorkflowChanged("w", "")]
    assert case.take("PENDING", "PENDING", "PENDING") == [WorkflowChanged("w", "PENDING")]
    assert not case.ran()
    assert case.take("RUNNING", "RUNNING", "PENDING", current=1) == [
        WorkflowChanged("w", "RUNNING", "a1"),
        ActionStarted("a1", 1, 2, 60.0),
    ]
    assert case.ran()
    assert case.take("RUNNING", "SUCCESS", "PENDING", current=1, after=7.5) == [
        WorkflowChanged("w", "RUNNING", "a1"),
        ActionEnded("a1", 1, "SUCCESS", 7.5),
    ]
    case.take("RUNNING", "SUCCESS", "RUNNING", current=2, after=1.0)
    assert case.take("POST", "SUCCESS", "SUCCESS", current=2, after=2.0)[1:] == [ActionEnded("a2", 2, "SUCCESS", 2.0)]
    assert case.take("SUCCESS", "SUCCESS", "SUCCESS", current=2) == [WorkflowChanged("w", "SUCCESS", "a2")]
    assert case.timeline() == [("a1", "SUCCESS", 7.5), ("a2", "SUCCESS", 2.0)]


def test_the_same_state_again_makes_nothing_known() -> None:
    case = Case()
    case.take("RUNNING", "RUNNING", current=1)
    assert case.take("RUNNING", "RUNNING", current=1, after=3) == []


def test_an_action_that_was_never_seen_running_starts_and_ends() -> None:
    case = Case()
    case.take("PENDING", "PENDING", "PENDING")
    assert case.take("RUNNING", "SUCCESS", "RUNNING", current=2, after=9)[1:] == [
        ActionStarted("a1", 1, 2, 60.0),
        ActionEnded("a1", 1, "SUCCESS", 0.0),
        ActionStarted("a2", 2, 2, 120.0),
    ]


@pytest.mark.parametrize("state", ["FAILED", "TIMEOUT"])
def test_an_action_that_fails_ends_once(state: str) -> None:
    case = Case()
    case.take("RUNNING", "RUNNING", current=1)
    assert ActionEnded("a1", 1, state, 4.0) in case.take(state, state, current=1, after=4)
    case.progress.stop()
    assert [event for event in case.events if isinstance(event, ActionEnded)] == [ActionEnded("a1", 1, state, 4.0)]


def test_what_still_runs_when_nobody_looks_any_longer_is_left() -> None:
    case = Case()
    case.take("RUNNING", "SUCCESS", "RUNNING", "PENDING", current=2)
    case.events.clear()
    case.clock.advance(5)
    case.progress.stop()
    case.progress.stop()
    assert case.events == [ActionEnded("a2", 2, "LEFT", 5.0)]


def test_a_current_action_without_running_is_no_agent() -> None:
    """A GetAction left open takes the first action before any machine is up: state PENDING, currentState set."""
    case = Case()
    case.take("PENDING", "PENDING", "PENDING", current=1)
    assert not case.progress.ran


@pytest.mark.parametrize("state", ["RUNNING", "POST", "SUCCESS"])
def test_only_an_agent_makes_these(state: str) -> None:
    case = Case()
    case.take(state)
    assert case.progress.ran


@pytest.mark.parametrize("state", ["", "PREPARING", "PENDING"])
def test_these_prove_no_agent(state: str) -> None:
    case = Case()
    case.take(state)
    assert not case.progress.ran


def documents(text: str) -> Iterator[dict[str, Any]]:
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        yield value
        at += len(text[at:]) - len(text[at:].lstrip())


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recordings of a real Tinkerbell are not beside the repository")
def test_the_recorded_watch_of_a_real_tinkerbell() -> None:
    """One run, a deletion, and a re-creation under the same name, as v0.21.0 showed them."""
    seen = [Workflow.of(one) for one in documents((RECORDED / "watch-o-json.txt").read_text())]
    first = [one for one in seen if one.meta.uid == seen[0].meta.uid]
    case = Case()
    kept: list[Event] = []
    for one in first:
        case.clock.advance(1)
        case.progress.take(one)
    case.progress.stop()
    kept += case.events
    started = [event.action for event in kept if isinstance(event, ActionStarted)]
    ended = [event.action for event in kept if isinstance(event, ActionEnded)]
    assert started == [action.name for action in first[-1].actions][: len(started)]
    assert len(started) >= 2
    assert sorted(started) == sorted(ended)
    assert case.progress.ran
    states = [event.state for event in kept if isinstance(event, WorkflowChanged)]
    assert states[0] in ("", "PREPARING", "PENDING")
    assert states[-1] == "SUCCESS"
    running = [one.state for one in first].index("RUNNING")
    case = Case()
    for one in first[:running]:
        case.progress.take(one)
    assert not case.progress.ran


GOES_ON = "and HookOS may go on without us: it writes on, and reboots by itself"


@pytest.mark.parametrize(
    ("state", "states", "wrote", "end"),
    [
        ("RUNNING", ("RUNNING", "PENDING"), "may have been written: 'a1' had it last (RUNNING)", GOES_ON),
        ("RUNNING", ("SUCCESS", "RUNNING"), "has been written: 'write' had it last (RUNNING)", GOES_ON),
        ("TIMEOUT", ("TIMEOUT", "PENDING"), "may have been written: 'a1' had it last (TIMEOUT)", GOES_ON),
        ("FAILED", ("SUCCESS", "FAILED"), "has been written: 'write' had it last (FAILED)", "may be half a system"),
        ("SUCCESS", ("SUCCESS", "SUCCESS"), "has been written: 'write' had it last (SUCCESS)", "boots what is on it"),
    ],
)
def test_what_is_on_the_disk(state: str, states: tuple[str, ...], wrote: str, end: str) -> None:
    scene = Scene()
    scene.workflow(state, *states, last="write", image="quay.io/tinkerbell/actions/image2disk:latest")
    assert scene.run.progress.disk().startswith(f"the disk {wrote}, ")
    assert scene.run.progress.disk().endswith(end)
    assert scene.run.progress.disk(proven=True) == "the disk holds the new system, which was seen running"


def test_nothing_is_said_of_a_disk_that_no_action_had() -> None:
    scene = Scene()
    assert scene.run.progress.disk() == ""
    scene.workflow("PENDING", "PENDING", "PENDING")
    assert scene.run.progress.disk() == ""

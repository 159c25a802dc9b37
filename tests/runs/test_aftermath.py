"""The diagnosis of a run that failed: the cause as it was then, the cluster as it is now."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from metalfoundry.diagnosis.facts import Facts, seen
from metalfoundry.model.errors import NeverInstalled, TransportError, VerificationFailed, WorkflowFailed
from metalfoundry.model.events import Notice
from metalfoundry.runs.failure_diagnosis import LastSeen, diagnosis
from metalfoundry.runs.troubleshoot import Diagnosis
from metalfoundry.ui.tasks.troubleshoot import diagnosis_text
from tests.diagnosis.cases import facts
from tests.runs.scene import Scene

RUNNING: dict[str, Any] = {"state": "RUNNING", "actions": [["stream-image", "RUNNING"]]}
FAILED: dict[str, Any] = {"state": "FAILED", "actions": [["stream-image", "FAILED", {"ended": 1}]]}
CAUSE = {"ago": 0, "msg": "error executing action", "error": "got non 0 exit status, see the logs"}


class Failure:
    """A run that failed a moment ago, with netboot open and a Workflow, and the looks at what it left."""

    def __init__(self, then: dict[str, Any], took: float = 0.2) -> None:
        self.scene, self.took, self.looks = Scene(), took, 0
        world = facts({"open": True, **then})
        self.last = LastSeen(self.scene.run, self.scene.clock.now().wall, seen(world.hardware), seen(world.workflow))
        self.begun = self.scene.clock.now().mono

    def explain(self, error: Exception, *after: dict[str, Any] | Exception) -> Diagnosis | None:
        """Diagnose; each look takes its time and finds the next of `after`, the last one for ever."""

        def look() -> Facts:
            self.scene.clock.advance(self.took)
            found = after[min(self.looks, len(after) - 1)]
            self.looks += 1
            if isinstance(found, Exception):
                raise found
            world = facts({"claim": None, "guards": [], **found})
            return replace(world, now=world.now + timedelta(seconds=self.scene.clock.now().mono - self.begun))

        return diagnosis(self.last, error, look)

    @property
    def seconds(self) -> float:
        return self.scene.clock.now().mono - self.begun


def told(found: Diagnosis | None) -> str:
    assert found is not None
    return diagnosis_text(found).plain


def test_what_is_shown_of_netboot_and_claim_is_what_is_there_after_the_clean_up() -> None:
    text = told(Failure({"workflow": FAILED}).explain(WorkflowFailed("x"), {"workflow": FAILED}))
    assert "Netboot is closed." in text
    assert "open" not in text and "claimed" not in text


def test_a_workflow_that_was_removed_is_named_as_one_that_was() -> None:
    found = Failure({"workflow": RUNNING}).explain(NeverInstalled("x"), {"workflow": "absent"})
    text = told(found)
    assert "When the run failed, colo-server-01-ubuntu was one that is running at 'stream-image'" in text
    assert "Tinkerbell says that colo-server-01-ubuntu is running" not in text
    assert found is not None and found.to_json()["state"] == "DELETED"


def test_a_workflow_that_somebody_deleted_is_the_cause() -> None:
    failure = Failure({"workflow": RUNNING})
    failure.scene.run.gone = True
    found = failure.explain(WorkflowFailed("deleted"), {"workflow": "absent"})
    assert found is not None
    assert (found.findings[0].id, found.findings[0].certainty.value) == ("workflow-replaced", "certain")
    assert "deleted in state RUNNING" in found.findings[0].evidence[-1].line
    assert "was deleted during the run" in told(found)


@pytest.mark.parametrize(
    ("then", "error"),
    [
        ({"workflow": RUNNING}, WorkflowFailed("x")),
        ({"workflow": {"age": 20}, "started": 10}, NeverInstalled("x")),
        (
            {"workflow": {"state": "SUCCESS", "actions": [["stream-image", "SUCCESS", {"ended": 9}]]}},
            VerificationFailed("x"),
        ),
    ],
    ids=["install", "boot", "verify"],
)
def test_under_an_error_nothing_says_that_nothing_is_wrong(then: dict[str, Any], error: Exception) -> None:
    found = Failure(then).explain(error, then)
    assert "nothing wrong" not in told(found)
    assert found is not None and found.exit_code != 0


def test_a_window_that_is_open_afterwards_is_found() -> None:
    after = {"workflow": FAILED, "open": True, "claim": None}
    found = Failure({"workflow": FAILED}).explain(WorkflowFailed("x"), after)
    assert found is not None and found.exit_code == 40


def test_a_line_that_reaches_its_log_a_moment_later_is_waited_for() -> None:
    failure = Failure({"workflow": FAILED})
    late = {"workflow": FAILED, "logs": {"agent": [{**CAUSE, "ago": -0.6}]}}
    found = failure.explain(WorkflowFailed("x"), {"workflow": FAILED}, late)
    assert found is not None and found.findings[0].id == "exit-code"
    assert failure.looks == 2 and failure.seconds == pytest.approx(0.9)


def test_a_certain_cause_is_not_looked_for_again() -> None:
    failure = Failure({"workflow": FAILED})
    failure.explain(WorkflowFailed("x"), {"workflow": FAILED, "logs": {"agent": [CAUSE]}})
    assert failure.looks == 1


def test_it_looks_for_five_seconds_and_then_says_so() -> None:
    failure = Failure({"workflow": FAILED})
    text = told(failure.explain(WorkflowFailed("x"), {"workflow": FAILED}))
    assert "nothing that was read says why" in text
    assert 3.5 < failure.seconds <= 6.0
    slow = Failure({"workflow": FAILED}, took=4.0)
    slow.explain(WorkflowFailed("x"), {"workflow": FAILED})
    assert slow.seconds < 10.0


def test_a_look_that_fails_leaves_what_was_found_before() -> None:
    failure = Failure({"workflow": FAILED})
    assert failure.explain(WorkflowFailed("x"), {"workflow": FAILED}, TransportError("cut")) is not None
    lost = Failure({"workflow": FAILED})
    assert lost.explain(WorkflowFailed("x"), TransportError("cut")) is None
    assert any(isinstance(event, Notice) for event in lost.scene.events)

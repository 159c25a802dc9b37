"""What an answer says that it could not see: that which would have counted in this state of the Workflow, no more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metalfoundry.commands.log_parser import SOURCES
from metalfoundry.diagnosis.engine import judge
from metalfoundry.diagnosis.facts import FIELDS, NotSeen
from metalfoundry.diagnosis.findings import Certainty
from metalfoundry.diagnosis.unseen import missed, not_seen
from metalfoundry.model.states import WorkflowState
from tests.diagnosis.cases import facts, without

BLIND = [*(name for name in FIELDS if name != "workflow"), *(f"logs.{source}" for source in SOURCES)]
WAITING = (
    "the machine itself, the agent's log, HookOS's bootkit log, Smee's log, Smee's answer for its MAC, "
    "tink-server's log and the machine's console"
)
WANTED = {
    "": "the Template, tink-controller's log and Tinkerbell's Deployments",
    "PREPARING": f"the BMC's Jobs, tink-controller's log, {WAITING}",
    "PENDING": WAITING,
    "RUNNING": "the machine itself, the agent's log, the actions' own output and tink-server's log",
    "POST": "the machine itself and tink-controller's log",
    "SUCCESS": "the machine itself and the machine's console",
    "FAILED": "the agent's log and the actions' own output",
    "TIMEOUT": "the machine itself, the agent's log and the actions' own output",
}


@pytest.mark.parametrize("state", WANTED)
def test_each_state_misses_what_its_rules_would_have_asked_for(state: str) -> None:
    world = without(facts({"workflow": {"state": state}}), BLIND)
    assert missed(world) == f"the Hardware, {WANTED[state]} (knocked out)"


def test_every_state_has_its_line_in_the_table() -> None:
    assert set(WANTED) == {str(state) for state in WorkflowState}


def test_without_a_workflow_only_the_machine_and_the_hardware_are_missed() -> None:
    assert missed(without(facts({"workflow": "absent"}), BLIND)) == "the Hardware and the machine itself (knocked out)"


def test_where_the_workflow_was_not_seen_all_that_a_waiting_machine_may_show_is_missed() -> None:
    world = without(facts({}), [*BLIND, "workflow"])
    assert missed(world) == f"the Workflow, the Hardware, {WAITING} (knocked out)"


def test_what_is_missing_for_the_same_reason_is_said_together() -> None:
    world = facts({"workflow": {"state": "FAILED"}, "unseen": ["logs.agent", "hardware"]})
    logs = {**world.logs, "action": NotSeen("no syslog")}
    assert missed(replace(world, logs=logs)) == (
        "the Hardware and the agent's log (knocked out); the actions' own output (no syslog)"
    )


def test_where_all_was_seen_that_counts_nothing_is_missed() -> None:
    assert missed(facts({"workflow": {"state": "FAILED"}, "unseen": ["bmc", "logs.console"]})) == ""


def test_a_certain_finding_misses_nothing() -> None:
    world = facts({"unseen": ["machine"]})
    likely = judge(world)
    assert likely[0].certainty is Certainty.LIKELY
    assert not_seen(world, likely) == missed(world) != ""
    assert not_seen(world, [replace(likely[0], certainty=Certainty.CERTAIN), *likely]) == ""


def test_an_unknown_answer_has_said_it_itself() -> None:
    world = without(facts({}), [*BLIND, "workflow"])
    unknown = judge(world)
    assert unknown[0].id == "unknown" and WAITING in unknown[0].what
    assert not_seen(world, unknown) == ""

"""The Workflow has done all its actions, and does not end."""

from __future__ import annotations

from functools import partial

from metalfoundry.diagnosis import findings, remedies
from metalfoundry.diagnosis.facts import Facts
from metalfoundry.diagnosis.findings import FAILED, Match, Stage, certain, likely
from metalfoundry.diagnosis.queries import ended_ago, in_state, status
from metalfoundry.diagnosis.verification import SLACK_SECONDS

rule = partial(findings.rule, Stage.FINISH)


@rule(
    "final-report-lost",
    FAILED,
    50,
    link="tink PR#632; playground#143",
    before=(0, 17, 0),
    explains=["in-progress"],
)
def final_report_lost(facts: Facts) -> Match | None:
    """Every action is done, and the Workflow never became SUCCESS."""
    workflow = in_state(facts, "RUNNING", "TIMEOUT", "PENDING")
    if workflow is None or not workflow.actions or any(item.state != "SUCCESS" for item in workflow.actions):
        return None
    return certain(
        f"every action of {workflow.name} is done, and it stays {workflow.state}: this tink lost the last report",
        evidence=[status(workflow, f"{workflow.actions[-1].name} SUCCESS")],
        remedy=remedies.delete_workflows(facts, workflow.name),
        advice="look at the machine: where the new system runs, nothing is missing",
    )


@rule("post-stuck", FAILED, link="tinkerbell/tinkerbell tink/controller/internal/workflow/post.go@v0.21")
def post_stuck(facts: Facts) -> Match | None:
    """The Workflow stays in POST: Tinkerbell does not get netboot closed or the ISO ejected."""
    workflow, ago = in_state(facts, "POST"), ended_ago(facts)
    if workflow is None or ago is None or ago < SLACK_SECONDS:
        return None
    return likely(
        f"every action is done, and {workflow.name} has been in POST for {ago:.0f} s: the controller does not end it",
        evidence=[status(workflow)],
        remedy=remedies.logs(facts, "controller"),
        advice=f"then: {remedies.close_netboot(facts)}",
    )

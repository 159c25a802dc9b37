"""The Workflow has done all its actions: its end was lost, is stuck, or all is well."""

from __future__ import annotations

from collections.abc import Iterator

from metalfoundry.diagnosis import remedies
from metalfoundry.diagnosis.facts import Facts
from metalfoundry.diagnosis.findings import FAILED, FINE, Certainty, Evidence, Sign, Stage, rule
from metalfoundry.diagnosis.queries import ended_ago, in_state, status
from metalfoundry.diagnosis.verification import SLACK_SECONDS, booted, judged


@rule(
    "final-report-lost",
    Stage.FINISH,
    FAILED,
    50,
    link="tink PR#632; playground#143",
    before=(0, 17, 0),
    explains=("in-progress",),
)
def final_report_lost(facts: Facts) -> Iterator[Sign]:
    """Every action is done, and the Workflow never became SUCCESS."""
    workflow = in_state(facts, "RUNNING", "TIMEOUT", "PENDING")
    if workflow is None or not workflow.actions or any(item.state != "SUCCESS" for item in workflow.actions):
        return
    yield Sign(
        Certainty.CERTAIN,
        f"every action of {workflow.name} is done, and it stays {workflow.state}: this tink lost the last report",
        (status(workflow, f"{workflow.actions[-1].name} SUCCESS"),),
        remedies.delete_workflows(facts, workflow.name),
        "look at the machine: where the new system runs, nothing is missing",
    )


@rule("post-stuck", Stage.FINISH, FAILED, link="tinkerbell/tinkerbell tink/controller/internal/workflow/post.go@v0.21")
def post_stuck(facts: Facts) -> Iterator[Sign]:
    """The Workflow stays in POST: Tinkerbell does not get netboot closed or the ISO ejected."""
    workflow, ago = in_state(facts, "POST"), ended_ago(facts)
    if workflow is None or ago is None or ago < SLACK_SECONDS:
        return
    yield Sign(
        Certainty.LIKELY,
        f"every action is done, and {workflow.name} has been in POST for {ago:.0f} s: the controller does not end it",
        (status(workflow),),
        remedies.logs(facts, "controller"),
        f"then: {remedies.close_netboot(facts)}",
    )


@rule("installed", Stage.FINISH, FINE, link="two witnesses: the Workflow, and the machine")
def installed(facts: Facts) -> Iterator[Sign]:
    """Nothing wrong: the Workflow is SUCCESS and the new system runs."""
    machine, workflow, verdict = facts.machine_facts, in_state(facts, "SUCCESS"), judged(facts)
    if machine is None or workflow is None or verdict is None or not verdict.good or booted(facts) is False:
        return
    yield Sign(
        Certainty.CERTAIN,
        f"nothing wrong: {workflow.name} is SUCCESS, and the machine runs {machine.os_name or 'its own system'}: "
        f"{verdict.why}",
        (Evidence("machine", f"{machine.os_name}, up for {machine.uptime or 0:.0f} s"), status(workflow)),
        remedies.ssh(facts, "cat /etc/os-release"),
    )


RULES = (final_report_lost, post_stuck, installed)

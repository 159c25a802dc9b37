"""A Workflow in PREPARING, or one that ended there: netboot by Tinkerbell itself, and the BMC."""

from __future__ import annotations

import re
from collections.abc import Iterator

from metalfoundry.commands.log_parser import CONTROLLER
from metalfoundry.commands.netboot import parse_time
from metalfoundry.diagnosis import remedies
from metalfoundry.diagnosis.facts import Facts, seen
from metalfoundry.diagnosis.findings import FAILED, FINE, Certainty, Evidence, Sign, Stage, rule
from metalfoundry.diagnosis.queries import SETTLED_SECONDS, condition, in_state, status
from metalfoundry.model.actions import items, mapping

_WORKFLOW = "tinkerbell/tinkerbell tink/controller/internal/workflow"
_OURS = "leave bootOptions out: metalfoundry opens and closes netboot by itself"


@rule("toggle-stuck", Stage.PREPARE, FAILED, 6, link="tink PR#1055", since=(0, 11, 0), before=(0, 12, 2))
def toggle_stuck(facts: Facts) -> Iterator[Sign]:
    """toggleAllowNetboot alone keeps the Workflow in PREPARING for ever."""
    workflow = in_state(facts, "PREPARING")
    if workflow is None or not workflow.toggles_netboot or workflow.boot_mode or (facts.age or 0) < SETTLED_SECONDS:
        return
    opened = condition(workflow, "", type="AllowNetbootTrue")
    if opened is None or "error" in opened.line:
        return
    yield Sign(
        Certainty.CERTAIN if facts.version else Certainty.LIKELY,
        f"{workflow.name} has been in PREPARING for {facts.age:.0f} s with netboot opened: this Tinkerbell never goes "
        "on from there without a bootMode",
        (opened, status(workflow)),
        remedies.start_anew(facts),
        first=f"{_OURS}; or upgrade to tink 0.12.2",
    )


@rule("no-bmc", Stage.PREPARE, FAILED, 7, link=f"{_WORKFLOW}/pre.go@v0.21", explains=("action-failed",))
def no_bmc(facts: Facts) -> Iterator[Sign]:
    """bootMode is set, and the Hardware has no BMC."""
    workflow = in_state(facts, "FAILED", "PREPARING")
    said = condition(workflow, "does not have a BMC")
    if workflow is None or said is None:
        return
    yield Sign(
        Certainty.CERTAIN,
        f"{workflow.name} asks for bootMode {workflow.boot_mode or 'netboot'}, but the Hardware "
        f"{workflow.hardware_ref} has no bmcRef",
        (said,),
        remedies.start_anew(facts),
        first="take bootMode out of the Workflow (a reboot over SSH will do), or give the Hardware spec.bmcRef",
    )


_BMC_FAULTS = ("Failed to connect to BMC", "bmc task timeout", "failed to perform PowerAction")
_NO_MACHINE = re.compile(r"machine \S+/\S+ not found")


@rule("bmc-job-failed", Stage.PREPARE, FAILED, 8, link="rufio#13; eksa#5682", explains=("action-failed", "bmc-working"))
def bmc_job_failed(facts: Facts) -> Iterator[Sign]:
    """The BMC's Job failed."""
    workflow = in_state(facts, "PREPARING", "FAILED", "POST")
    if workflow is None or (workflow.has_run and workflow.state == "FAILED"):
        return
    said = condition(workflow, "job failed", type="BootJobFailed") or condition(
        workflow, "job failed", type="NetbootJob"
    )
    failed = [job for job in seen(facts.bmc) or () if job.state == "Failed"]
    lost = (line for line in facts.lines(CONTROLLER, " not found") if _NO_MACHINE.search(line.text))
    line = facts.find(CONTROLLER, *_BMC_FAULTS) or next(lost, None)
    tasks = [Evidence(f"BMC {job.kind} {job.name}", f"Failed: {job.message}") for job in reversed(failed)]
    evidence = tuple(item for item in (said, *tasks, Evidence.of(line) if line else None) if item)
    if not evidence:
        return
    proven = said is not None or bool(failed)
    yield Sign(
        Certainty.CERTAIN if proven else Certainty.LIKELY,
        f"the BMC did not do what {workflow.name} asked of it"
        + (": " + failed[-1].message if failed and failed[-1].message else ""),
        evidence,
        remedies.kubectl(facts, "get", remedies.JOBS, "-o", "wide"),
        "look at address, credentials and insecureTLS of machines.bmc.tinkerbell.org; netboot stays open until closed",
    )


@rule("bmc-working", Stage.PREPARE, FINE, link="tinkerbell/tinkerbell rufio/internal/controller (10 min a task)")
def bmc_working(facts: Facts) -> Iterator[Sign]:
    """Nothing wrong: the BMC's Job is still running."""
    workflow = in_state(facts, "PREPARING")
    running = [job for job in seen(facts.bmc) or () if job.state == "Running" and job.kind == "Job"]
    if workflow is None or not running:
        return
    created = parse_time(running[-1].created)
    since = f" for {(facts.now - created).total_seconds():.0f} s" if created else ""
    yield Sign(
        Certainty.LIKELY,
        f"nothing wrong yet: the BMC's Job {running[-1].name} has been running{since} (each task may take 600 s)",
        (Evidence(f"BMC Job {running[-1].name}", "Running"),),
        remedies.kubectl(facts, "get", remedies.JOBS),
    )


@rule("update-conflict", Stage.PREPARE, FAILED, 9, link=f"{_WORKFLOW}/pre.go (03ead900)", explains=("action-failed",))
def update_conflict(facts: Facts) -> Iterator[Sign]:
    """Tinkerbell could not open netboot: somebody wrote the Hardware at the same moment."""
    workflow = in_state(facts, "FAILED")
    if workflow is None or workflow.has_run:
        return
    words = ("error updating allow pxe", "the object has been modified")
    said = condition(workflow, *words)
    line = facts.find(CONTROLLER, *words)
    if said is None and (line is None or workflow.name not in line.raw + line.text):
        return
    yield Sign(
        Certainty.CERTAIN,
        f"{workflow.name} FAILED before it began: the Hardware was written by somebody else while Tinkerbell opened "
        "netboot, and this version does not try again",
        tuple(item for item in (said, Evidence.of(line) if line else None) if item),
        remedies.start_anew(facts),
        f"{_OURS}; or upgrade to v0.19.1",
    )


@rule(
    "customboot-empty",
    Stage.PREPARE,
    FAILED,
    10,
    link="tinkerbell/tinkerbell commit ae4d5256",
    since=(0, 19, 0),
    before=(0, 22, 1),
    explains=("post-stuck",),
)
def customboot_empty(facts: Facts) -> Iterator[Sign]:
    """bootMode customboot with an empty list of actions never goes on."""
    workflow = in_state(facts, "PREPARING", "POST")
    if workflow is None or workflow.boot_mode != "customboot" or (facts.age or 0) < SETTLED_SECONDS:
        return
    key = "preparingActions" if workflow.state == "PREPARING" else "postActions"
    options = mapping(mapping(workflow.raw.get("spec")).get("bootOptions"))
    if items(mapping(options.get("custombootConfig")).get(key)):
        return
    yield Sign(
        Certainty.CERTAIN if facts.version else Certainty.LIKELY,
        f"{workflow.name} stays in {workflow.state}: custombootConfig.{key} is empty, and this Tinkerbell waits for a "
        "Job that it never makes",
        (Evidence(f"Workflow {workflow.name}", f"spec.bootOptions.custombootConfig.{key} is empty"),),
        remedies.start_anew(facts),
        first=f"give {key} one action, leave bootOptions out, or upgrade to v0.22.1",
    )


RULES = (toggle_stuck, no_bmc, bmc_job_failed, bmc_working, update_conflict, customboot_empty)

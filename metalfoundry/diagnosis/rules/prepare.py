"""A Workflow in PREPARING, or one that ended there: the control plane, netboot by Tinkerbell itself, and the BMC."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import partial

from metalfoundry.commands.log_parser import CONTROLLER, SERVER
from metalfoundry.diagnosis import findings, remedies
from metalfoundry.diagnosis.facts import Facts, absent, seen
from metalfoundry.diagnosis.findings import (
    FAILED,
    FINE,
    NEVER_INSTALLED,
    NOTHING_WRONG_YET,
    Evidence,
    Match,
    Stage,
    certain,
    likely,
    possible,
)
from metalfoundry.diagnosis.queries import SETTLED_SECONDS, condition, in_state, seconds_since, smee_says, status
from metalfoundry.model.actions import items, mapping
from metalfoundry.model.foreign import parse_time

rule = partial(findings.rule, Stage.PREPARE)
_WORKFLOW = "tinkerbell/tinkerbell tink/controller/internal/workflow"
_OURS = "leave bootOptions out: metalfoundry opens and closes netboot by itself"
_RECENT_SECONDS = 120.0
_CONFLICT = ("error updating allow pxe", "the object has been modified")
_BMC_FAULTS = ("Failed to connect to BMC", "bmc task timeout", "failed to perform PowerAction")
_NO_MACHINE = re.compile(r"machine \S+/\S+ not found")


@rule(
    "control-plane-down",
    NEVER_INSTALLED,
    link="kubectl get deployments",
    explains=["never-netbooted", "still-booting", "hook-silent"],
)
def control_plane_down(facts: Facts) -> Match | None:
    """A part of Tinkerbell is not running."""
    dead = [item for item in seen(facts.deployments) or () if item.wanted and not item.ready]
    workflow = seen(facts.workflow)
    if not dead or absent(facts.workflow):
        return None
    needed = any(item.is_part for item in dead) and not (workflow and workflow.finished)
    return (certain if needed and not _serves(facts) else possible)(
        f"{', '.join(item.name for item in dead)} of the control plane is not running",
        evidence=[
            Evidence("kubectl", f"Deployment {item.name}: 0 of {item.wanted} ready ({item.image})") for item in dead
        ],
        remedy=remedies.kubectl(facts, "describe", "deployment", dead[0].name),
    )


def _serves(facts: Facts) -> bool:
    """Whether Smee and tink-server answer, whatever their Deployments say. (The API has: we have read it.)"""
    machine, recent = seen(facts.machine), facts.now - timedelta(seconds=_RECENT_SECONDS)
    heard = any(line.time is not None and line.time >= recent for line in facts.log(SERVER))
    return smee_says(facts) is not None and (heard or bool(machine and machine.grpc))


@rule("toggle-stuck", FAILED, 6, link="tink PR#1055", since=(0, 11, 0), before=(0, 12, 2))
def toggle_stuck(facts: Facts) -> Match | None:
    """toggleAllowNetboot alone keeps the Workflow in PREPARING for ever."""
    workflow = in_state(facts, "PREPARING")
    if workflow is None or not workflow.toggles_netboot or workflow.boot_mode or (facts.age or 0) < SETTLED_SECONDS:
        return None
    opened = condition(workflow, "", type="AllowNetbootTrue")
    if opened is None or "error" in opened.line:
        return None
    return (certain if facts.version else likely)(
        f"{workflow.name} has been in PREPARING for {facts.age:.0f} s with netboot opened: this Tinkerbell never goes "
        "on from there without a bootMode",
        evidence=[opened, status(workflow)],
        first=f"{_OURS}; or upgrade to tink 0.12.2",
        remedy=remedies.start_anew(facts),
    )


@rule("no-bmc", FAILED, 7, link=f"{_WORKFLOW}/pre.go@v0.21", explains=["action-failed"])
def no_bmc(facts: Facts) -> Match | None:
    """bootMode is set, and the Hardware has no BMC."""
    workflow = in_state(facts, "FAILED", "PREPARING")
    reason = condition(workflow, "does not have a BMC")
    if workflow is None or reason is None:
        return None
    return certain(
        f"{workflow.name} asks for bootMode {workflow.boot_mode or 'netboot'}, but the Hardware "
        f"{workflow.hardware_ref} has no bmcRef",
        evidence=[reason],
        first="take bootMode out of the Workflow (a reboot over SSH will do), or give the Hardware spec.bmcRef",
        remedy=remedies.start_anew(facts),
    )


@rule("bmc-job-failed", FAILED, 8, link="rufio#13; eksa#5682", explains=["action-failed"])
def bmc_job_failed(facts: Facts) -> Match | None:
    """The BMC's Job failed."""
    workflow = in_state(facts, "PREPARING", "FAILED", "POST")
    if workflow is None or (workflow.has_run and workflow.state == "FAILED"):
        return None
    reason = condition(workflow, "job failed", type="BootJobFailed")
    reason = reason or condition(workflow, "job failed", type="NetbootJob")
    jobs = seen(facts.bmc) or ()
    failed = [job for job in reversed(jobs) if job.state == "Failed"]
    lost = (line for line in facts.lines(CONTROLLER, " not found") if _NO_MACHINE.search(line.text))
    line = facts.find(CONTROLLER, *_BMC_FAULTS) or next(lost, None)
    if not (reason or failed or line):
        return None
    return (certain if reason or failed else likely)(
        f"the BMC did not do what {workflow.name} asked of it"
        + (f": {failed[0].message}" if failed and failed[0].message else ""),
        evidence=[
            reason,
            *(Evidence(f"BMC {job.kind} {job.name}", f"Failed: {job.message}") for job in failed),
            line,
        ],
        remedy=remedies.kubectl(facts, "get", remedies.JOBS, "-o", "wide"),
        advice="look at address, credentials and insecureTLS of machines.bmc.tinkerbell.org; netboot stays open until "
        "closed",
    )


@rule("update-conflict", FAILED, 9, link=f"{_WORKFLOW}/pre.go (03ead900)", explains=["action-failed"])
def update_conflict(facts: Facts) -> Match | None:
    """Tinkerbell could not open netboot: somebody wrote the Hardware at the same moment."""
    workflow = in_state(facts, "FAILED")
    if workflow is None or workflow.has_run:
        return None
    reason, line = condition(workflow, *_CONFLICT), facts.find(CONTROLLER, *_CONFLICT)
    if reason is None and (line is None or workflow.name not in line.raw + line.text):
        return None
    return certain(
        f"{workflow.name} FAILED before it began: the Hardware was written by somebody else while Tinkerbell opened "
        "netboot, and this version does not try again",
        evidence=[reason, line],
        remedy=remedies.start_anew(facts),
        advice=f"{_OURS}; or upgrade to v0.19.1",
    )


@rule(
    "customboot-empty",
    FAILED,
    10,
    link="tinkerbell/tinkerbell commit ae4d5256",
    since=(0, 19, 0),
    before=(0, 22, 1),
    explains=["post-stuck"],
)
def customboot_empty(facts: Facts) -> Match | None:
    """bootMode customboot with an empty list of actions never goes on."""
    workflow = in_state(facts, "PREPARING", "POST")
    if workflow is None or workflow.boot_mode != "customboot" or (facts.age or 0) < SETTLED_SECONDS:
        return None
    key = "preparingActions" if workflow.state == "PREPARING" else "postActions"
    options = mapping(mapping(workflow.raw.get("spec")).get("bootOptions"))
    if items(mapping(options.get("custombootConfig")).get(key)):
        return None
    return (certain if facts.version else likely)(
        f"{workflow.name} stays in {workflow.state}: custombootConfig.{key} is empty, and this Tinkerbell waits for a "
        "Job that it never makes",
        evidence=[Evidence(f"Workflow {workflow.name}", f"spec.bootOptions.custombootConfig.{key} is empty")],
        first=f"give {key} one action, leave bootOptions out, or upgrade to v0.22.1",
        remedy=remedies.start_anew(facts),
    )


@rule("bmc-working", FINE, link="tinkerbell/tinkerbell rufio/internal/controller (10 min a task)")
def bmc_working(facts: Facts) -> Match | None:
    """Nothing wrong: the BMC's Job is still running."""
    workflow = in_state(facts, "PREPARING")
    running = [job for job in seen(facts.bmc) or () if job.state == "Running" and job.kind == "Job"]
    if workflow is None or not running:
        return None
    age = seconds_since(facts, parse_time(running[-1].created))
    since = f" for {age:.0f} s" if age is not None else ""
    return likely(
        f"the BMC's Job {running[-1].name} has been running{since} (each task may take 600 s)",
        reassurance=NOTHING_WRONG_YET,
        evidence=[Evidence(f"BMC Job {running[-1].name}", "Running")],
        remedy=remedies.kubectl(facts, "get", remedies.JOBS),
    )

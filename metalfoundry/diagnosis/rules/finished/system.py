"""The installation is over, and its machine runs a system: the new one as asked, or not."""

from __future__ import annotations

from functools import partial

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.diagnosis import findings, remedies
from metalfoundry.diagnosis.facts import Facts
from metalfoundry.diagnosis.findings import (
    BAD_MACHINE,
    FINE,
    NOTHING_WRONG,
    NOTHING_WRONG_YET,
    Evidence,
    Match,
    Stage,
    certain,
    likely,
)
from metalfoundry.diagnosis.queries import done, in_state, running_system, status
from metalfoundry.diagnosis.verification import System, Verdict, at_first_boot, booted, judged
from metalfoundry.model.resources import Workflow

rule = partial(findings.rule, Stage.FINISH)


def _ended(facts: Facts) -> tuple[MachineFacts, Workflow, Verdict] | None:
    """The machine that was heard after its installation, the Workflow, and what was found to run."""
    machine, workflow, verdict = facts.machine_facts, done(facts), judged(facts)
    return (machine, workflow, verdict) if machine and workflow and verdict else None


def _ids(machine: MachineFacts) -> Evidence:
    return Evidence("machine", f"{machine.os_name}, boot id {machine.boot_id}, machine id {machine.machine_id}")


@rule(
    "another-machine",
    BAD_MACHINE,
    link="an address is no identity",
    explains=["boot-action-running", "mac-mismatch", "host-key-changed"],
)
def another_machine(facts: Facts) -> Match | None:
    """What answers at the address is not the machine of this Hardware."""
    machine, _, verdict = _ended(facts) or (None, None, None)
    if machine is None or verdict is None or verdict.system is not System.STRANGER:
        return None
    return certain(
        f"what answers at the address is another machine: {verdict.why}",
        evidence=[Evidence("machine", f"{machine.hostname or machine.os_name}, boot id {machine.boot_id}")],
        remedy=remedies.ssh(facts, "hostname; ip link"),
        advice="correct the address in the inventory or in DHCP, or the MAC in the Hardware",
    )


@rule(
    "old-system",
    BAD_MACHINE,
    link="SUCCESS is the agent's word, not the disk's",
    explains=["boot-action-running"],
)
def old_system(facts: Facts) -> Match | None:
    """Tinkerbell says SUCCESS, and the old system runs, or the new one is not as asked."""
    machine, workflow, verdict = _ended(facts) or (None, None, None)
    if machine is None or workflow is None or verdict is None:
        return None
    if verdict.system in (System.STRANGER, System.INSTALLER):
        return None
    problems, advice = "; ".join(verdict.problems), "does DEST_DISK name the disk that boots? Compare it with: lsblk; "
    remedy, advice = remedies.show_template(facts), f"{advice}efibootmgr -v"
    old = verdict.system is System.OLD
    if not old and any(problem.startswith("cloud-init") for problem in verdict.problems):
        remedy = remedies.ssh(facts, "cloud-init status --long; tail -n 50 /var/log/cloud-init-output.log")
        advice = "correct the user data, then install it again"
    if booted(facts) is False:
        what = f"the machine never rebooted: up for {machine.uptime or 0:.0f} s, since before the end of the "
        what, remedy, advice = f"{what}installation", remedies.ssh(facts, "reboot"), ""
    elif old:
        what = f"the machine booted the old system: {verdict.why}"
    elif problems and _first_boot(facts, machine):
        return likely(
            f"the new system is at its first boot: {problems}",
            reassurance=NOTHING_WRONG_YET,
            evidence=[status(workflow)],
            remedy=remedies.ssh(facts, "cloud-init status"),
        )
    elif problems:
        what = f"the system that came up is not the one that was asked for: {problems}"
    else:
        return None
    return certain(
        f"{workflow.name} is {workflow.state}, but {what}",
        evidence=[_ids(machine), status(workflow)],
        remedy=remedy,
        advice=advice,
    )


def _first_boot(facts: Facts, machine: MachineFacts) -> bool:
    """Whether cloud-init is at work still, and has time left."""
    if machine.uptime is None or machine.uptime > facts.configured.timeouts.verify:
        return False
    return at_first_boot(machine)


@rule(
    "unproven-system",
    BAD_MACHINE,
    link="a system is new when something proves it",
    explains=["boot-action-running"],
)
def unproven_system(facts: Facts) -> Match | None:
    """The installation is over, and nothing proves that what runs is the new system."""
    machine, workflow, verdict = _ended(facts) or (None, None, None)
    if machine is None or workflow is None or verdict is None or verdict.system is not System.UNPROVEN:
        return None
    if verdict.problems or booted(facts) is False:
        return None
    return likely(
        f"{workflow.name} is {workflow.state}, and nothing proves that {machine.os_name or 'what runs'} is the new "
        f"system: {verdict.why}",
        evidence=[_ids(machine), status(workflow)],
        remedy=remedies.ssh(facts, "stat / /etc/machine-id"),
        advice="look whether it is; a marker that the Template writes anew proves it (servers.*.verify.marker)",
    )


@rule("installed", FINE, link="two witnesses: the Workflow, and the machine")
def installed(facts: Facts) -> Match | None:
    """Nothing wrong: the Workflow is SUCCESS and the new system runs."""
    machine, workflow, verdict = facts.machine_facts, in_state(facts, "SUCCESS"), judged(facts)
    if machine is None or workflow is None or verdict is None or not verdict.good or booted(facts) is False:
        return None
    return certain(
        f"{workflow.name} is SUCCESS, and the machine runs {machine.os_name or 'its own system'}: {verdict.why}",
        reassurance=NOTHING_WRONG,
        evidence=[running_system(machine), status(workflow)],
        remedy=remedies.ssh(facts, "cat /etc/os-release"),
    )

"""The installation is over, and its machine runs a system: the new one as asked, or not."""

from __future__ import annotations

from collections.abc import Iterator

from metalfoundry.diagnosis import remedies
from metalfoundry.diagnosis.facts import Facts
from metalfoundry.diagnosis.findings import BAD_MACHINE, FINE, Certainty, Evidence, Sign, Stage, rule
from metalfoundry.diagnosis.queries import status
from metalfoundry.diagnosis.rules.finish import done
from metalfoundry.diagnosis.verification import System, at_first_boot, booted, judged

_OTHERS = (System.STRANGER, System.INSTALLER)


@rule(
    "old-system",
    Stage.FINISH,
    BAD_MACHINE,
    link="SUCCESS is the agent's word, not the disk's",
    explains=("boot-action-running", "installed"),
)
def old_system(facts: Facts) -> Iterator[Sign]:
    """Tinkerbell says SUCCESS, and the old system runs, or the new one is not as asked."""
    machine, workflow, verdict = facts.machine_facts, done(facts), judged(facts)
    if machine is None or workflow is None or verdict is None or verdict.system in _OTHERS:
        return
    not_booted = booted(facts) is False
    old = verdict.system is System.OLD
    if not_booted:
        what = (
            f"the machine never rebooted: up for {machine.uptime or 0:.0f} s, since before the end of the installation"
        )
    elif old:
        what = f"the machine booted the old system: {verdict.why}"
    elif verdict.problems and _first_boot(facts):
        words = f"nothing wrong yet: the new system is at its first boot: {'; '.join(verdict.problems)}"
        yield Sign(
            Certainty.LIKELY, words, (status(workflow),), remedies.ssh(facts, "cloud-init status"), exit_code=FINE
        )
        return
    elif verdict.problems:
        what = "the system that came up is not the one that was asked for: " + "; ".join(verdict.problems)
    else:
        return
    yield Sign(
        Certainty.CERTAIN,
        f"{workflow.name} is {workflow.state}, but {what}",
        (
            Evidence("machine", f"{machine.os_name}, boot id {machine.boot_id}, machine id {machine.machine_id}"),
            status(workflow),
        ),
        remedies.ssh(facts, "reboot") if not_booted else _remedy(facts, verdict.problems),
        "" if not_booted else _advice(verdict.problems),
    )


def _first_boot(facts: Facts) -> bool:
    """Whether cloud-init is at work still, and has time left."""
    machine = facts.machine_facts
    if machine is None or machine.uptime is None or machine.uptime > facts.configured.timeouts.verify:
        return False
    return at_first_boot(machine)


def _remedy(facts: Facts, problems: tuple[str, ...]) -> str:
    if any(problem.startswith("cloud-init") for problem in problems):
        return remedies.ssh(facts, "cloud-init status --long; tail -n 50 /var/log/cloud-init-output.log")
    return remedies.show_template(facts)


def _advice(problems: tuple[str, ...]) -> str:
    if any(problem.startswith("cloud-init") for problem in problems):
        return "correct the user data, then install it again"
    return "does DEST_DISK name the disk that boots? Compare it with: lsblk; efibootmgr -v"


@rule(
    "unproven-system",
    Stage.FINISH,
    BAD_MACHINE,
    link="a system is new when something proves it",
    explains=("boot-action-running",),
)
def unproven_system(facts: Facts) -> Iterator[Sign]:
    """The installation is over, and nothing proves that what runs is the new system."""
    machine, workflow, verdict = facts.machine_facts, done(facts), judged(facts)
    if machine is None or workflow is None or verdict is None or verdict.system is not System.UNPROVEN:
        return
    if verdict.problems or booted(facts) is False:
        return
    yield Sign(
        Certainty.LIKELY,
        f"{workflow.name} is {workflow.state}, and nothing proves that {machine.os_name or 'what runs'} is the new "
        f"system: {verdict.why}",
        (
            Evidence("machine", f"{machine.os_name}, boot id {machine.boot_id}, machine id {machine.machine_id}"),
            status(workflow),
        ),
        remedies.ssh(facts, "stat / /etc/machine-id"),
        "look whether it is; a marker that the Template writes anew proves it (servers.*.verify.marker)",
    )


@rule(
    "another-machine",
    Stage.FINISH,
    BAD_MACHINE,
    link="an address is no identity",
    explains=("installed", "boot-action-running", "mac-mismatch"),
)
def another_machine(facts: Facts) -> Iterator[Sign]:
    """What answers at the address is not the machine of this Hardware."""
    machine, workflow, verdict = facts.machine_facts, done(facts), judged(facts)
    if machine is None or workflow is None or verdict is None or verdict.system is not System.STRANGER:
        return
    yield Sign(
        Certainty.CERTAIN,
        f"what answers at the address is another machine: {verdict.why}",
        (Evidence("machine", f"{machine.hostname or machine.os_name}, boot id {machine.boot_id}"),),
        remedies.ssh(facts, "hostname; ip link"),
        "correct the address in the inventory or in DHCP, or the MAC in the Hardware",
    )


RULES = (old_system, unproven_system, another_machine)

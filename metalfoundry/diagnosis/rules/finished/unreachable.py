"""The installation is over, and the machine does not come up: without its console, or with it."""

from __future__ import annotations

from functools import partial

from metalfoundry.commands.log_parser import CONSOLE
from metalfoundry.diagnosis import findings, remedies
from metalfoundry.diagnosis.facts import Facts, seen
from metalfoundry.diagnosis.findings import BAD_MACHINE, NOTHING_WRONG_YET, Evidence, Match, Stage, certain, likely
from metalfoundry.diagnosis.queries import done, since_end, status
from metalfoundry.model.states import SshAnswer

rule = partial(findings.rule, Stage.FINISH)
_D = "vietcgi/gitops-metal-foundry"
_NO_LOADER = (
    "no bootable device",
    "operating system not found",
    "no bootable medium",
    "boot device not found",
    "grub rescue>",
    "missing operating system",
)
_UP = (" login:", "ci-info: no", "Failed to start Wait for Network")


@rule("no-bootloader", BAD_MACHINE, 49, link=f"{_D} 4f6ecd2, bcf5cce, 06cadb6", explains=["boot-action-running"])
def no_bootloader(facts: Facts) -> Match | None:
    """The firmware finds no boot loader on the disk (BIOS against UEFI)."""
    line = facts.find(CONSOLE, *_NO_LOADER)
    if done(facts) is None or line is None or facts.machine_facts is not None:
        return None
    return certain(
        "the disk was written, and the firmware finds no boot loader on it",
        evidence=[line],
        remedy=remedies.show_template(facts),
        advice="does the image fit the firmware's mode? A BIOS image needs GRUB in the MBR, a UEFI one an ESP "
        "(grub-install --removable)",
    )


@rule("no-network", BAD_MACHINE, 48, link=f"{_D} 3c0a59a, b44f3a4", explains=["boot-action-running"])
def no_network(facts: Facts) -> Match | None:
    """The new system is up and has no network."""
    line = next((line for line in reversed(facts.log(CONSOLE)[-5:]) if line.has(*_UP)), None)
    if done(facts) is None or line is None or seen(facts.ssh) != SshAnswer.SILENT:
        return None
    return likely(
        "the new system is up by its console, and does not answer on its address: its network is not set up",
        evidence=[line, Evidence("ssh", "silent")],
        remedy=remedies.show_template(facts),
        advice="is the interface's name in netplan or cloud-init the machine's (match by MAC), and is the NoCloud seed "
        "there?",
    )


@rule(
    "unreachable-after-install",
    BAD_MACHINE,
    48,
    49,
    link="only the console tells 48 from 49",
    explains=["boot-action-running"],
)
def unreachable_after_install(facts: Facts) -> Match | None:
    """The installation is over, and the machine does not come up."""
    workflow, gone, ssh = done(facts), since_end(facts), seen(facts.ssh)
    limit, remedy = facts.configured.timeouts.boot, remedies.ssh(facts, "true")
    if workflow is None or gone is None or facts.machine_facts is not None:
        return None
    if ssh not in (SshAnswer.SILENT, SshAnswer.REFUSED):
        return None
    if gone <= limit:
        if workflow.state != "SUCCESS":
            return None
        what = f"{workflow.name} ended {gone:.0f} of {limit:.0f} s ago, and the machine is booting"
        return likely(what, reassurance=NOTHING_WRONG_YET, evidence=[status(workflow)], remedy=remedy)
    answers = "its network answers, and no sshd listens (no sshd in the image?)"
    if ssh == SshAnswer.SILENT:
        answers = "it does not answer (no boot loader in this firmware's mode, or no network?)"
    return likely(
        f"{workflow.name} ended {gone:.0f} s ago, and the new system was not seen: {answers}",
        evidence=[status(workflow), Evidence("ssh", str(ssh))],
        remedy=remedy,
        advice="look at its console",
    )

"""Nothing was heard of the machine's netboot, or it is on its way."""

from __future__ import annotations

from functools import partial

from metalfoundry.commands.log_parser import SMEE
from metalfoundry.diagnosis import findings, remedies
from metalfoundry.diagnosis.facts import Facts, seen
from metalfoundry.diagnosis.findings import (
    FINE,
    NEVER_INSTALLED,
    NOTHING_WRONG_YET,
    Evidence,
    Match,
    Stage,
    certain,
    likely,
)
from metalfoundry.diagnosis.queries import (
    HOOK_BOOT_SECONDS,
    agent_spoke,
    asked_since,
    not_in_installer,
    perhaps_served,
    running_system,
    seconds_since,
    served,
    smee_lines,
    status,
    waiting,
)
from metalfoundry.diagnosis.rules.netboot.ipxe import PATIENCE
from metalfoundry.model.states import SshAnswer

rule = partial(findings.rule, Stage.BOOT)
_ORDER = "Put the network first in its boot order (efibootmgr -n, or the BMC's one-time boot)"


@rule("never-netbooted", NEVER_INSTALLED, 13, link="boot order; vietcgi/gitops-metal-foundry e701fe4, 326cc2a")
def never_netbooted(facts: Facts) -> Match | None:
    """The machine did not netboot: it booted its disk, or nothing was heard from it."""
    waited = seconds_since(facts, asked_since(facts))
    if not_in_installer(facts) is None or waited is None or not facts.open_interfaces or not facts.log_seen(SMEE):
        return None
    asked, machine = next(smee_lines(facts), None), facts.machine_facts
    if asked is not None and not perhaps_served(facts):
        return None
    silence = Evidence("smee log", f"no request of {facts.mac} in {waited:.0f} s") if asked is None else None
    if machine is not None and not machine.in_hook and machine.uptime is not None and machine.uptime < waited + 5:
        again = "reboot" if facts.latest.open_interfaces else remedies.provision(facts)
        return (likely if asked else certain)(
            f"the machine rebooted {machine.uptime:.0f} s ago and booted its disk: it never asked Smee for a script",
            evidence=[silence, running_system(machine)],
            remedy=remedies.ssh(facts, "efibootmgr"),
            advice=f"{_ORDER}, then: {again}",
        )
    if machine is None and waited > min(facts.configured.timeouts.netboot, 5 * PATIENCE) and not asked:
        return likely(
            f"nothing was heard from the machine in {waited:.0f} s: no request to Smee, and no SSH",
            evidence=[silence],
            first=f"look at its console or BMC: is it on, does another DHCP server answer? {_ORDER}",
            remedy=remedies.provision(facts),
        )
    return None


@rule("hook-starting", FINE, link="HookOS takes one to three minutes to its agent")
def hook_starting(facts: Facts) -> Match | None:
    """Nothing wrong yet: the machine fetched the installer and is booting it."""
    line = served(facts)
    gone = seconds_since(facts, line.time) if line else None
    if waiting(facts) is None or gone is None or gone > HOOK_BOOT_SECONDS or agent_spoke(facts) or facts.in_hook:
        return None
    return likely(
        f"the machine fetched the installer's script {gone:.0f} s ago and is booting it",
        reassurance=NOTHING_WRONG_YET,
        evidence=[line],
        remedy=remedies.logs(facts),
    )


@rule("still-booting", FINE, link="firmware's power-on self-test takes minutes")
def still_booting(facts: Facts) -> Match | None:
    """Nothing wrong yet: the machine is on its way to the installer."""
    workflow, waited = not_in_installer(facts), seconds_since(facts, asked_since(facts))
    limit = facts.configured.timeouts.netboot
    if workflow is None or waited is None or not facts.open_interfaces or seen(facts.ssh) == SshAnswer.OK:
        return None
    if waited >= limit or any(smee_lines(facts)):
        return None
    return likely(
        f"the machine is on its way to the installer, {waited:.0f} of {limit:.0f} s",
        reassurance=NOTHING_WRONG_YET,
        evidence=[status(workflow, "netboot open")],
        remedy=remedies.logs(facts, "smee"),
    )

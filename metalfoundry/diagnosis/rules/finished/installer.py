"""The installation is over, and the machine is in the installer."""

from __future__ import annotations

from functools import partial

from metalfoundry.diagnosis import findings, remedies
from metalfoundry.diagnosis.facts import Facts, Seen
from metalfoundry.diagnosis.findings import (
    ARMED,
    BAD_MACHINE,
    NOTHING_WRONG_YET,
    Evidence,
    Match,
    Stage,
    certain,
    likely,
)
from metalfoundry.diagnosis.queries import done, ended_ago, in_state, open_interfaces, running_system, since_end, status
from metalfoundry.diagnosis.verification import SLACK_SECONDS

rule = partial(findings.rule, Stage.FINISH)


def _hook_is_new(facts: Facts) -> bool | None:
    """Whether the HookOS that runs was booted after the installation; None where its uptime says nothing."""
    machine, ago = facts.machine_facts, since_end(facts)
    return None if machine is None or machine.uptime is None or ago is None else machine.uptime < ago


@rule(
    "reprovision-loop",
    ARMED,
    46,
    link="tink#116; smee#243, smee#35; vietcgi/gitops-metal-foundry 0b650a7",
    explains=["stray-window", "idle-in-hook"],
)
def reprovision_loop(facts: Facts) -> Match | None:
    """Netboot is still open after the installation, and the machine is in the installer again."""
    machine, workflow, fresh = facts.machine_facts, done(facts), _hook_is_new(facts)
    if machine is None or not machine.in_hook or workflow is None or not facts.latest.open_interfaces or fresh is False:
        return None
    return (certain if fresh else likely)(
        f"{workflow.name} is over, netboot is still open, and the machine booted the installer again, not its disk",
        evidence=[open_interfaces(facts.latest), running_system(machine)],
        remedy=f"{remedies.close_netboot(facts)}\n{remedies.ssh(facts, 'reboot')}",
        advice="as long as it is open, each boot ends in the installer, and a new Workflow wipes the disk",
    )


@rule("boots-hook", BAD_MACHINE, 47, link="netboot must be closed before the reboot lands", explains=["idle-in-hook"])
def boots_hook(facts: Facts) -> Match | None:
    """The machine booted the installer once more: netboot was closed too late."""
    machine, workflow = facts.machine_facts, done(facts)
    if machine is None or not machine.in_hook or workflow is None or not _hook_is_new(facts):
        return None
    if facts.latest.open_interfaces or not isinstance(facts.hardware, Seen):
        return None
    return certain(
        f"the machine came back into the installer after {workflow.name}: netboot was closed too late for its reboot",
        evidence=[
            running_system(machine),
            status(workflow, f"over for {since_end(facts) or 0:.0f} s, netboot closed now"),
        ],
        remedy=remedies.ssh(facts, "reboot"),
        advice="netboot is closed now, so it boots its disk; let metalfoundry close it as soon as the installer runs",
    )


@rule("stays-in-hook", BAD_MACHINE, link="a Template without a boot action leaves the machine in HookOS")
def stays_in_hook(facts: Facts) -> Match | None:
    """The installation is over, and nobody reboots the machine out of the installer."""
    machine, workflow, waited = facts.machine_facts, in_state(facts, "SUCCESS"), ended_ago(facts) or 0.0
    if machine is None or not machine.in_hook or workflow is None or _hook_is_new(facts) is not False:
        return None
    late = waited > 2 * SLACK_SECONDS
    return (certain if late else likely)(
        f"{workflow.name} ended {waited:.0f} s ago, and the machine is still in the same boot of the installer",
        reassurance="" if late else NOTHING_WRONG_YET,
        evidence=[Evidence("machine", f"up for {machine.uptime or 0:.0f} s"), status(workflow)],
        remedy=remedies.ssh(facts, "reboot"),
        advice=""
        if facts.boot_action
        else "give the Template a last action that reboots (ghcr.io/jacobweinstock/waitdaemon)",
    )

"""A netboot window that nobody holds, a window without its guard, and parts of the control plane that are down."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from metalfoundry.commands.log_parser import SERVER
from metalfoundry.diagnosis import remedies
from metalfoundry.diagnosis.facts import Facts, Seen, absent, seen
from metalfoundry.diagnosis.findings import ARMED, FINE, NEVER_INSTALLED, Certainty, Evidence, Sign, Stage, rule
from metalfoundry.diagnosis.queries import smee_says, waiting

_RECENT_SECONDS = 120.0


@rule("stray-window", Stage.STRAY, ARMED, 46, link="tink#666: Tinkerbell closes netboot after SUCCESS only")
def stray_window(facts: Facts) -> Iterator[Sign]:
    """Netboot is open, and no live claim holds it: the next boot goes into the installer."""
    if not facts.open_interfaces or not isinstance(facts.claim, Seen):
        return
    claim = facts.claim.value
    if claim is not None and claim.live(facts.now):
        return
    held = (
        f"the claim of {claim.note.holder or claim.run} expired at {claim.note.expires}"
        if claim
        else "nobody claims it"
    )
    opened = ", ".join(f"interfaces[{item.index}] {item.mac}" for item in facts.open_interfaces)
    workflow = waiting(facts)
    ends = f"runs {workflow.name}" if workflow else "ends in the installer, and a Workflow there wipes its disk"
    yield Sign(
        Certainty.POSSIBLE
        if workflow
        else Certainty.CERTAIN,  # while a Workflow waits, its cause of waiting comes first
        f"netboot of {facts.configured.hardware} is open and {held}: the machine's next boot {ends}",
        (Evidence(f"Hardware {facts.configured.hardware}", f"allowPXE: true on {opened}"),),
        remedies.close_netboot(facts),
    )


@rule("guard-missing", Stage.STRAY, FINE, link="docs/guard.md")
def guard_missing(facts: Facts) -> Iterator[Sign]:
    """A window is open under a live claim, and its guard on the jump host is not alive."""
    claim, guards = seen(facts.claim), seen(facts.guards)
    if not facts.open_interfaces or claim is None or guards is None or not claim.live(facts.now):
        return
    if any(guard.run == claim.run and guard.alive for guard in guards):
        return
    yield Sign(
        Certainty.CERTAIN,
        f"netboot is open under the claim of {claim.note.holder or claim.run} until {claim.note.expires}, and no guard "
        "would close it if that run died",
        (Evidence("jump host", f"no living guard of run {claim.run}"),),
        remedies.close_netboot(facts),
        "leave it while that run goes on; close it where the run is gone",
    )


@rule(
    "control-plane-down",
    Stage.PREPARE,
    NEVER_INSTALLED,
    link="kubectl get deployments",
    explains=("never-netbooted", "still-booting", "hook-silent"),
)
def control_plane_down(facts: Facts) -> Iterator[Sign]:
    """A part of Tinkerbell is not running."""
    dead = [item for item in seen(facts.deployments) or () if item.wanted and not item.ready]
    workflow = seen(facts.workflow)
    if not dead or absent(facts.workflow):
        return
    names = ", ".join(item.name for item in dead)
    needed = any(item.is_part for item in dead) and not (workflow and workflow.finished)
    yield Sign(
        Certainty.CERTAIN if needed and not _serves(facts) else Certainty.POSSIBLE,
        f"{names} of the control plane is not running",
        tuple(Evidence("kubectl", f"Deployment {item.name}: 0 of {item.wanted} ready ({item.image})") for item in dead),
        remedies.kubectl(facts, "describe", "deployment", dead[0].name),
    )


def _serves(facts: Facts) -> bool:
    """Whether Smee and tink-server answer, whatever their Deployments say. (The API has: we have read it.)"""
    machine, recent = seen(facts.machine), facts.now - timedelta(seconds=_RECENT_SECONDS)
    heard = any(line.time is not None and line.time >= recent for line in facts.log(SERVER))
    return smee_says(facts) is not None and (heard or bool(machine and machine.grpc))


@rule("no-workflow", Stage.STRAY, FINE, link="nothing asks for an installation")
def no_workflow(facts: Facts) -> Iterator[Sign]:
    """There is no Workflow for this server."""
    if not absent(facts.workflow) or absent(facts.hardware) or facts.in_hook:
        return
    yield Sign(
        Certainty.CERTAIN,
        f"there is no Workflow for {facts.configured.hardware}: nothing is being installed",
        (Evidence("kubectl", f"no Workflow of Hardware {facts.configured.hardware}"),),
        remedies.provision(facts),
    )


RULES = (control_plane_down, stray_window, guard_missing, no_workflow)

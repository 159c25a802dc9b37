"""A netboot window that nobody holds, a window without its guard, and a server of which nothing is asked."""

from __future__ import annotations

from functools import partial

from metalfoundry.diagnosis import findings, remedies
from metalfoundry.diagnosis.facts import Facts, Seen, absent, seen
from metalfoundry.diagnosis.findings import ARMED, FINE, Evidence, Match, Stage, certain, possible
from metalfoundry.diagnosis.queries import open_interfaces, waiting

rule = partial(findings.rule, Stage.STRAY)


@rule("stray-window", ARMED, 46, link="tink#666: Tinkerbell closes netboot after SUCCESS only", window=True)
def stray_window(facts: Facts) -> Match | None:
    """Netboot is open, and no live claim holds it: the next boot goes into the installer."""
    claim, workflow = seen(facts.claim), waiting(facts)
    if not facts.open_interfaces or not isinstance(facts.claim, Seen) or (claim and claim.live(facts.now)):
        return None
    held = "nobody claims it"
    if claim is not None:
        held = f"the claim of {claim.note.holder or claim.run} expired at {claim.note.expires}"
    ends = f"runs {workflow.name}" if workflow else "ends in the installer, and a Workflow there wipes its disk"
    # While a Workflow waits, its cause of waiting comes first.
    return (possible if workflow else certain)(
        f"netboot of {facts.configured.hardware} is open and {held}: the machine's next boot {ends}",
        evidence=[open_interfaces(facts)],
        remedy=remedies.close_netboot(facts),
    )


@rule("guard-missing", FINE, link="docs/guard.md", window=True)
def guard_missing(facts: Facts) -> Match | None:
    """A window is open under a live claim that no living guard has acknowledged."""
    claim, guards = seen(facts.claim), seen(facts.guards)
    if not facts.open_interfaces or claim is None or guards is None or not claim.live(facts.now):
        return None
    if any(guard.run == claim.run and guard.alive for guard in guards):
        return None
    return certain(
        f"netboot is open under the claim of {claim.note.holder or claim.run} until {claim.note.expires}, and no guard "
        "would close it if that run died",
        evidence=[Evidence("annotation metalfoundry.dev/guard", f"no living guard of run {claim.run}")],
        remedy=remedies.close_netboot(facts),
        advice="leave it while that run goes on; close it where the run is gone",
    )


@rule("no-workflow", FINE, link="nothing asks for an installation")
def no_workflow(facts: Facts) -> Match | None:
    """There is no Workflow for this server."""
    if not absent(facts.workflow) or absent(facts.hardware) or facts.in_hook:
        return None
    return certain(
        f"there is no Workflow for {facts.configured.hardware}: nothing is being installed",
        evidence=[Evidence("kubectl", f"no Workflow of Hardware {facts.configured.hardware}")],
        remedy=remedies.provision(facts),
    )

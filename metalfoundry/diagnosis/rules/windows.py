"""A netboot window that nobody holds, a window without its guard, a server of which nothing is asked, and one where
another machine may answer."""

from __future__ import annotations

from functools import partial

from metalfoundry.commands.history import HISTORY, HistoryEntry, past_runs
from metalfoundry.diagnosis import findings, remedies
from metalfoundry.diagnosis.facts import Facts, Seen, absent, seen
from metalfoundry.diagnosis.findings import ARMED, BAD_MACHINE, FINE, Evidence, Match, Stage, certain, likely, possible
from metalfoundry.diagnosis.queries import open_interfaces, waiting
from metalfoundry.diagnosis.verification import doubtful
from metalfoundry.model.foreign import parse_time

rule = partial(findings.rule, Stage.STRAY)


@rule(
    "stray-window",
    ARMED,
    46,
    link="tink#666: Tinkerbell closes netboot after SUCCESS only",
    explains=["no-workflow"],
    window=True,
)
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
    what = f"there is no Workflow for {facts.configured.hardware}: nothing is being installed"
    proof = Evidence("kubectl", f"no Workflow of Hardware {facts.configured.hardware}")
    last = _last_failed(facts)
    if last is None:
        return certain(what, evidence=[proof], remedy=remedies.status(facts))
    ended = f"{_ENDED.get(last.verdict, 'ended')}{f': {last.cause}' if last.cause else ''}"
    return certain(
        f"{what}; its last run ({last.run}, {last.ended or 'nobody knows when'}) {ended}",
        evidence=[proof, Evidence(f"annotation {HISTORY}", f"{last.run}: {last.told}", parse_time(last.ended))],
        remedy=remedies.history(facts),
        advice=f"what that run has seen, where it was led: {remedies.report(last.run)}",
    )


_ENDED = {"failed": "failed", "interrupted": "was interrupted", "unsafe": "ended with netboot not confirmed closed",
          "broken": "was broken off"}  # fmt: skip


def _last_failed(facts: Facts) -> HistoryEntry | None:
    """The last run of the server by whomever, where it did not end well."""
    hardware = seen(facts.hardware)
    last = next(iter(past_runs(hardware)), None) if hardware else None
    return last if last is not None and last.verdict != "provisioned" else None


@rule("host-key-changed", BAD_MACHINE, link="docs/host-keys.md", doubts=True)
def host_key_changed(facts: Facts) -> Match | None:
    """What answers shows another host key than the known one, and no installation explains it."""
    refused = facts.key_refused
    if refused is None or not doubtful(facts):
        return None
    return likely(
        f"what answers may be another machine: {refused.what}",
        evidence=[Evidence("ssh", f"{refused.where}: {refused.what}")],
        first="find out whether the host was re-installed" if refused.forget else "",
        remedy=refused.forget or remedies.show_hardware(facts),
        advice="" if refused.forget else refused.next,
    )

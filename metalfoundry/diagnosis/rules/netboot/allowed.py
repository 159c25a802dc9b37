"""The machine may not netboot, or was never rebooted for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from metalfoundry.commands.log_parser import CONSOLE, SMEE, LogLine, mac_in
from metalfoundry.diagnosis import findings, remedies
from metalfoundry.diagnosis.facts import Facts, Seen, seen
from metalfoundry.diagnosis.findings import NEVER_INSTALLED, Evidence, Match, Stage, certain, likely, possible
from metalfoundry.diagnosis.queries import (
    DENIED,
    asked_since,
    condition,
    denied,
    not_in_installer,
    seconds_since,
    smee_lines,
    smee_says,
)
from metalfoundry.model.resources import Hardware
from metalfoundry.model.states import ClaimPhase

rule = partial(findings.rule, Stage.BOOT)


@rule("flux-closes-netboot", NEVER_INSTALLED, 11, link="fluxcd/kustomize-controller#484")
def flux_closes_netboot(facts: Facts) -> Match | None:
    """Flux took netboot away from the Hardware again."""
    hardware, flux, workflow = seen(facts.hardware), seen(facts.flux), not_in_installer(facts)
    if hardware is None or workflow is None or not hardware.flux_managed or hardware.flux_paused:
        return None
    opened, claim = condition(workflow, "", type="AllowNetbootTrue"), seen(facts.claim)
    ours = claim is not None and claim.live(facts.now) and claim.note.phase in (ClaimPhase.BOOT, ClaimPhase.BY_HAND)
    if facts.open_interfaces or not (opened or ours) or (flux and flux.suspended):
        return None
    interface = facts.interface
    state = "allowPXE is false" if interface and interface.has_netboot else "the netboot block is gone"
    return certain(
        f"netboot of {hardware.name} had been opened, and Flux put the object back as Git has it",
        evidence=[Evidence(f"Hardware {hardware.name}", f"{state}; Flux's labels, and no pause"), opened],
        first="set site.flux: auto in the inventory: a run pauses Flux for this one object then" if ours else "",
        remedy=remedies.provision(facts),
    )


@rule("mac-mismatch", NEVER_INSTALLED, 12, link="T#485, T#278; tink PR#628")
def mac_mismatch(facts: Facts) -> Match | None:
    """The machine's MAC is not the one in the Hardware."""
    hardware, workflow = seen(facts.hardware), not_in_installer(facts)
    if hardware is None or workflow is None or not hardware.interfaces:
        return None
    known = {interface.mac for interface in hardware.interfaces}
    listed = f"the Hardware {hardware.name} knows {', '.join(sorted(known))}"
    machine, before = facts.machine_facts, seen(facts.before)
    own = set(machine.macs if machine else ()) | set(before.macs if before else ())
    stranger = next((line for line in reversed(facts.log(SMEE)) if _refused_stranger(facts, line, known, own)), None)
    if stranger and facts.open_interfaces:
        return _mismatch(facts, certain, f"the machine netboots from {stranger.host}; {listed}", stranger)
    if capital := _in_capitals(hardware):
        proof = Evidence(f"Hardware {hardware.name}", f"dhcp.mac: {capital}")
        what = f"the Hardware {hardware.name} has its MAC in capitals ({capital})"
        return _mismatch(facts, certain, f"{what}; Tinkerbell compares it letter by letter", proof)
    if own and not own & known:
        proof = Evidence("machine", "its interfaces are " + ", ".join(sorted(own)))
        return _mismatch(facts, certain, f"no interface of the machine has a MAC that {listed}", proof)
    if not facts.open_interfaces:
        return None
    if unknown := _unknown_refused(facts, known):
        alone = len({line.host for line in unknown}) == 1
        what = f"Smee refused {unknown[0].host}, which no Hardware has; if that is this machine: {listed}"
        return _mismatch(facts, likely if alone else possible, what, unknown[0])
    if smee_says(facts) is False or facts.configured.mac not in (None, *known):
        proof = Evidence("Smee", f"has no script for {facts.mac}, though the Hardware allows netboot")
        return _mismatch(facts, likely, f"Smee does not know {facts.mac}; {listed}", proof)
    return None


def _mismatch(facts: Facts, sure: Callable[..., Match], what: str, proof: LogLine | Evidence) -> Match:
    return sure(
        what,
        evidence=[proof],
        remedy=remedies.show_hardware(facts),
        advice="write the MAC of the interface that netboots into spec.interfaces[].dhcp.mac, in lower case",
    )


def _in_capitals(hardware: Hardware) -> str:
    """A MAC as it is written there, where it is not in lower case."""
    interfaces = hardware.raw.get("spec", {}).get("interfaces", [])
    written = (str(item.get("dhcp", {}).get("mac", "")) for item in interfaces)
    return next((mac for mac in written if mac != mac.lower()), "")


def _unknown_refused(facts: Facts, known: set[str]) -> list[LogLine]:
    """Refusals of foreign MACs while this one should have come, and did not. (The log is cut to those that no other
    Hardware has.)"""
    since = asked_since(facts)
    if facts.machine_facts is not None or since is None or any(smee_lines(facts)):
        return []
    lines = (line for line in reversed(facts.log(SMEE)) if line.has(DENIED) and mac_in(line.host))
    return [line for line in lines if line.host not in known and line.time is not None and line.time >= since]


def _refused_stranger(facts: Facts, line: LogLine, known: set[str], own: set[str]) -> bool:
    """A refusal of a MAC that the Hardware lacks, though it is one of the machine's, or asked from its address."""
    refused = DENIED in line.text or line.text.endswith((": 404", ": 403"))
    if not refused or not mac_in(line.host) or line.host in known:
        return False
    return line.host in own or any(f"from {address}:" in line.text for address in facts.addresses)


@rule(
    "pxe-closed", NEVER_INSTALLED, 11, link="tinkerbell/tinkerbell smee/internal/ipxe/script/ipxe.go:153@v0.21; T#223"
)
def pxe_closed(facts: Facts) -> Match | None:
    """Netboot is closed: allowPXE is not true."""
    hardware, interface, workflow = seen(facts.hardware), facts.interface, not_in_installer(facts)
    if hardware is None or interface is None or workflow is None or facts.open_interfaces:
        return None
    line = denied(facts) or facts.find(CONSOLE, "netboot-not-allowed")
    refused = smee_says(facts) is False
    value = "no netboot block" if not interface.has_netboot else f"allowPXE: {str(interface.allow_pxe).lower()}"
    return (certain if line or refused else likely)(
        f"netboot of {hardware.name} is closed, so {workflow.name} waits for a machine that Smee sends to its disk",
        evidence=[
            line,
            Evidence("Smee", f"denies the script to {facts.mac} on both of its paths") if refused else None,
            Evidence(f"Hardware {hardware.name}", f"interfaces[{interface.index}]: {value}"),
        ],
        remedy=remedies.provision(facts),
    )


@rule("not-rebooted", NEVER_INSTALLED, 13, link="the machine's own uptime")
def not_rebooted(facts: Facts) -> Match | None:
    """The machine has not been rebooted."""
    workflow, machine, waited = not_in_installer(facts), facts.machine_facts, seconds_since(facts, asked_since(facts))
    if workflow is None or machine is None or machine.uptime is None or waited is None:
        return None
    before = seen(facts.before)
    same = before is not None and before.boot_id == machine.boot_id and isinstance(facts.started, Seen)
    if not same and machine.uptime < waited + 5:
        return None
    return certain(
        f"{workflow.name} has waited for {waited:.0f} s, and the machine has been up in "
        f"{machine.os_name or 'its system'} for {machine.uptime:.0f} s: it was not rebooted",
        evidence=[Evidence("machine", f"uptime {machine.uptime:.0f} s, boot id {machine.boot_id}")],
        first="see at its console why it did not go down, or power-cycle it" if seen(facts.started) else "",
        remedy=remedies.ssh(facts, "reboot") if facts.latest.open_interfaces else remedies.provision(facts),
    )

"""A Workflow that waits for a machine which never reached HookOS."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from metalfoundry.commands.log_parser import SMEE, LogLine, mac_in
from metalfoundry.diagnosis import remedies
from metalfoundry.diagnosis.facts import Facts, Seen, seen
from metalfoundry.diagnosis.findings import FINE, NEVER_INSTALLED, Certainty, Evidence, Sign, Stage, rule
from metalfoundry.diagnosis.queries import (
    DENIED,
    asked_since,
    condition,
    denied,
    not_in_installer,
    perhaps_served,
    smee_lines,
    smee_says,
    status,
)
from metalfoundry.model.states import ClaimPhase, SshAnswer

_NOT_BOOTED = ("never-netbooted", "not-rebooted", "still-booting")
PATIENCE = 120.0


@rule(
    "flux-closes-netboot",
    Stage.BOOT,
    NEVER_INSTALLED,
    11,
    link="fluxcd/kustomize-controller#484",
    explains=("pxe-closed", *_NOT_BOOTED),
)
def flux_closes_netboot(facts: Facts) -> Iterator[Sign]:
    """Flux took netboot away from the Hardware again."""
    hardware, flux = seen(facts.hardware), seen(facts.flux)
    workflow = not_in_installer(facts)
    if hardware is None or workflow is None or not hardware.flux_managed or hardware.flux_paused:
        return
    opened = condition(workflow, "", type="AllowNetbootTrue")
    claim = seen(facts.claim)
    ours = claim is not None and claim.live(facts.now) and claim.note.phase in (ClaimPhase.BOOT, ClaimPhase.BY_HAND)
    was_open = opened is not None or ours
    if facts.open_interfaces or not was_open or (flux and flux.suspended):
        return
    interface = facts.interface
    state = "allowPXE is false" if interface and interface.has_netboot else "the netboot block is gone"
    shown = [Evidence(f"Hardware {hardware.name}", f"{state}; Flux's labels, and no pause")]
    yield Sign(
        Certainty.CERTAIN,
        f"netboot of {hardware.name} had been opened, and Flux put the object back as Git has it",
        tuple(shown + ([opened] if opened else [])),
        remedies.provision(facts),
        first="set site.flux: auto in the inventory: a run pauses Flux for this one object then" if ours else "",
    )


@rule(
    "pxe-closed",
    Stage.BOOT,
    NEVER_INSTALLED,
    11,
    link="tinkerbell/tinkerbell smee/internal/ipxe/script/ipxe.go:153@v0.21; T#223",
    explains=_NOT_BOOTED,
)
def pxe_closed(facts: Facts) -> Iterator[Sign]:
    """Netboot is closed: allowPXE is not true."""
    hardware, interface, workflow = seen(facts.hardware), facts.interface, not_in_installer(facts)
    if hardware is None or interface is None or workflow is None or facts.open_interfaces:
        return
    line = denied(facts) or facts.find("console", "netboot-not-allowed")
    value = "no netboot block" if not interface.has_netboot else f"allowPXE: {str(interface.allow_pxe).lower()}"
    evidence = [Evidence.of(line)] if line else []
    if smee_says(facts) is False:
        evidence.append(Evidence("Smee", f"denies the script to {facts.mac} on both of its paths"))
    evidence.append(Evidence(f"Hardware {hardware.name}", f"interfaces[{interface.index}]: {value}"))
    yield Sign(
        Certainty.CERTAIN if len(evidence) > 1 else Certainty.LIKELY,
        f"netboot of {hardware.name} is closed, so {workflow.name} waits for a machine that Smee sends to its disk",
        tuple(evidence),
        remedies.provision(facts),
    )


@rule(
    "mac-mismatch",
    Stage.BOOT,
    NEVER_INSTALLED,
    12,
    link="T#485, T#278; tink PR#628",
    explains=("pxe-closed", *_NOT_BOOTED),
)
def mac_mismatch(facts: Facts) -> Iterator[Sign]:
    """The machine's MAC is not the one in the Hardware."""
    hardware, workflow = seen(facts.hardware), not_in_installer(facts)
    if hardware is None or workflow is None or not hardware.interfaces:
        return
    known = {interface.mac for interface in hardware.interfaces}
    written = [str(item.get("dhcp", {}).get("mac", "")) for item in hardware.raw.get("spec", {}).get("interfaces", [])]
    machine, before = facts.machine_facts, seen(facts.before)
    own = set(machine.macs if machine else ()) | set(before.macs if before else ())
    strangers = [
        line for line in reversed(facts.log(SMEE)) if _refused_stranger(facts, line.text, line.host, known, own)
    ]
    listed = f"the Hardware {hardware.name} knows {', '.join(sorted(known))}"
    show, advice = (
        remedies.kubectl(facts, "get", "hardware.v1alpha1.tinkerbell.org", hardware.name, "-o", "yaml"),
        ("write the MAC of the interface that netboots into spec.interfaces[].dhcp.mac, in lower case"),
    )
    capital = next((mac for mac in written if mac != mac.lower()), "")
    if strangers and facts.open_interfaces:
        what = f"the machine netboots from {strangers[0].host}; {listed}"
        yield Sign(Certainty.CERTAIN, what, (Evidence.of(strangers[0]),), show, advice)
    elif capital:
        what = (
            f"the Hardware {hardware.name} has its MAC in capitals ({capital}); Tinkerbell compares it letter by letter"
        )
        yield Sign(
            Certainty.CERTAIN, what, (Evidence(f"Hardware {hardware.name}", f"dhcp.mac: {capital}"),), show, advice
        )
    elif own and not own & known:
        shown = Evidence("machine", "its interfaces are " + ", ".join(sorted(own)))
        yield Sign(Certainty.CERTAIN, f"no interface of the machine has a MAC that {listed}", (shown,), show, advice)
    elif facts.open_interfaces and (unknown := _unknown_refused(facts, known)):
        one = len({line.host for line in unknown}) == 1
        what = f"Smee refused {unknown[0].host}, which no Hardware has; if that is this machine: {listed}"
        yield Sign(Certainty.LIKELY if one else Certainty.POSSIBLE, what, (Evidence.of(unknown[0]),), show, advice)
    elif facts.open_interfaces and (smee_says(facts) is False or facts.configured.mac not in (None, *known)):
        shown = Evidence("Smee", f"has no script for {facts.mac}, though the Hardware allows netboot")
        yield Sign(Certainty.LIKELY, f"Smee does not know {facts.mac}; {listed}", (shown,), show, advice)


def _unknown_refused(facts: Facts, known: set[str]) -> list[LogLine]:
    """Refusals of foreign MACs while this one should have come, and did not. (The log is cut to those that no other
    Hardware has.)"""
    since = asked_since(facts)
    if facts.machine_facts is not None or since is None or any(smee_lines(facts)):
        return []
    lines = (line for line in reversed(facts.log(SMEE)) if line.has(DENIED) and mac_in(line.host))
    return [line for line in lines if line.host not in known and line.time is not None and line.time >= since]


def _refused_stranger(facts: Facts, text: str, host: str, known: set[str], own: set[str]) -> bool:
    """A refusal of a MAC that the Hardware lacks, though it is one of the machine's, or asked from its address."""
    if not mac_in(host) or host in known or not (DENIED in text or text.endswith((": 404", ": 403"))):
        return False
    return host in own or any(f"from {address}:" in text for address in facts.addresses)


@rule("not-rebooted", Stage.BOOT, NEVER_INSTALLED, 13, link="the machine's own uptime", explains=("never-netbooted",))
def not_rebooted(facts: Facts) -> Iterator[Sign]:
    """The machine has not been rebooted."""
    workflow, machine, since = not_in_installer(facts), facts.machine_facts, asked_since(facts)
    if workflow is None or machine is None or machine.uptime is None or since is None:
        return
    waited = (facts.now - since).total_seconds()
    before = seen(facts.before)
    same = before is not None and before.boot_id == machine.boot_id and isinstance(facts.started, Seen)
    if not same and machine.uptime < waited + 5:
        return
    yield Sign(
        Certainty.CERTAIN,
        f"{workflow.name} has waited for {waited:.0f} s, and the machine has been up in "
        f"{machine.os_name or 'its system'} for {machine.uptime:.0f} s: it was not rebooted",
        (Evidence("machine", f"uptime {machine.uptime:.0f} s, boot id {machine.boot_id}"),),
        remedies.ssh(facts, "reboot") if facts.latest.open_interfaces else remedies.provision(facts),
        first="see at its console why it did not go down, or power-cycle it" if seen(facts.started) else "",
    )


@rule(
    "never-netbooted",
    Stage.BOOT,
    NEVER_INSTALLED,
    13,
    link="boot order; vietcgi/gitops-metal-foundry e701fe4, 326cc2a",
    explains=("still-booting",),
)
def never_netbooted(facts: Facts) -> Iterator[Sign]:
    """The machine did not netboot: it booted its disk, or nothing was heard from it."""
    workflow, since = not_in_installer(facts), asked_since(facts)
    if workflow is None or since is None or not facts.open_interfaces or not facts.log_seen(SMEE):
        return
    waited = (facts.now - since).total_seconds()
    asked = next(smee_lines(facts), None)
    machine = facts.machine_facts
    if asked is not None and not perhaps_served(facts):
        return
    none = Evidence("smee log", f"no request of {facts.mac} in {waited:.0f} s")
    boot = remedies.ssh(facts, "efibootmgr")
    order = "Put the network first in its boot order (efibootmgr -n, or the BMC's one-time boot)"
    again = "reboot" if facts.latest.open_interfaces else remedies.provision(facts)
    if machine is not None and not machine.in_hook and machine.uptime is not None and machine.uptime < waited + 5:
        shown = Evidence("machine", f"{machine.os_name}, up for {machine.uptime:.0f} s")
        what = f"the machine rebooted {machine.uptime:.0f} s ago and booted its disk: it never asked Smee for a script"
        sure = Certainty.LIKELY if asked else Certainty.CERTAIN
        yield Sign(sure, what, (none, shown) if not asked else (shown,), boot, f"{order}, then: {again}")
    elif machine is None and waited > min(facts.configured.timeouts.netboot, 5 * PATIENCE) and not asked:
        what = f"nothing was heard from the machine in {waited:.0f} s: no request to Smee, and no SSH"
        yield Sign(
            Certainty.LIKELY,
            what,
            (none,),
            remedies.provision(facts),
            first=f"look at its console or BMC: is it on, does another DHCP server answer? {order}",
        )


@rule("still-booting", Stage.BOOT, FINE, link="firmware's power-on self-test takes minutes")
def still_booting(facts: Facts) -> Iterator[Sign]:
    """Nothing wrong yet: the machine is on its way to the installer."""
    workflow, since = not_in_installer(facts), asked_since(facts)
    limit = facts.configured.timeouts.netboot
    if workflow is None or since is None or not facts.open_interfaces or seen(facts.ssh) == SshAnswer.OK:
        return
    waited = (facts.now - since).total_seconds()
    if waited >= limit or any(smee_lines(facts)):
        return
    yield Sign(
        Certainty.LIKELY,
        f"nothing wrong yet: the machine is on its way to the installer, {waited:.0f} of {limit:.0f} s",
        (status(workflow, "netboot open"),),
        remedies.logs(facts, "smee"),
    )


_DHCP = ("dhcp", "proxydhcp", "received DHCP packet", "sent DHCP response")


@rule(
    "dhcp-without-script",
    Stage.BOOT,
    NEVER_INSTALLED,
    14,
    link="smee#382; T#424",
    explains=("never-netbooted", "still-booting"),
)
def dhcp_without_script(facts: Facts) -> Iterator[Sign]:
    """The machine got an answer by DHCP and never asked for its script (relay, second DHCP server, TFTP)."""
    workflow = not_in_installer(facts)
    lines = list(smee_lines(facts)) if workflow and facts.open_interfaces else []
    talk = [line for line in lines if not line.get("uri") and line.has(*_DHCP)]
    fetched = [line for line in lines if line.get("uri").endswith("auto.ipxe") or DENIED in line.text]
    if not workflow or not talk or fetched or (age := _since(facts, talk[0].time)) is None or age < PATIENCE:
        return
    yield Sign(
        Certainty.LIKELY,
        f"the machine asked by DHCP {age:.0f} s ago and never came for its script",
        (Evidence.of(talk[0]),),
        remedies.logs(facts, "smee"),
        "another DHCP server may have answered first, a relay may lose the broadcast, or TFTP is blocked",
    )


def _since(facts: Facts, moment: datetime | None) -> float | None:
    return (facts.now - moment).total_seconds() if moment else None


RULES = (
    flux_closes_netboot,
    pxe_closed,
    mac_mismatch,
    not_rebooted,
    never_netbooted,
    still_booting,
    dhcp_without_script,
)

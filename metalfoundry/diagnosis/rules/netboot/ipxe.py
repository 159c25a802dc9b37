"""What stops a machine between its firmware and HookOS: DHCP, TFTP, iPXE, kernel and initrd. Mostly only a console,
iPXE's syslog or a web server's log can tell."""

from __future__ import annotations

import re
from functools import partial

from metalfoundry.commands.log_parser import CONSOLE, SMEE, WEB
from metalfoundry.diagnosis import findings, remedies
from metalfoundry.diagnosis.facts import Facts
from metalfoundry.diagnosis.findings import NEVER_INSTALLED, Match, Stage, certain, likely
from metalfoundry.diagnosis.queries import (
    DENIED,
    agent_spoke,
    not_in_installer,
    seconds_since,
    served,
    smee_lines,
    waiting,
)

rule = partial(findings.rule, Stage.BOOT)
PATIENCE = 120.0
_OWN_LINK = re.compile(r"https?://ipxe\.org/\S*")
_DHCP = ("dhcp", "proxydhcp", "received DHCP packet", "sent DHCP response")


def _no_agent(facts: Facts) -> bool:
    return waiting(facts) is not None and not agent_spoke(facts) and not facts.in_hook


@rule("ipxe-tls", NEVER_INSTALLED, 16, link="ipxe#1285 (3c092083); netbootxyz#870", explains=["hook-silent"])
def ipxe_tls(facts: Facts) -> Match | None:
    """iPXE cannot speak the TLS of an https address."""
    refusals = facts.lines(CONSOLE, "Operation not supported", "Operation not permitted") if _no_agent(facts) else ()
    # iPXE's own explanatory link to ipxe.org is no address that it was sent to.
    line = next((line for line in refusals if "https://" in _OWN_LINK.sub("", line.text)), None)
    if line is None:
        return None
    return certain(
        "iPXE cannot fetch an https address: it knows no TLS 1.3 and few ciphers",
        evidence=[line],
        remedy=remedies.show_hardware(facts),
        advice="serve HookOS's files over plain http, and do not redirect http to https for them",
    )


@rule("kernel-missing", NEVER_INSTALLED, 15, link="T#199; smee#333", explains=["hook-silent"])
def kernel_missing(facts: Facts) -> Match | None:
    """HookOS's kernel or initrd is not where the script says."""
    if not _no_agent(facts):
        return None
    line = facts.find(CONSOLE, "Failed to load kernel", "Failed to load initrd")
    absent = facts.lines(WEB, "(2: No such file", '" 404 ')
    web = next((line for line in absent if line.has("vmlinuz", "initramfs")), None)
    if line is None and web is None:
        return None
    missing = re.search(r"(?:vmlinuz|initramfs)[\w.-]*", web.text) if web else None
    return certain(
        f"iPXE cannot load HookOS: {missing[0] if missing else 'its kernel or initrd'} is not on the web server",
        evidence=[line, web],
        remedy=remedies.show_hardware(facts),
        advice="put HookOS's files there under the very names the script asks for (netboot.osie, or Smee's osie URL)",
    )


@rule("ipxe-autoexec", NEVER_INSTALLED, 14, link="T#424", explains=["hook-silent"])
def ipxe_autoexec(facts: Facts) -> Match | None:
    """iPXE stops, or goes round, at autoexec.ipxe."""
    line = facts.find(CONSOLE, "autoexec.ipxe") if _no_agent(facts) else None
    if line is None or (last := facts.log(CONSOLE)[-1]).has("auto.ipxe... ok", "vmlinuz", "initramfs"):
        return None
    return (certain if last is line else likely)(
        "iPXE stopped at autoexec.ipxe: it was not handed on to Smee's script",
        evidence=[line],
        remedy=remedies.logs(facts, "smee"),
        advice="let DHCP give iPXE clients Smee's auto.ipxe as their boot file, not the iPXE binary again",
    )


@rule("tftp-fails", NEVER_INSTALLED, 14, link="T#728; smee#504, smee#453", explains=["hook-silent"])
def tftp_fails(facts: Facts) -> Match | None:
    """The iPXE binary does not come over TFTP."""
    line = facts.find(CONSOLE, "PXE-E18", "PXE-E32") or facts.find(SMEE, "channel timeout")
    if line is None or not _no_agent(facts) or served(facts):
        return None
    return (certain if line.source == CONSOLE else likely)(
        "the machine's firmware could not fetch iPXE over TFTP",
        evidence=[line],
        remedy=remedies.logs(facts, "smee"),
        advice="let UDP 69 and the high ports to and from Smee through, mind the MTU; or use UEFI HTTP boot",
    )


@rule("dhcp-without-script", NEVER_INSTALLED, 14, link="smee#382; T#424")
def dhcp_without_script(facts: Facts) -> Match | None:
    """The machine got an answer by DHCP and never asked for its script (relay, second DHCP server, TFTP)."""
    lines = list(smee_lines(facts)) if not_in_installer(facts) and facts.open_interfaces else []
    talk = [line for line in lines if not line.get("uri") and line.has(*_DHCP)]
    if not talk or any(line.get("uri").endswith("auto.ipxe") or DENIED in line.text for line in lines):
        return None
    age = seconds_since(facts, talk[0].time)
    if age is None or age < PATIENCE:
        return None
    return likely(
        f"the machine asked by DHCP {age:.0f} s ago and never came for its script",
        evidence=[talk[0]],
        remedy=remedies.logs(facts, "smee"),
        advice="another DHCP server may have answered first, a relay may lose the broadcast, or TFTP is blocked",
    )

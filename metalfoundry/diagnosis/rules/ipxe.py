"""What stops a machine between its firmware and HookOS: TFTP, iPXE, kernel and initrd. Only a console, iPXE's syslog
or a web server's log can tell."""

from __future__ import annotations

import re
from collections.abc import Iterator

from metalfoundry.commands.log_parser import AGENT, CONSOLE, SERVER, SMEE, WEB
from metalfoundry.diagnosis import remedies
from metalfoundry.diagnosis.facts import Facts, seen
from metalfoundry.diagnosis.findings import FINE, NEVER_INSTALLED, Certainty, Evidence, Sign, Stage, rule
from metalfoundry.diagnosis.queries import agent_spoke, served, waiting
from metalfoundry.model.states import SshAnswer

_HIDES = ("never-netbooted", "still-booting", "dhcp-without-script", "hook-silent", "hook-starting")
_OWN_LINK = re.compile(r"https?://ipxe\.org/\S*")
HOOK_BOOT_SECONDS = 240.0


def _no_agent(facts: Facts) -> bool:
    return waiting(facts) is not None and not agent_spoke(facts) and not facts.in_hook


@rule("ipxe-autoexec", Stage.BOOT, NEVER_INSTALLED, 14, link="T#424", explains=_HIDES)
def ipxe_autoexec(facts: Facts) -> Iterator[Sign]:
    """iPXE stops, or goes round, at autoexec.ipxe."""
    line = facts.find(CONSOLE, "autoexec.ipxe") if _no_agent(facts) else None
    if line is None or (last := facts.log(CONSOLE)[-1]).has("auto.ipxe... ok", "vmlinuz", "initramfs"):
        return
    yield Sign(
        Certainty.CERTAIN if last is line else Certainty.LIKELY,
        "iPXE stopped at autoexec.ipxe: it was not handed on to Smee's script",
        (Evidence.of(line),),
        remedies.logs(facts, "smee"),
        "let DHCP give iPXE clients Smee's auto.ipxe as their boot file, not the iPXE binary again",
    )


@rule("tftp-fails", Stage.BOOT, NEVER_INSTALLED, 14, link="T#728; smee#504, smee#453", explains=_HIDES)
def tftp_fails(facts: Facts) -> Iterator[Sign]:
    """The iPXE binary does not come over TFTP."""
    if not _no_agent(facts) or served(facts):
        return
    line = facts.find(CONSOLE, "PXE-E18", "PXE-E32") or facts.find(SMEE, "channel timeout")
    if line is None:
        return
    yield Sign(
        Certainty.CERTAIN if line.source == CONSOLE else Certainty.LIKELY,
        "the machine's firmware could not fetch iPXE over TFTP",
        (Evidence.of(line),),
        remedies.logs(facts, "smee"),
        "let UDP 69 and the high ports to and from Smee through, mind the MTU; or use UEFI HTTP boot",
    )


@rule("kernel-missing", Stage.BOOT, NEVER_INSTALLED, 15, link="T#199; smee#333", explains=_HIDES)
def kernel_missing(facts: Facts) -> Iterator[Sign]:
    """HookOS's kernel or initrd is not where the script says."""
    if not _no_agent(facts):
        return
    line = facts.find(CONSOLE, "Failed to load kernel", "Failed to load initrd")
    web = next(
        (item for item in facts.lines(WEB, "(2: No such file", '" 404 ') if item.has("vmlinuz", "initramfs")), None
    )
    if line is None and web is None:
        return
    missing = re.search(r"(?:vmlinuz|initramfs)[\w.-]*", web.text) if web else None
    yield Sign(
        Certainty.CERTAIN,
        f"iPXE cannot load HookOS: {missing[0] if missing else 'its kernel or initrd'} is not on the web server",
        tuple(Evidence.of(item) for item in (line, web) if item),
        remedies.kubectl(facts, "get", "hardware.v1alpha1.tinkerbell.org", facts.configured.hardware, "-o", "yaml"),
        "put HookOS's files there under the very names the script asks for (netboot.osie, or Smee's osie URL)",
    )


@rule(
    "ipxe-tls",
    Stage.BOOT,
    NEVER_INSTALLED,
    16,
    link="ipxe#1285 (3c092083); netbootxyz#870",
    explains=("kernel-missing", *_HIDES),
)
def ipxe_tls(facts: Facts) -> Iterator[Sign]:
    """iPXE cannot speak the TLS of an https address."""
    line = next(_tls_lines(facts), None) if _no_agent(facts) else None
    if line is None:
        return
    yield Sign(
        Certainty.CERTAIN,
        "iPXE cannot fetch an https address: it knows no TLS 1.3 and few ciphers",
        (line,),
        remedies.kubectl(facts, "get", "hardware.v1alpha1.tinkerbell.org", facts.configured.hardware, "-o", "yaml"),
        "serve HookOS's files over plain http, and do not redirect http to https for them",
    )


def _tls_lines(facts: Facts) -> Iterator[Evidence]:
    """A refusal by iPXE on an https URL; its own explanatory link to ipxe.org does not count as one."""
    for line in facts.lines(CONSOLE, "Operation not supported", "Operation not permitted"):
        if "https://" in _OWN_LINK.sub("", line.text):
            yield Evidence.of(line)


@rule("hook-starting", Stage.BOOT, FINE, link="HookOS takes one to three minutes to its agent")
def hook_starting(facts: Facts) -> Iterator[Sign]:
    """Nothing wrong yet: the machine fetched the installer and is booting it."""
    line, workflow = served(facts), waiting(facts)
    if workflow is None or line is None or line.time is None or agent_spoke(facts) or facts.in_hook:
        return
    gone = (facts.now - line.time).total_seconds()
    if gone > HOOK_BOOT_SECONDS:
        return
    yield Sign(
        Certainty.LIKELY,
        f"nothing wrong yet: the machine fetched the installer's script {gone:.0f} s ago and is booting it",
        (Evidence.of(line),),
        remedies.logs(facts),
    )


@rule("hook-silent", Stage.AGENT, NEVER_INSTALLED, 17, 19, 21, link="HookOS without sshd: only its console tells more")
def hook_silent(facts: Facts) -> Iterator[Sign]:
    """The machine fetched the installer, and no agent was heard since."""
    line, workflow = served(facts), waiting(facts)
    if workflow is None or line is None or line.time is None or agent_spoke(facts):
        return
    gone = (facts.now - line.time).total_seconds()
    if gone <= HOOK_BOOT_SECONDS:
        return
    where = "its sshd answers" if seen(facts.ssh) == SshAnswer.OK else "it has no sshd, or no network"
    listened = facts.log_seen(AGENT) or facts.log_seen(SERVER)
    yield Sign(
        Certainty.LIKELY if listened else Certainty.POSSIBLE,
        f"the machine fetched the installer's script {gone:.0f} s ago, and no agent was heard since ({where})",
        (Evidence.of(line),),
        remedies.logs(facts, "smee"),
        "look at its console: no address (driver or firmware of the NIC), or /var/log/hook-bootkit.log says why the "
        "agent's image was not pulled",
    )


RULES = (ipxe_autoexec, tftp_fails, kernel_missing, ipxe_tls, hook_starting, hook_silent)

"""HookOS is up, and its bootkit did not get an agent to run."""

from __future__ import annotations

from functools import partial

from metalfoundry.commands.log_parser import AGENT, BOOTKIT, LogLine
from metalfoundry.diagnosis import findings, remedies
from metalfoundry.diagnosis.facts import Facts
from metalfoundry.diagnosis.findings import NEVER_INSTALLED, Evidence, Match, Stage, certain, likely
from metalfoundry.diagnosis.queries import agent_spoke, installer
from metalfoundry.diagnosis.rules.agent.connection import EXPIRED, complaint_of

rule = partial(findings.rule, Stage.AGENT)
_HOOK = "tinkerbell/hook images/hook-bootkit/main.go"
_PULL = ("image pull failure", "bootstrapping tink-worker failed")
_STARTED = ("Starting tink-worker container", "bootstrapper finished")
_NO_NET = ("network is unreachable", "no route to host", "network unreachable")
_SPECIFIED = "'docker_registry' and/or 'tink_worker_image' NOT specified"
_SKEW_SECONDS = 300.0


def _still(facts: Facts, *words: str) -> LogLine | None:
    """The bootkit's last line with any of `words`, unless an agent was started, or heard, after it."""
    line, lines = facts.find(BOOTKIT, *words), facts.log(BOOTKIT)
    if line is None or any(item.has(*_STARTED) for item in lines[lines.index(line) + 1 :]):
        return None
    heard = any(item.time and line.time and item.time > line.time for item in facts.log(AGENT))
    return None if heard else line


def _pull_line(facts: Facts, *words: str) -> LogLine | None:
    """The bootkit's last line with any of `words`, where a pull has failed."""
    return facts.find(BOOTKIT, *words) if _still(facts, *_PULL) else None


@rule("no-nic", NEVER_INSTALLED, 17, link="hook#258")
def no_nic(facts: Facts) -> Match | None:
    """HookOS is up without an address: driver or firmware of the NIC is missing."""
    line, machine = _pull_line(facts, *_NO_NET), installer(facts)
    bare = machine is not None and machine.addresses == ()
    if line is None and not bare:
        return None
    return certain(
        "HookOS is up and has no network: its kernel lacks the NIC's driver or firmware, or it is on another VLAN",
        evidence=[line or Evidence("machine", "no interface has an address")],
        remedy=remedies.show_hardware(facts),
        advice="on its console: ip link; dmesg | grep -i firmware. Use HookOS's kernel flavour with the driver, or "
        "give vlan_id= / interface= as kernel arguments",
    )


@rule("no-agent-image", NEVER_INSTALLED, 18, link=f"{_HOOK}:106")
def no_agent_image(facts: Facts) -> Match | None:
    """The kernel's command line names no image of the agent."""
    line, machine = _still(facts, _SPECIFIED), facts.machine_facts
    arguments = machine.kernel_args.keys() if machine and machine.in_hook else None
    missing = arguments is not None and not ({"docker_registry", "tink_worker_image"} & arguments)
    if line is None and (not missing or agent_spoke(facts)):
        return None
    return (certain if line else likely)(
        "HookOS was booted without the agent's image: its command line has no tink_worker_image",
        evidence=[line, Evidence("machine's kernel command line", machine.cmdline) if missing and machine else None],
        remedy=remedies.show_deployments(facts),
        advice="set Smee's extra kernel arguments to tink_worker_image=ghcr.io/tinkerbell/tink-agent:VERSION, then "
        "reboot",
    )


@rule("clock-wrong", NEVER_INSTALLED, 20, link="hook PR#304")
def clock_wrong(facts: Facts) -> Match | None:
    """The machine's clock is wrong, so certificates count as expired."""
    complaint, machine = complaint_of(facts), installer(facts)
    line = _pull_line(facts, EXPIRED) or (complaint if complaint is not None and complaint.has(EXPIRED) else None)
    skew = machine.skew if machine else None
    wrong = skew is not None and abs(skew) > _SKEW_SECONDS
    if not wrong and (line is None or skew is not None):
        return None
    return (certain if line else likely)(
        "the machine's clock is wrong"
        + (f" by {abs(skew):.0f} s" if wrong and skew is not None else "")
        + ": certificates count as expired or not yet valid",
        evidence=[
            line,
            Evidence("machine's clock", f"{skew:+.0f} s against the jump host's") if wrong else None,
        ],
        remedy=remedies.ssh(facts, f"date -u -s @{facts.now.timestamp():.0f}; hwclock -w -u"),
        advice="set the hardware clock (BIOS or BMC) to UTC, or let DHCP name a time server",
    )


_CAUSES = (
    ("no such host", "it cannot resolve the registry's name", "give DHCP a name server that HookOS reaches"),
    (
        "certificate signed by unknown authority",
        "it does not trust the registry's certificate",
        "add the registry to insecure_registries=, or use one with a public certificate",
    ),
    (
        "pull access denied",
        "the registry refuses it, or has no such image",
        "correct the image that Smee gives HookOS: tink_worker_image= on its kernel command line",
    ),
    ("manifest unknown", "the registry has no such tag", "correct the tag in tink_worker_image="),
    ("manifest for", "the registry has no such tag", "correct the tag in tink_worker_image="),
    ("toomanyrequests", "the registry's rate limit is reached", "use a mirror, or registry_username="),
    ("no space left on device", "its root file system in RAM is full", "give the machine more memory"),
)
_NO_CAUSE = ("see the line", "mend tink_worker_image= or the way to the registry; bootkit tries again by itself")


@rule("agent-image-pull", NEVER_INSTALLED, 19, link="hook PR#122, PR#175; hook#114")
def agent_image_pull(facts: Facts) -> Match | None:
    """HookOS cannot pull the agent's image."""
    failure = _still(facts, *_PULL)
    if failure is None:
        return None
    causes = ((facts.find(BOOTKIT, words), why, advice) for words, why, advice in _CAUSES)
    line, why, advice = next((cause for cause in causes if cause[0]), (failure, *_NO_CAUSE))
    return certain(
        f"HookOS cannot pull the agent's image: {why}",
        evidence=[line],
        remedy=remedies.ssh(facts, "tail -n 50 /var/log/hook-bootkit.log"),
        advice=advice,
    )


@rule("agent-dead", NEVER_INSTALLED, 21, link=f"{_HOOK}:225-254; tink#816")
def agent_dead(facts: Facts) -> Match | None:
    """The agent's container has stopped, and nothing starts it again."""
    machine = installer(facts)
    containers = (machine.containers or ()) if machine else ()
    ours = [item for item in containers if item.name == "tink-worker"]
    line = _still(facts, "tink-worker container is not running")
    if any(item.running for item in ours) or (line is None and not ours):
        return None
    return certain(
        "the agent's container has stopped, and HookOS does not start it again",
        evidence=[
            line,
            *(Evidence("docker ps -a", f"{item.name} {item.status} ({item.image})") for item in ours),
            *facts.log(AGENT)[-1:],
        ],
        remedy=remedies.in_hook_docker(facts, "start tink-worker"),
        advice="its own log says why: " + remedies.in_hook_docker(facts, "logs tink-worker --tail=50"),
    )

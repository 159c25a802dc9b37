"""HookOS is up, and its bootkit did not get an agent to run."""

from __future__ import annotations

from collections.abc import Iterator

from metalfoundry.commands.log_parser import AGENT, BOOTKIT, LogLine
from metalfoundry.diagnosis import remedies
from metalfoundry.diagnosis.facts import Facts, seen
from metalfoundry.diagnosis.findings import NEVER_INSTALLED, Certainty, Evidence, Sign, Stage, rule
from metalfoundry.diagnosis.queries import agent_spoke
from metalfoundry.diagnosis.rules.connect import complaint_of

_HOOK = "tinkerbell/hook images/hook-bootkit/main.go"
_PULL = ("image pull failure", "bootstrapping tink-worker failed")
_STARTED = ("Starting tink-worker container", "bootstrapper finished")
_NO_NET = ("network is unreachable", "no route to host", "network unreachable")
_EXPIRED = "certificate has expired or is not yet valid"
_SPECIFIED = "'docker_registry' and/or 'tink_worker_image' NOT specified"
_SKEW_SECONDS = 300.0


def _still(facts: Facts, line: LogLine | None) -> LogLine | None:
    """The bootkit's line, unless an agent was started, or heard, after it."""
    if line is None:
        return None
    lines = facts.log(BOOTKIT)
    started = any(item.has(*_STARTED) for item in lines[lines.index(line) + 1 :])
    heard = any(item.time and line.time and item.time > line.time for item in facts.log(AGENT))
    return None if started or heard else line


def _pull_failure(facts: Facts) -> LogLine | None:
    return _still(facts, facts.find(BOOTKIT, *_PULL))


def _pull_lines(facts: Facts, *words: str) -> LogLine | None:
    """The bootkit's last line with any of `words`, where a pull has failed."""
    return facts.find(BOOTKIT, *words) if _pull_failure(facts) else None


@rule("no-nic", Stage.AGENT, NEVER_INSTALLED, 17, link="hook#258", explains=("hook-silent", "agent-image-pull"))
def no_nic(facts: Facts) -> Iterator[Sign]:
    """HookOS is up without an address: driver or firmware of the NIC is missing."""
    line = _pull_lines(facts, *_NO_NET)
    machine = seen(facts.machine)
    bare = machine is not None and machine.facts.in_hook and machine.addresses == ()
    if line is None and not bare:
        return
    shown = [Evidence.of(line)] if line else [Evidence("machine", "no interface has an address")]
    yield Sign(
        Certainty.CERTAIN,
        "HookOS is up and has no network: its kernel lacks the NIC's driver or firmware, or it is on another VLAN",
        tuple(shown),
        remedies.kubectl(facts, "get", "hardware.v1alpha1.tinkerbell.org", facts.configured.hardware, "-o", "yaml"),
        "on its console: ip link; dmesg | grep -i firmware. Use HookOS's kernel flavour with the driver, or give "
        "vlan_id= / interface= as kernel arguments",
    )


@rule(
    "no-agent-image",
    Stage.AGENT,
    NEVER_INSTALLED,
    18,
    link=f"{_HOOK}:106",
    explains=("hook-silent", "agent-image-pull", "agent-dead"),
)
def no_agent_image(facts: Facts) -> Iterator[Sign]:
    """The kernel's command line names no image of the agent."""
    line = _still(facts, facts.find(BOOTKIT, _SPECIFIED))
    machine = facts.machine_facts
    args = machine.kernel_args if machine and machine.in_hook else None
    missing = args is not None and not ({"docker_registry", "tink_worker_image"} & args.keys())
    if line is None and (not missing or agent_spoke(facts)):
        return
    shown = [Evidence.of(line)] if line else []
    if missing and machine:
        shown.append(Evidence("machine's kernel command line", machine.cmdline))
    yield Sign(
        Certainty.CERTAIN if line else Certainty.LIKELY,
        "HookOS was booted without the agent's image: its command line has no tink_worker_image",
        tuple(shown),
        remedies.kubectl(facts, "get", "deployments", "-o", "yaml"),
        "set Smee's extra kernel arguments to tink_worker_image=ghcr.io/tinkerbell/tink-agent:VERSION, then reboot",
    )


_CAUSES = (
    ("no such host", "it cannot resolve the registry's name", "give DHCP a name server that HookOS reaches"),
    (
        "certificate signed by unknown authority",
        "it does not trust the registry's certificate",
        "add the registry to insecure_registries=, or use one with a public certificate",
    ),
    ("pull access denied", "the registry refuses it, or has no such image", "correct tink_worker_image="),
    ("manifest unknown", "the registry has no such tag", "correct the tag in tink_worker_image="),
    ("manifest for", "the registry has no such tag", "correct the tag in tink_worker_image="),
    ("toomanyrequests", "the registry's rate limit is reached", "use a mirror, or registry_username="),
    ("no space left on device", "its root file system in RAM is full", "give the machine more memory"),
)


@rule(
    "agent-image-pull",
    Stage.AGENT,
    NEVER_INSTALLED,
    19,
    link="hook PR#122, PR#175; hook#114",
    explains=("hook-silent", "agent-dead"),
)
def agent_image_pull(facts: Facts) -> Iterator[Sign]:
    """HookOS cannot pull the agent's image."""
    line = _pull_failure(facts)
    if line is None:
        return
    for words, why, advice in _CAUSES:
        told = facts.find(BOOTKIT, words)
        if told is not None:
            line, cause, step = told, why, advice
            break
    else:
        cause, step = (
            "see the line",
            "mend tink_worker_image= or the way to the registry; bootkit tries again by itself",
        )
    yield Sign(
        Certainty.CERTAIN,
        f"HookOS cannot pull the agent's image: {cause}",
        (Evidence.of(line),),
        remedies.ssh(facts, "tail -n 50 /var/log/hook-bootkit.log"),
        step,
    )


@rule(
    "clock-wrong",
    Stage.AGENT,
    NEVER_INSTALLED,
    20,
    link="hook PR#304",
    explains=("agent-image-pull", "tls-mismatch", "grpc-unreachable", "hook-silent"),
)
def clock_wrong(facts: Facts) -> Iterator[Sign]:
    """The machine's clock is wrong, so certificates count as expired."""
    complaint = complaint_of(facts)
    line = _pull_lines(facts, _EXPIRED) or (complaint if complaint is not None and complaint.has(_EXPIRED) else None)
    machine = seen(facts.machine)
    skew = machine.skew if machine is not None and machine.facts.in_hook else None
    wrong = skew is not None and abs(skew) > _SKEW_SECONDS
    if line is None and not wrong:
        return
    if line is not None and skew is not None and not wrong:
        return
    shown = [Evidence.of(line)] if line else []
    if wrong and skew is not None:
        shown.append(Evidence("machine's clock", f"{skew:+.0f} s against the jump host's"))
    yield Sign(
        Certainty.CERTAIN if line else Certainty.LIKELY,
        "the machine's clock is wrong"
        + (f" by {abs(skew):.0f} s" if wrong and skew is not None else "")
        + ": certificates count as expired or not yet valid",
        tuple(shown),
        remedies.ssh(facts, f"date -u -s @{facts.now.timestamp():.0f}; hwclock -w -u"),
        "set the hardware clock (BIOS or BMC) to UTC, or let DHCP name a time server",
    )


@rule(
    "agent-dead",
    Stage.AGENT,
    NEVER_INSTALLED,
    21,
    link=f"{_HOOK}:225-254; tink#816",
    explains=("hook-silent", "shadowed", "agent-waits"),
)
def agent_dead(facts: Facts) -> Iterator[Sign]:
    """The agent's container has stopped, and nothing starts it again."""
    machine = seen(facts.machine)
    containers = machine.containers if machine is not None and machine.facts.in_hook else None
    ours = [item for item in containers or () if item.name == "tink-worker"]
    line = _still(facts, facts.find(BOOTKIT, "tink-worker container is not running"))
    if any(item.running for item in ours) or (line is None and (containers is None or not ours)):
        return
    shown = [Evidence.of(line)] if line else []
    shown += [Evidence("docker ps -a", f"{item.name} {item.status} ({item.image})") for item in ours]
    last = facts.log(AGENT)[-1:] if facts.log(AGENT) else ()
    yield Sign(
        Certainty.CERTAIN,
        "the agent's container has stopped, and HookOS does not start it again",
        tuple(shown + [Evidence.of(item) for item in last]),
        remedies.in_hook_docker(facts, "start tink-worker"),
        "its own log says why: " + remedies.in_hook_docker(facts, "logs tink-worker --tail=50"),
    )


RULES = (no_nic, no_agent_image, agent_image_pull, clock_wrong, agent_dead)

"""Everything that a diagnosis looks at, in two commands: gather.sh on the jump host, installer_probe.sh on the machine.

Parts of the first: objects, logs, deployments, events, bmc, flux, smee0, smee1, guards, addresses, clock. Of the
second: facts, containers, agent, bootkit, around, clock. A part that failed says why on stderr, and is that alone.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files

from metalfoundry.commands import guard, smee
from metalfoundry.commands.command import Command
from metalfoundry.commands.kubectl import Kubectl, Refusal, read_only, refusal
from metalfoundry.commands.kubernetes import Container, MachineProbe, read_containers
from metalfoundry.commands.machine import DEFAULT_MARKER, facts
from metalfoundry.commands.reading import real, whole
from metalfoundry.commands.script import Outcome, Part
from metalfoundry.model.inventory import VerifyConfig

REQUEST_SECONDS = 4
TAIL, OURS = 20_000, 2000  # lines of a pod that are read there, and of those about the machine, that travel
MACHINE_BYTES = 8 * 2**20
AGENT_TAIL = 50
CHECK_SECONDS = 1
BOOTKIT_TAIL = 200
_STARTED = ("objects", "logs", "deployments", "events", "bmc", "flux")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose cluster is looked at: a Hardware, or a Workflow whose Hardware is looked up there.

    `mac` and `names` (addresses, agent ids, names in a log) are what is known beforehand; the Hardware's own are added
    there. `smee` is Smee's address, "" where it cannot be asked.
    """

    hardware: str = ""
    workflow: str = ""
    mac: str = ""
    names: tuple[str, ...] = ()
    smee: str = ""


def cluster(kubectl: Kubectl, wanted: Wanted) -> Command:
    """Read the cluster for one machine: one exec, many requests side by side, each of at most REQUEST_SECONDS."""
    words = {
        "NAMESPACE": kubectl.namespace,
        "HARDWARE": wanted.hardware,
        "WORKFLOW": wanted.workflow,
        "MAC": wanted.mac,
        "NAMES": " ".join(name for name in (wanted.mac, wanted.workflow, *wanted.names) if name),
        "SMEE": wanted.smee.rstrip("/"),
        "TAIL": str(TAIL),
        "OURS": str(OURS),
    }
    asked = ("smee0", "smee1") if wanted.smee else ()
    parts = [Part(name, ("result", name)) for name in (*_STARTED, *asked)]
    parts += [guard.status(kubectl), Part("addresses", ("addresses",)), Part("clock", ("date", "-u", "+%s.%N"))]
    return read_only(*parts, functions=f"{smee.FUNCTIONS}{_cluster(kubectl, words)}begin\n")


def pods() -> Part:
    """`namespace name image…` of every pod of the control plane; needs `cluster_functions`."""
    return Part("pods", ("tinkerbell_pods",))


def cluster_functions(kubectl: Kubectl) -> str:
    """The shell text that `pods` calls."""
    return _cluster(kubectl, {"NAMESPACE": kubectl.namespace})


def machine(wanted: VerifyConfig, tail: int = AGENT_TAIL) -> Command:
    """Read one machine: what it says of itself, the operator's own commands included, and, in the installer, what
    stands around its agent."""
    asked = facts(wanted.marker or DEFAULT_MARKER, wanted.cloud_init, wanted.commands, CHECK_SECONDS)
    parts = [
        Part("facts", ("sh", "-s"), asked.stdin),
        Part("agent", ("agent_log", str(tail))),
        Part("bootkit", ("bootkit_log", str(BOOTKIT_TAIL))),
        Part("containers", ("containers",)),
        Part("around", ("around",)),
        Part("clock", ("date", "-u", "+%s.%N")),
    ]
    return replace(read_only(*parts, functions=_text("installer_probe.sh")), most=MACHINE_BYTES)


def agent_log(tail: int = AGENT_TAIL) -> Command:
    """The agent's and the bootkit's logs alone."""
    parts = [Part("agent", ("agent_log", str(tail))), Part("bootkit", ("bootkit_log", str(tail)))]
    return replace(read_only(*parts, functions=_text("installer_probe.sh")), most=MACHINE_BYTES)


def follow_agent(tail: int) -> Command:
    """The agent's log as it grows, for Transport.follow; ends with the container, or fails outside the installer."""
    return Command(("sh", "-s"), stdin=f"{_text('installer_probe.sh')}follow_agent {tail}\n")


def why_not(outcome: Outcome | None) -> str:
    """The reason for which a part gave nothing, in a line; "" where it went well."""
    if outcome is None:
        return "the reply was cut short"
    if outcome.ok:
        return ""
    said = outcome.stderr.strip().splitlines()
    return said[-1] if said else f"exit status {outcome.exit_status}"


def no_such_type(outcome: Outcome | None) -> bool:
    """Whether the cluster does not know the kind of object that was asked for: then there is none of it."""
    return outcome is not None and not outcome.ok and refusal(outcome.exit_status, outcome.stderr) is Refusal.NO_CRD


def read_clock(outcome: Outcome | None) -> float | None:
    """Seconds since 1970; in whole seconds where that system's date knows no %N."""
    text = outcome.stdout.strip() if outcome else ""
    return real(text) if whole(text.partition(".")[2] or "0") is not None else real(text.partition(".")[0])


def read_probe(outcomes: Mapping[str, Outcome], seen: MachineProbe) -> MachineProbe:
    """`seen` (of which only `facts` need be known) with what the parts containers and around say."""
    around = outcomes.get("around", Outcome(1, "", "")).stdout
    pairs = [line.partition("=") for line in around.splitlines()]
    one = {key: value for key, _, value in pairs}
    addresses = tuple(value for key, _, value in pairs if key == "address")
    return MachineProbe(
        facts=seen.facts,
        containers=_containers(outcomes.get("containers")),
        disk_free=_mib(one.get("disk_free_kib")),
        grpc=_yes(one.get("grpc")),
        skew=seen.skew,
        addresses=addresses if "addresses" in one else None,
    )


def _containers(outcome: Outcome | None) -> tuple[Container, ...] | None:
    return read_containers(outcome.stdout) if outcome and outcome.ok else None


def _mib(text: str | None) -> float | None:
    size = whole(text or "")
    return None if size is None else size / 1024


def _yes(text: str | None) -> bool | None:
    return {"yes": True, "no": False}.get(text or "")


def _cluster(kubectl: Kubectl, words: Mapping[str, str]) -> str:
    head = "".join(f"{name}={shlex.quote(value)}\n" for name, value in words.items())
    spelt = f'k() {{ {shlex.join(kubectl.words)} --request-timeout={REQUEST_SECONDS}s "$@"; }}\n'
    return f"{head}{spelt}{_text('gather.sh')}"


def _text(name: str) -> str:
    text = files("metalfoundry.commands").joinpath(name).read_text(encoding="utf-8")
    return text if text.endswith("\n") else text + "\n"

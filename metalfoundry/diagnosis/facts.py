"""What was seen of one server, gathered once; and what was not looked at, which is never the same as "fine".

Every field is `Seen(value, source, at)` or `NotSeen(reason)`. An object that was looked for and does not exist is
`Seen(None)`, a log without lines is `Seen(())`. Whoever gathers fills what it has with `replace` on `Facts(...)`:
all else stays NotSeen. Logs are cut to this machine and this Workflow by the gatherer or by `about`, below.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Generic, TypeAlias, TypeVar

from metalfoundry.commands.claims import ClaimSeen, old_systems
from metalfoundry.commands.kubernetes import BmcJob, Deployment, Flux, GuardSeen, KubernetesEvent, MachineProbe, Version
from metalfoundry.commands.log_parser import AGENT, SOURCES, LogLine
from metalfoundry.commands.machine import MachineFacts
from metalfoundry.model.actions import Action
from metalfoundry.model.foreign import parse_time
from metalfoundry.model.inventory import Timeouts, VerifyConfig
from metalfoundry.model.resources import Hardware, Interface, Template, Workflow
from metalfoundry.model.states import SshAnswer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Seen(Generic[T]):
    """A value that was read: `source` says how (a command, as a rule), `at` when, by the jump host's clock."""

    value: T
    source: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NotSeen:
    """Nothing is known: why it was not looked at, or could not be."""

    reason: str = "not looked at"
    source: str = ""


Fact: TypeAlias = Seen[T] | NotSeen
UNSEEN = NotSeen()


@dataclass(frozen=True, slots=True)
class Configured:
    """What the operator declared of this server, and how commands for it are spelled.

    `ssh`, `jump` (to where kubectl runs) and `kubectl` are the words before a command's own; `mac` in lower case;
    `boot_action` the Template's last action where it reboots or kexecs, if anybody knows it; `jump_addresses` those
    from which our own questions reach Smee, which are no sign of the machine.
    """

    server: str
    hardware: str
    namespace: str = "tink-system"
    jump: tuple[str, ...] = ()
    kubectl: tuple[str, ...] = ("kubectl",)
    ssh: tuple[str, ...] = ()
    mac: str | None = None
    address: str | None = None
    smee: str | None = None
    jump_addresses: tuple[str, ...] = ()
    boot_action: str | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    verify: VerifyConfig = field(default_factory=VerifyConfig)


@dataclass(frozen=True, slots=True)
class KeyRefused:
    """A host key that is not the known one: why it lets nobody log in, which line or object says so, and what to do.

    `forget`: the command that takes the known key out of known_hosts, "" where it does not stand there.
    """

    what: str
    where: str
    next: str
    forget: str = ""


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What there is once a failed run has cleaned up; the Facts that hold it are those of the failure.

    `deleted`: the Workflow that somebody deleted while the run wanted it.
    """

    at: datetime
    hardware: Fact[Hardware | None] = UNSEEN
    workflow: Fact[Workflow | None] = UNSEEN
    claim: Fact[ClaimSeen | None] = UNSEEN
    guards: Fact[tuple[GuardSeen, ...]] = UNSEEN
    smee: Fact[Mapping[str, int]] = UNSEEN
    deleted: Workflow | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that was gathered. `now` is the jump host's time; `name` is what the operator asked about.

    workflow   the one in question; `workflows` all those of the same agent or Hardware, that one included
    smee       HTTP status of Smee's answer by path (commands/smee.py), 0 where a path did not answer
    ssh        how the machine's sshd took us
    key_refused  the host key that it showed, where another one is known of it; None also where nobody looked
    machine    what the machine says of itself; `before` what it said before a run rebooted it
    logs       by source (commands/log_parser.py: agent, bootkit, action, console, smee, server, controller, web)
    started    when this run rebooted the machine, where a run asks; else NotSeen
    """

    name: str
    now: datetime
    configured: Configured
    hardware: Fact[Hardware | None] = UNSEEN
    template: Fact[Template | None] = UNSEEN
    workflow: Fact[Workflow | None] = UNSEEN
    workflows: Fact[tuple[Workflow, ...]] = UNSEEN
    claim: Fact[ClaimSeen | None] = UNSEEN
    guards: Fact[tuple[GuardSeen, ...]] = UNSEEN
    events: Fact[tuple[KubernetesEvent, ...]] = UNSEEN
    deployments: Fact[tuple[Deployment, ...]] = UNSEEN
    bmc: Fact[tuple[BmcJob, ...]] = UNSEEN
    flux: Fact[Flux | None] = UNSEEN
    smee: Fact[Mapping[str, int]] = UNSEEN
    ssh: Fact[SshAnswer] = UNSEEN
    machine: Fact[MachineProbe] = UNSEEN
    before: Fact[MachineFacts] = UNSEEN
    started: Fact[datetime] = UNSEEN
    logs: Mapping[str, Fact[tuple[LogLine, ...]]] = field(default_factory=dict, hash=False)
    aftermath: Aftermath | None = None
    key_refused: KeyRefused | None = None

    @property
    def latest(self) -> Facts:
        """The same as it stands now: other than these facts only after a failed run."""
        after = self.aftermath
        if after is None:
            return self
        return replace(
            self,
            now=after.at,
            hardware=after.hardware,
            workflow=after.workflow,
            claim=after.claim,
            guards=after.guards,
            smee=after.smee,
            aftermath=None,
        )

    def log(self, source: str) -> tuple[LogLine, ...]:
        """The lines of one source; empty where it was not seen."""
        return seen(self.logs.get(source, UNSEEN)) or ()

    def log_seen(self, source: str) -> bool:
        """Whether that log was read: only then does a missing line mean anything."""
        return isinstance(self.logs.get(source), Seen)

    def find(self, sources: str | Iterable[str], *words: str) -> LogLine | None:
        """The last line of these sources that holds any of `words`, whatever its case."""
        return next(self.lines(sources, *words), None)

    def lines(self, sources: str | Iterable[str], *words: str) -> Iterator[LogLine]:
        """As `find`, all of them, the last first."""
        for source in (sources,) if isinstance(sources, str) else sources:
            yield from (line for line in reversed(self.log(source)) if line.has(*words))

    @property
    def version(self) -> Version | None:
        """Tinkerbell's version by its Deployments' images; None where nobody could tell."""
        found = (Version.of(item.image) for item in seen(self.deployments) or () if item.is_tinkerbell)
        return next((version for version in found if version), None)

    @property
    def interface(self) -> Interface | None:
        """The interface that netboots: the one with the configured MAC, else the Hardware's first."""
        hardware = seen(self.hardware)
        if hardware is None or not hardware.interfaces:
            return None
        return hardware.interfaces[hardware.interface_for(self.configured.mac)]

    @property
    def mac(self) -> str:
        """The MAC that netboots, in lower case; empty where nobody says."""
        interface = self.interface
        return self.configured.mac or (interface.mac if interface else "") or ""

    @property
    def addresses(self) -> frozenset[str]:
        """The machine's own addresses, by inventory and Hardware; loopback names nobody."""
        interface = self.interface
        found = (self.configured.address, interface.address if interface else None)
        return frozenset(item for item in found if item and not item.startswith("127."))

    @property
    def open_interfaces(self) -> tuple[Interface, ...]:
        """Interfaces that may netboot now; empty where the Hardware was not seen."""
        hardware = seen(self.hardware)
        return hardware.open_interfaces() if hardware else ()

    @property
    def old_systems(self) -> tuple[MachineFacts, ...]:
        """What runs wrote down of the systems that they were to replace, since one last ended well."""
        hardware = seen(self.hardware)
        return old_systems(hardware) if hardware else ()

    @property
    def machine_facts(self) -> MachineFacts | None:
        """What the machine says of itself, where it was asked and answered."""
        machine = seen(self.machine)
        return machine.facts if machine else None

    @property
    def in_hook(self) -> bool | None:
        """Whether the machine is in Tinkerbell's installer now; None where it could not be asked."""
        facts = self.machine_facts
        return facts.in_hook if facts else None

    @property
    def current_action(self) -> Action | None:
        """The action at which the Workflow stands, where one has been taken up."""
        workflow = seen(self.workflow)
        current = workflow.current if workflow else None
        if workflow is None or current is None or current.index is None:
            return None
        return workflow.actions[current.index]

    @property
    def boot_action(self) -> str | None:
        """The last action where it reboots or kexecs: by the rendered Workflow, the Template, or the configuration."""
        workflow, template = seen(self.workflow), seen(self.template)
        if workflow is not None and workflow.actions:  # rendered: it is what runs, whatever the Template says by now
            return workflow.boot_action() or self.configured.boot_action
        return (template.boot_action() if template else None) or self.configured.boot_action

    @property
    def age(self) -> float | None:
        """Seconds since the Workflow was created."""
        workflow = seen(self.workflow)
        created = parse_time(workflow.meta.created) if workflow else None
        return (self.now - created).total_seconds() if created else None

    def unseen(self) -> dict[str, str]:
        """What could not be looked at, with the reason, by field (`logs.agent` for a log)."""
        plain = {name: getattr(self, name) for name in FIELDS}
        logs = {f"logs.{source}": self.logs.get(source, UNSEEN) for source in SOURCES}
        return {name: fact.reason for name, fact in (plain | logs).items() if isinstance(fact, NotSeen)}


FIELDS = (
    "hardware",
    "template",
    "workflow",
    "workflows",
    "claim",
    "guards",
    "events",
    "deployments",
    "bmc",
    "flux",
    "smee",
    "ssh",
    "machine",
    "before",
    "started",
)


def seen(fact: Seen[T] | NotSeen) -> T | None:
    """The value, or None where nothing was seen. Where None is a value, too, ask `isinstance(fact, Seen)`."""
    return fact.value if isinstance(fact, Seen) else None


def absent(fact: Seen[T | None] | NotSeen) -> bool:
    """Whether it was looked for, and does not exist."""
    return isinstance(fact, Seen) and fact.value is None


def split(lines: Iterable[LogLine]) -> dict[str, tuple[LogLine, ...]]:
    """Lines of one stream by the source that each of them tells."""
    found: dict[str, list[LogLine]] = {}
    for line in lines:
        found.setdefault(line.source, []).append(line)
    return {source: tuple(items) for source, items in found.items()}


def about(lines: Iterable[LogLine], names: Iterable[str], *, agent_speaks: bool = True) -> tuple[LogLine, ...]:
    """Only those lines that name one of `names`: MACs, addresses, agent ids, a Workflow's name.

    A MAC in base64 has been read into `host` already. The machine's own agent log (`agent_speaks`) is its own whole.
    """
    wanted = tuple(name.lower() for name in names if name)

    def named(line: LogLine) -> bool:
        if agent_speaks and line.source == AGENT and not line.host:
            return True
        low = f"{line.host} {line.text} {line.raw}".lower()
        return any(_word(name, low) for name in wanted)

    return tuple(line for line in lines if named(line))


def _word(name: str, text: str) -> bool:
    """Whether `name` stands in `text` and is not a part of a longer name or address."""
    start = text.find(name)
    while start >= 0:
        before, after = text[start - 1 : start], text[start + len(name) : start + len(name) + 1]
        if not (before.isalnum() or before in ("-", ".")) and not (after.isalnum() or after == "-"):
            return True
        start = text.find(name, start + 1)
    return False

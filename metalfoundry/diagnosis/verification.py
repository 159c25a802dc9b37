"""Is what runs on the machine the new system, as asked? The one answer, for a run's Verify and for the diagnosis.

The new system is proven, or it is not new. What proves it: something on it that was born after the reboot, by the
machine's own clock, or that differs from every system which was recorded of this machine before. An empty value proves
nothing, and neither does what an old system changes by itself: its release, after an upgrade; its host key, which
cloud-init makes anew for another instance id, while machine id or root file system stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.diagnosis.facts import Facts, Seen, seen
from metalfoundry.diagnosis.identity import identify
from metalfoundry.diagnosis.queries import began, done, ended_ago
from metalfoundry.model.inventory import VerifyConfig
from metalfoundry.model.resources import Hardware

SLACK_SECONDS = 60.0  # the machine's clock and ours differ, and a boot takes a while to be counted
ROUNDING_SECONDS = 2.0  # two clocks, read in whole seconds
SETTLED_SECONDS = 60.0  # of uptime, after which a first boot has left its marks where no cloud-init tells


class System(Enum):
    """What a machine runs."""

    STRANGER = "another machine"
    INSTALLER = "the installer"
    NOT_REBOOTED = "the system of before, not rebooted"
    OLD = "the old system"
    UNPROVEN = "a system that nothing proves to be new"
    NEW = "the new system"


@dataclass(frozen=True, slots=True)
class Known:
    """What a look is held against.

    `old`: the systems that were recorded before; `looks`: whatever was proven to be this machine; `elapsed`: seconds
    from the reboot (or, where none was needed, from the beginning) to the look, by a clock that only runs forward.
    """

    wanted: VerifyConfig
    hardware: Hardware | None = None
    old: tuple[MachineFacts, ...] = ()
    looks: tuple[MachineFacts, ...] = ()
    elapsed: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What runs, why that is so, and in which points it is not as asked."""

    system: System
    why: str = ""
    problems: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """The new system, as asked."""
        return self.system is System.NEW and not self.problems


def verify(machine: MachineFacts, known: Known) -> Verdict:
    """Judge one look."""
    identity = identify(known.hardware, (*known.old, *known.looks), machine)
    if identity.same is False:
        return Verdict(System.STRANGER, f"it has {identity.told}, this server has {identity.known}")
    if machine.in_hook:
        return Verdict(System.INSTALLER)
    problems = tuple(_problems(machine, known.wanted))
    if machine.boot_id and machine.boot_id in [old.boot_id for old in known.old]:
        return Verdict(System.NOT_REBOOTED, f"boot id {machine.boot_id}", problems)
    proof = next(_proofs(machine, known), "")
    if proof and identity.same:
        return Verdict(System.NEW, proof, problems)
    if proof:
        return Verdict(System.UNPROVEN, "it tells nothing that shows which machine it is", problems)
    if _is_old(machine, known):
        return Verdict(System.OLD, "same machine id and host key, nothing new on it", problems)
    return Verdict(System.UNPROVEN, _unproven(machine, known), problems)


def may_settle(verdict: Verdict, machine: MachineFacts, wanted: VerifyConfig) -> bool:
    """Whether an OLD verdict may be a new system with an old one's ids whose first boot has not left its marker yet."""
    if not wanted.marker or machine.marker:
        return False
    if wanted.cloud_init:
        return at_first_boot(machine)
    return machine.uptime is not None and machine.uptime < SETTLED_SECONDS


def at_first_boot(machine: MachineFacts) -> bool:
    """Whether cloud-init, which was asked for, has not ended yet."""
    return any(word in machine.cloud_init for word in ("running", "not started", "not run"))


def _proofs(machine: MachineFacts, known: Known) -> Iterator[str]:
    """Everything that proves a new system, in words."""
    olds = [old for old in known.old if not old.in_hook]
    young = _young(machine, known.elapsed)
    if "root" in young and not _same(machine.root, _each(olds, "root")):
        yield "its root file system was made after the reboot"
    if _differs(machine.root, _each(olds, "root")):
        yield "it has another root file system"
    if _differs(machine.machine_id, _each(olds, "machine_id")):
        yield "it has another machine id"
    if _differs(machine.os_id, _each(olds, "os_id")):
        yield f"it is {machine.os_id}, which was {', '.join(_each(olds, 'os_id'))}"
    if "machine-id" in young and machine.machine_id and not _same(machine.machine_id, _each(olds, "machine_id")):
        yield "its machine id was made after the reboot"
    markers = _each(olds, "marker")
    if machine.marker and "marker" in young and not _same(machine.marker, markers):
        yield "its marker was written after the reboot"
    if "marker" not in dict(machine.born) and _differs(machine.marker, markers):
        yield "it has another marker"
    if not machine.machine_id and not (machine.root and _each(olds, "root")):
        if "host key" in young and not _same(machine.host_key, _each(olds, "host_key")):
            yield "its host key was made after the reboot"
        if _differs(machine.host_key, _each(olds, "host_key")):
            yield "it has another host key"


def _young(machine: MachineFacts, elapsed: float | None) -> set[str]:
    """What was born after the reboot: its age, by the machine's own clock, is less than what has passed since."""
    if elapsed is None or machine.clock is None:
        return set()
    ages = {name: machine.clock - moment for name, moment in machine.born}
    # What lies in the future was not born on this clock, and says nothing.
    return {name for name, age in ages.items() if -ROUNDING_SECONDS <= age <= elapsed + ROUNDING_SECONDS}


def _each(olds: Sequence[MachineFacts], name: str) -> list[str]:
    return [value for value in (str(getattr(old, name)) for old in olds) if value]


def _differs(told: str, olds: Sequence[str]) -> bool:
    return bool(told and olds) and told not in olds


def _same(told: str, olds: Sequence[str]) -> bool:
    return bool(told) and told in olds


def _is_old(machine: MachineFacts, known: Known) -> bool:
    """Whether it shows the ids of a recorded system, and none of its own."""

    def agree(old: MachineFacts, name: str) -> bool | None:
        told, was = getattr(machine, name), getattr(old, name)
        return told == was if told and was else None

    for old in known.old:
        ids = [agree(old, name) for name in ("machine_id", "host_key", "root")]
        if not old.in_hook and False not in ids and (ids[0] or ids[1]):
            return True
    return False


def _unproven(machine: MachineFacts, known: Known) -> str:
    """Why nothing proves it."""
    if not known.old:
        return "nothing is known of the system before, and nothing on it was made after the reboot"
    told = [name for name in ("machine_id", "root") if getattr(machine, name) and _each(known.old, name)]
    if told:
        shown = " and ".join({"machine_id": "machine id", "root": "root file system"}[name] for name in told)
        return f"it has the {shown} of a system before, and nothing on it was made after the reboot"
    return "it tells nothing that could be held against the system before"


def _problems(machine: MachineFacts, wanted: VerifyConfig) -> Iterator[str]:
    """In which points it is not as the inventory asks."""
    if wanted.os and wanted.os.lower() not in machine.os_name.lower():
        yield f"it is {machine.os_name or 'an unknown system'}, not {wanted.os}"
    if wanted.hostname and wanted.hostname not in (machine.hostname, machine.hostname.split(".")[0]):
        yield f"its host name is {machine.hostname or 'not told'}, not {wanted.hostname}"
    if wanted.marker and not machine.marker:
        yield f"there is no {wanted.marker}"
    if wanted.cloud_init and "done" not in machine.cloud_init:
        yield f"cloud-init: {machine.cloud_init or 'does not answer'}"
    for command, (status, output) in zip(wanted.commands, machine.checks, strict=False):
        if status:
            yield f"`{command}` ended with {status}" + (f": {output}" if output else "")
    if len(machine.checks) < len(wanted.commands):
        yield "not all commands could be run"


def judged(facts: Facts) -> Verdict | None:
    """The verdict over the machine as a diagnosis saw it; None where it was not heard."""
    machine = facts.machine_facts
    if machine is None:
        return None
    before = seen(facts.before)
    old = (*facts.old_systems, *([before] if before and not before.in_hook else []))
    reboot = seen(facts.started)
    elapsed = (facts.now - reboot).total_seconds() if reboot else facts.age
    known = Known(facts.configured.verify, seen(facts.hardware), old, (before,) if before else (), elapsed)
    return verify(machine, known)


def is_(facts: Facts, *systems: System) -> bool:
    """Whether the machine was heard, and runs one of these."""
    verdict = judged(facts)
    return verdict is not None and verdict.system in systems


def doubtful(facts: Facts) -> bool:
    """Whether what answers may be another machine by its host key, which no installation explains."""
    if facts.key_refused is None or isinstance(facts.started, Seen):
        return False
    return done(facts) is None or not is_(facts, System.NEW)


def booted(facts: Facts) -> bool | None:
    """Whether the machine was booted after the installation's last action; None where it cannot be told."""
    machine = facts.machine_facts
    if machine is None:
        return None
    if is_(facts, System.NOT_REBOOTED):
        return False
    start = began(facts)
    ago = (facts.now - start).total_seconds() if start else ended_ago(facts)
    if machine.uptime is None or ago is None:
        return None
    return machine.uptime < ago + SLACK_SECONDS

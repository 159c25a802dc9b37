"""What a provision would find and say. Preflight is real; the rest is made by the same pure functions, unsent."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from metalfoundry.commands import machine, netboot
from metalfoundry.commands.command import Effect
from metalfoundry.commands.script import Part
from metalfoundry.model.inventory import Server
from metalfoundry.model.redact import hide
from metalfoundry.model.resources import Hardware
from metalfoundry.model.states import ClaimPhase
from metalfoundry.runs.engine import Run, execute
from metalfoundry.runs.job import Identity, Job, Options
from metalfoundry.runs.phases.preflight import Preflight
from metalfoundry.runs.provision import new_job, run_id
from metalfoundry.site.site import Site


@dataclass(frozen=True, slots=True)
class Step:
    """One command that would go to `host`; `effect` is write or restore."""

    phase: str
    host: str
    command: str
    effect: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What was seen, and every command that would change something, in order."""

    server: str
    identity: Identity
    boot_action: str | None
    steps: tuple[Step, ...]

    def to_json(self) -> dict[str, Any]:
        """A JSON-able object."""
        seen = {name: getattr(self.identity, name) for name in self.identity.__slots__}
        steps = [{name: getattr(step, name) for name in step.__slots__} for step in self.steps]
        return {"server": self.server, "facts": seen, "boot_action": self.boot_action, "steps": steps}


def plan(site: Site, server: Server, options: Options) -> Plan:
    """Read as Preflight does, and say what the later phases would do. Raises what Preflight raises."""
    seen: list[Identity] = []
    run = run_id(site.clock, server.name)
    job = new_job(site, server, replace(options, confirm=seen.append), run)
    execute(Run(run, job.site.bus, site.clock, job), [Preflight()])
    return Plan(server.name, seen[0], job.boot_action, tuple(_steps(job)))


def _steps(job: Job) -> Iterator[Step]:
    kubectl, jump, name = job.site.kubectl, job.site.jump.name, job.server.hardware
    assert job.hardware is not None and job.document is not None and job.machine is not None

    def step(phase: str, part: Part, effect: Effect = Effect.WRITE) -> Step:
        return Step(phase, jump, _shown(part), effect.value)

    note, old = job.window.claim.new_note(job.hardware), job.window.claim.old
    yield step("Claim", kubectl.patch(name, netboot.claim(job.hardware, job.run, note, old)))
    for finished in job.stale:
        yield step("Clean up", kubectl.delete_workflow(finished))
    guard = job.window.guard
    yield step("Apply", guard.arming(job.document.name, job.boot_action, job.window.claim.lease))
    declared = kubectl.apply(job.document.text)
    yield step("Apply", replace(declared, stdin=hide(declared.stdin, job.secrets)))
    opened = job.hardware
    if not job.in_hook:
        yield step(
            "Open",
            kubectl.patch(
                name, netboot.open_(job.hardware, job.run, job.window.mac, replace(note, phase=ClaimPhase.BOOT))
            ),
        )
        opened = _opened(job)
        if job.options.reboot:
            yield Step("Boot", job.machine.host.name, machine.REBOOT.line, machine.REBOOT.effect.value)
    yield step("Close", kubectl.patch(name, netboot.close(opened, job.run)), Effect.RESTORE)
    if not job.options.keep_workflow:
        yield step("Release", kubectl.delete_workflow(job.document.name), Effect.RESTORE)
    for part in guard.disarm():
        yield step("Release", part, Effect.RESTORE)
    written = {netboot.RUN: job.run, netboot.WINDOW: note.to_json()} | ({netboot.OLD_SYSTEMS: ""} if old else {})
    claimed = _annotated(opened, written)
    yield step("Release", kubectl.patch(name, netboot.release(claimed, job.run, note, well=True)), Effect.RESTORE)


def _shown(part: Part) -> str:
    """The command as it would be typed; of the guard's script only what is put in front of it."""
    words = " ".join(part.argv)
    text, guard, _ = part.stdin.partition("guard_text() {")
    if guard:
        text += "# guard_text is metalfoundry/commands/guard.sh as it stands"
    return f"{words} <<'EOF'\n{text.rstrip()}\nEOF" if text else words


def _opened(job: Job) -> Hardware:
    assert job.hardware is not None
    raw = copy.deepcopy(dict(job.hardware.raw))
    interface = raw["spec"]["interfaces"][job.hardware.interface_for(job.window.mac)]
    interface.setdefault("netboot", {}).update(allowPXE=True, allowWorkflow=True)
    return Hardware.of(raw)


def _annotated(hardware: Hardware, annotations: dict[str, str]) -> Hardware:
    raw = copy.deepcopy(dict(hardware.raw))
    raw["metadata"].setdefault("annotations", {}).update(annotations)
    return Hardware.of(raw)

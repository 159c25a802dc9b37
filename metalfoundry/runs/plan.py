"""What a provision would find and say. Preflight is real; the rest is made by the same pure functions, unsent."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from metalfoundry.commands import bmc, claims, machine, netboot
from metalfoundry.commands.command import Effect
from metalfoundry.commands.happenings import event, happening
from metalfoundry.commands.netboot import Operation
from metalfoundry.commands.script import Part
from metalfoundry.model.inventory import Server
from metalfoundry.model.redact import hide
from metalfoundry.model.resources import Hardware
from metalfoundry.model.states import ClaimPhase
from metalfoundry.runs.engine import execute
from metalfoundry.runs.ladder import taken
from metalfoundry.runs.options import Identity, Options
from metalfoundry.runs.phases.preflight import Preflight
from metalfoundry.runs.provision import run_id
from metalfoundry.runs.provision_run import TINKERBELL, ProvisionRun
from metalfoundry.site.site import Site

UID = "(the uid that Kubernetes gives the Workflow)"


@dataclass(frozen=True, slots=True)
class PlannedCommand:
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
    steps: tuple[PlannedCommand, ...]

    def to_json(self) -> dict[str, Any]:
        """A JSON-able object."""
        seen = {name: getattr(self.identity, name) for name in self.identity.__slots__}
        steps = [{name: getattr(step, name) for name in step.__slots__} for step in self.steps]
        return {"server": self.server, "facts": seen, "boot_action": self.boot_action, "steps": steps}


def plan(site: Site, server: Server, options: Options) -> Plan:
    """Read as Preflight does, and say what the later phases would do. Raises what Preflight raises."""
    seen: list[Identity] = []
    run = ProvisionRun(site, server, replace(options, confirm=seen.append, wait=0.0), run_id(site.clock, server.name))
    execute(run, [Preflight()])
    return Plan(server.name, seen[0], run.target.boot_action, tuple(_steps(run)))


def _steps(run: ProvisionRun) -> Iterator[PlannedCommand]:
    kubectl, jump, name = run.site.kubectl, run.site.jump.name, run.server.hardware
    target = run.target

    def step(phase: str, part: Part, effect: Effect = Effect.WRITE) -> PlannedCommand:
        return PlannedCommand(phase, jump, _shown(part), effect.value)

    def patch(phase: str, operations: list[Operation], effect: Effect = Effect.WRITE) -> Iterator[PlannedCommand]:
        yield step(phase, kubectl.patch(name, operations), effect)
        if told := happening(operations, run.site.holder):
            yield step(phase, event(kubectl, name, target.hardware.uid, told, run.site.now()), effect)

    note, old = run.window.claim.new_note(target.hardware), run.window.claim.old
    yield from patch("Claim", netboot.claim(target.hardware, run.id, note, old))
    for part in run.window.guard.ask(note.renewal):
        yield step("Claim", part)
    for finished in target.old_workflows:
        yield step("Clean up", kubectl.delete_workflow(finished))
    declared = kubectl.apply(target.document.text)
    yield step("Apply", replace(declared, stdin=hide(declared.stdin, target.secrets)))
    opened = target.hardware
    if not target.in_hook:
        renewed = replace(note, phase=ClaimPhase.BOOT, uid=UID).renew(run.site.now())
        yield from patch("Open", netboot.open_(target.hardware, run.id, run.window.mac, renewed))
        opened = _opened(target.hardware, run.window.mac)
        yield from _reboots(run)
    yield from patch("Close", netboot.close(opened, run.id), Effect.RESTORE)
    if run.server.verify.reboot:
        again = target.machine.reboots_new
        yield PlannedCommand("Stay", target.machine.host.name, again.line, again.effect.value)
    if not run.options.keep_workflow:
        yield step("Release", kubectl.test(name, netboot.held(run.id)), Effect.RESTORE)
        yield step("Release", kubectl.delete_workflow(target.document.name), Effect.RESTORE)
    written = {claims.RUN: run.id} | ({claims.OLD_SYSTEMS: ""} if old else {})
    claimed = _annotated(opened, written)
    yield from patch("Release", netboot.release(claimed, run.id, note, well=True), Effect.RESTORE)


def _reboots(run: ProvisionRun) -> Iterator[PlannedCommand]:
    """What each rung would say; the next one is taken where one fails."""
    hardware, host = run.target.hardware, run.target.machine.host.name
    rungs = taken(run)
    if TINKERBELL in rungs:
        return
    if run.server.boot_next and "ssh" in rungs:
        entry = f"efibootmgr -n (the network entry of {hardware.mac_for(run.server.mac)})"
        yield PlannedCommand("Boot", host, entry, Effect.WRITE.value)
    for rung in rungs:
        if rung == "ssh":
            yield PlannedCommand("Boot", host, machine.REBOOT.line, machine.REBOOT.effect.value)
        elif rung == "bmc":
            job, bmc_ref = bmc.job_name(hardware.name, run.id), hardware.bmc_ref or ""
            part = bmc.create_job(run.site.kubectl, job, bmc_ref, bmc.netboot_once(hardware))
            yield PlannedCommand("Boot", run.site.jump.name, _shown(part), Effect.WRITE.value)


def _shown(part: Part) -> str:
    """The command as it would be typed; of the guard's script only what is put in front of it."""
    words = " ".join(part.argv)
    text, guard, _ = part.stdin.partition("guard_text() {")
    if guard:
        text += "# guard_text is metalfoundry/commands/guard.sh as it stands"
    return f"{words} <<'EOF'\n{text.rstrip()}\nEOF" if text else words


def _opened(hardware: Hardware, mac: str | None) -> Hardware:
    raw = copy.deepcopy(dict(hardware.raw))
    interface = raw["spec"]["interfaces"][hardware.interface_for(mac)]
    interface.setdefault("netboot", {}).update(allowPXE=True, allowWorkflow=True)
    return Hardware.of(raw)


def _annotated(hardware: Hardware, annotations: dict[str, str]) -> Hardware:
    raw = copy.deepcopy(dict(hardware.raw))
    raw["metadata"].setdefault("annotations", {}).update(annotations)
    return Hardware.of(raw)

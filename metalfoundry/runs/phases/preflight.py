"""Preflight: everything that can be known beforehand, and the reasons not to begin. Nothing is written."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace

from metalfoundry.commands import ssh
from metalfoundry.commands.bmc import MACHINES
from metalfoundry.commands.claims import BY_HAND, ClaimSeen, claim_of, old_systems
from metalfoundry.commands.machine import MachineFacts
from metalfoundry.model.errors import (
    AuthError,
    ClaimedError,
    HostKeyError,
    MachineSlow,
    PortClosed,
    PreflightError,
    TransportError,
)
from metalfoundry.model.events import MachineSeen, Notice, Resumed
from metalfoundry.model.foreign import parse_time
from metalfoundry.model.program import ours
from metalfoundry.model.resources import Hardware
from metalfoundry.runs import worker
from metalfoundry.runs.checks import NOT_PROVEN, is_this_machine, old_workflows
from metalfoundry.runs.engine import NEEDED, Needed
from metalfoundry.runs.ladder import ways
from metalfoundry.runs.options import Identity
from metalfoundry.runs.provision_run import ProvisionRun
from metalfoundry.runs.selection import choose_document, choose_hardware
from metalfoundry.runs.target import Target
from metalfoundry.site.machine import Machine
from metalfoundry.site.protection import refuse_protected
from metalfoundry.site.queue import Queue
from metalfoundry.site.refused import may_not
from metalfoundry.transport.clock import Deadline

READ_SECONDS = 60.0
KNOCK_SECONDS = 10.0


class Preflight:
    """Look at everything once, refuse what cannot end well, and let a person confirm with the facts in sight."""

    title = "Preflight"
    failure = PreflightError

    def needed(self, run: ProvisionRun) -> Needed:
        """Always."""
        return NEEDED

    def act(self, run: ProvisionRun) -> None:
        """Read, judge, ask; nothing is written. Raises PreflightError, IdentityError, ClaimedError, Declined."""
        deadline = Deadline.after(run.clock, READ_SECONDS)
        early = _start_looking(run, deadline) if run.server.address and not run.options.resume else None
        survey = run.cluster.preflight(run.server.mac, deadline)
        run.smee, hardware = survey.smee, choose_hardware(run, survey)
        claim = run.window.claim
        claim.hardware = hardware
        refuse_protected({run.server.name: hardware})
        resumes = _take_up(run, hardware)
        document = choose_document(run, survey)
        claim.workflow = document.name
        template = survey.templates[document.template_ref]
        boot_action = template.boot_action()
        claim.boot_action = boot_action or ""
        if survey.missing:
            raise may_not(run.site, survey.missing)
        try:
            claim.refuse_out_of_turn(hardware)
        except ClaimedError:
            if not run.options.wait:
                raise
            _wait_for_turn(run, hardware)
            self.act(run)  # all is read anew: the other run has changed it
            return
        agent = worker.assign(document, template, hardware, run.options.trust_template)
        looking = early or _start_looking(run, deadline, hardware, resumes)
        machine = Machine.of(run.site, run.server, hardware)
        begun = survey.workflows.get(document.name) if resumes else None
        since = _since(run, resumes)
        lacks = survey.missing_for_bmc
        run.found = Target(hardware, document, boot_action, machine, agent, since, resumes, begun, lacks=lacks)
        refuse_without_rung(run)
        _take_facts(run, looking, deadline)
        refuse_silent(run)
        run.found = replace(run.target, old_workflows=old_workflows(run, survey))
        identity = _identity(run)
        run.say(f"{identity.hardware} at {identity.address}: {identity.system}")
        if run.options.confirm is not None:
            with run.queue.kept() if run.queue else nullcontext():
                run.options.confirm(identity)


def _wait_for_turn(run: ProvisionRun, hardware: Hardware) -> None:
    if run.queue is None:
        run.queue = Queue(run.site, run.server, run.window.claim)
        run.undo("leave the queue", run.queue.leave)
    run.smee = None  # what it said is of before
    run.queue.wait(hardware, run.options.wait)


def _start_looking(
    run: ProvisionRun, deadline: Deadline, hardware: Hardware | None = None, resumes: ClaimSeen | None = None
) -> Future[MachineFacts]:
    """Ask the machine what it is, beside the survey where its address is known beforehand."""
    machine = Machine.of(run.site, run.server, hardware)
    return run.site.background(machine.look if resumes else lambda: machine.facts(deadline))


def _take_up(run: ProvisionRun, hardware: Hardware) -> ClaimSeen | None:
    """Where a run is to be resumed: find its claim. Without one this is a run like any other."""
    seen = claim_of(hardware)
    if not run.options.resume or seen is None:
        return None
    if seen.note.phase == BY_HAND:
        raise ClaimedError(
            f"netboot of {run.server.name} was opened by hand by {seen.note.holder}; there is no run to resume",
            where=f"Hardware {run.server.hardware}",
            next=ours("netboot.close", run.server.name),
        )
    run.window.claim.resumes = seen.run
    run.bus.emit(Resumed(seen.run, seen.note.holder, seen.note.opened, seen.note.phase))
    return seen


def _facts(machine: Machine, looking: Future[MachineFacts], deadline: Deadline) -> MachineFacts:
    """What was looked for; asked again where the key was not known before the Hardware was read, which publishes it."""
    try:
        return looking.result()
    except HostKeyError:
        if not machine.published:
            raise
        return machine.facts(deadline)


def _take_facts(run: ProvisionRun, looking: Future[MachineFacts], deadline: Deadline) -> None:
    old = old_systems(run.target.hardware)
    target = run.found = replace(run.target, old_systems=old, facts_old=old[-1] if old else None)
    try:
        look = _facts(target.machine, looking, deadline)
    except HostKeyError:
        raise
    except TransportError as error:
        if isinstance(error, AuthError) and "ssh" in run.rungs:  # it lives, so nobody cuts its power unasked
            raise
        if isinstance(error, MachineSlow) and run.options.reboot:  # it lives: nothing is begun on a guess
            raise
        run.found = replace(target, ssh_error=str(error), listens=isinstance(error, PortClosed))
        run.bus.emit(Notice(f"the machine does not answer SSH: {error}", "warning"))
        return
    run.bus.emit(MachineSeen(_system(look), look.boot_id))
    proven = is_this_machine(run, old, look)
    if not proven:
        run.bus.emit(Notice(f"the machine {NOT_PROVEN}", "warning"))
    target = replace(target, facts_now=look)
    if target.resumes is None and not (look.in_hook and old):
        target = replace(target, facts_old=look)
    if target.resumes is None and not look.in_hook:
        earlier = tuple(system for system in old if _lasting(system) != _lasting(look))
        run.window.claim.old = (*earlier, look if proven else replace(look, serial="", uuid=""))
        target = replace(target, old_systems=run.window.claim.old)
    run.found = target


def _lasting(system: MachineFacts) -> dict[str, str]:
    return {name: value for name, value in system.marks.items() if name != "boot_id"}


def _since(run: ProvisionRun, resumes: ClaimSeen | None) -> float:
    """Now, or when the run that is taken up claimed the server; of that only the wall clock of its client is known."""
    now = run.clock.now()
    opened = parse_time(resumes.note.opened) if resumes else None
    return now.mono - (max(0.0, (now.wall - opened).total_seconds()) if opened else 0.0)


def _identity(run: ProvisionRun) -> Identity:
    seen = run.target.facts_now
    return Identity(
        server=run.server.name,
        hardware=run.server.hardware,
        address=run.target.machine.host.address,
        macs=tuple(interface.mac for interface in run.target.hardware.interfaces if interface.mac),
        system=_system(seen) if seen else f"silent ({run.target.ssh_error})",
        serial=seen.serial if seen else "",
        uptime_seconds=seen.uptime if seen else None,
        workflow=run.target.document.name,
        worker=run.target.worker,
        reboot="" if run.target.in_hook else ways(run),
    )


def _system(seen: MachineFacts) -> str:
    name = "HookOS" if seen.in_hook else seen.os_name or "an unknown system"
    return f"{name} ({seen.hostname})" if seen.hostname and not seen.in_hook else name


def refuse_without_rung(run: ProvisionRun) -> None:
    """Raise PreflightError where no way is left to reboot it; say where its BMC is left out for want of rights."""
    asked = run.options.reboot and "bmc" in run.server.reboot
    bmc, lacks = run.target.hardware.bmc_ref, run.target.lacks
    if asked and bmc and lacks:
        if not run.rungs:
            raise may_not(run.site, lacks)
        text = f"{run.server.name} is not rebooted by its BMC {bmc}: kubectl may not {', '.join(map(str, lacks))}"
        run.bus.emit(Notice(text, "warning"))
    elif not run.rungs:
        raise PreflightError(
            f"{run.server.name} is to be rebooted by its BMC, and its Hardware names none (spec.bmcRef)",
            where=f"servers.{run.server.name}.reboot in the inventory",
            next=f"give the Hardware spec.bmcRef, or say reboot: [ssh]; {run.site.kubectl_hint('get', MACHINES)}",
        )


def refuse_silent(run: ProvisionRun) -> None:
    """Raise PreflightError for a machine that cannot be rebooted and that nobody may wait for with netboot open.

    A Workflow that toggles lets Tinkerbell open it as soon as it is applied. Who refuses a connection is up, and may
    idle in stock HookOS, which has no sshd; from who answers nothing at all, nothing will come.
    """
    waits = run.target.facts_now is not None or run.target.resumes is not None or not run.ssh_alone
    if not waits and run.target.document.toggles and not _is_up(run):
        raise PreflightError(
            f"{run.server.name} does not answer, so it cannot be rebooted, and its Workflow opens netboot at once",
            where=run.target.ssh_error,
            next=f"switch it on, or reboot it by hand with: {ours('provision', run.server.name, '--no-reboot')}",
        )


def _is_up(run: ProvisionRun) -> bool:
    """Whether its network answers at all; what is behind a jump host only that can tell."""
    if run.target.listens or run.target.machine.host.via is None:
        return run.target.listens
    host = run.target.machine.host
    deadline = Deadline.after(run.clock, KNOCK_SECONDS)
    try:
        answer = run.site.transport.run(run.site.jump, ssh.knock(host.address, host.port), deadline)
    except TransportError:
        return False
    return ssh.refuses(answer.stderr)

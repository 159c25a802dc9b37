"""Preflight: everything that can be known beforehand, and the reasons not to begin. Nothing is written."""

from __future__ import annotations

import difflib
from concurrent.futures import Future
from dataclasses import replace

from metalfoundry.commands.kubectl import HARDWARE
from metalfoundry.commands.machine import MachineFacts
from metalfoundry.commands.netboot import BY_HAND, claim_of, old_systems, parse_time
from metalfoundry.diagnosis.identity import identify
from metalfoundry.model.documents import Document, workflow_for, workflow_from
from metalfoundry.model.errors import (
    AuthError,
    ClaimedError,
    HostKeyError,
    IdentityError,
    MachineSlow,
    PortClosed,
    PreflightError,
    TransportError,
)
from metalfoundry.model.events import MachineSeen, Notice, Resumed
from metalfoundry.model.program import ours
from metalfoundry.model.resources import Hardware, Workflow
from metalfoundry.runs import worker
from metalfoundry.runs.engine import NEEDED, Needed, Run
from metalfoundry.runs.job import Identity, Job
from metalfoundry.runs.prepare import refuse_silent
from metalfoundry.runs.verdict import another_machine
from metalfoundry.site.cluster import Survey
from metalfoundry.site.machine import Machine
from metalfoundry.transport.clock import Deadline

READ_SECONDS = 60.0


class Preflight:
    """Look at everything once, refuse what cannot end well, and let a person confirm with the facts in sight."""

    title = "Preflight"
    failure = PreflightError

    def needed(self, run: Run[Job]) -> Needed:
        """Always."""
        return NEEDED

    def act(self, run: Run[Job]) -> None:
        """Read, judge, ask; nothing is written. Raises PreflightError, IdentityError, ClaimedError, Declined."""
        job = run.job
        deadline = Deadline.after(job.site.clock, READ_SECONDS)
        looking = _start_looking(job, deadline) if job.server.address and not job.options.resume else None
        survey = job.cluster.survey(deadline, job.server.mac, rights=True)
        job.survey, job.hardware = survey, _hardware(job, survey)
        job.window.claim.hardware = job.hardware
        _take_up(job)
        job.document = _document(job, survey)
        job.window.claim.workflow = job.document.name
        template = survey.templates[job.document.template_ref]
        job.boot_action = template.boot_action()
        if survey.missing:
            raise PreflightError(
                f"kubectl on the jump host may not {', '.join(survey.missing)}",
                where=f"namespace {job.site.kubectl.namespace}",
                next=job.site.kubectl_hint("auth", "can-i", "--list"),
            )
        job.window.claim.refuse_live(job.hardware)
        job.worker = worker.assign(job.document, template, job.hardware, job.options.trust_template)
        _take_facts(job, looking or _start_looking(job, deadline))
        refuse_silent(job)
        job.stale = _stale(job, survey)
        identity = _identity(job)
        run.say(f"{identity.hardware} at {identity.address}: {identity.system}")
        if job.options.confirm is not None:
            job.options.confirm(identity)


def _hardware(job: Job, survey: Survey) -> Hardware:
    name = job.server.hardware
    if name not in survey.hardware:
        near = difflib.get_close_matches(name, survey.hardware, 1, 0.5)
        raise PreflightError(
            f"there is no Hardware {name}" + (f"; did you mean {near[0]}?" if near else ""),
            where=f"server {job.server.name}, namespace {job.site.kubectl.namespace}",
            next=f"there are: {', '.join(survey.hardware) or 'none'}; say which by servers.{job.server.name}.hardware",
        )
    hardware = survey.hardware[name]
    if not hardware.interfaces:
        raise PreflightError(
            f"Hardware {name} has no interface, so nothing can netboot",
            where=f"namespace {job.site.kubectl.namespace}",
            next=job.site.kubectl_hint("edit", f"{HARDWARE}/{name}"),
        )
    macs = [interface.mac for interface in hardware.interfaces]
    if job.server.mac and job.server.mac not in macs:
        raise IdentityError(
            f"Hardware {name} has no interface {job.server.mac} but {', '.join(filter(None, macs))}",
            where=f"servers.{job.server.name}.mac",
            next="correct one of them: netboot would be opened for another network card",
        )
    return hardware


def _document(job: Job, survey: Survey) -> Document:
    options, server = job.options, job.server
    template = options.template or (None if options.workflow else server.template)
    path = options.workflow or (None if options.template else server.workflow)
    if template:
        default = server.mac or job.window.mac
        mapped = dict(server.hardware_map) or ({"device_1": default} if default else {})
        document = workflow_from(
            server=server.name,
            template=template,
            hardware=server.hardware,
            hardware_map=mapped,
            namespace=job.site.kubectl.namespace,
            name=options.workflow_name,
        )
    elif path:
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise PreflightError(
                f"the Workflow file cannot be read: {error.strerror}", where=str(path), next="name it by --workflow"
            ) from error
        document = workflow_for(
            text, str(path), server.hardware, options.workflow_name, namespace=job.site.kubectl.namespace
        )
        if not document.template_ref:
            raise PreflightError(
                f"the Workflow {document.name} has no spec.templateRef", where=str(path), next="name its Template there"
            )
    else:
        raise PreflightError(
            f"neither a Workflow file nor a Template is known for {server.name}",
            where=job.site.inventory.source,
            next=f"give servers.{server.name}.workflow or .template, or --workflow FILE or --template NAME",
        )
    return _checked(document, job, survey)


def _checked(document: Document, job: Job, survey: Survey) -> Document:
    wanted, namespace = document.template_ref, job.site.kubectl.namespace
    if wanted not in survey.templates:
        near = difflib.get_close_matches(wanted, survey.templates, 1, 0.5)
        raise PreflightError(
            f"there is no Template {wanted}" + (f"; did you mean {near[0]}?" if near else ""),
            where=f"Workflow {document.name}, namespace {namespace}",
            next=f"there are: {', '.join(survey.templates) or 'none'}",
        )
    return document


def _start_looking(job: Job, deadline: Deadline) -> Future[MachineFacts]:
    """Ask the machine what it is, beside the survey where its address is known beforehand."""
    job.machine = machine = Machine(job.site, job.server, job.hardware.address if job.hardware else None)
    return job.site.background(machine.look if job.resumes else lambda: machine.facts(deadline))


def _take_up(job: Job) -> None:
    """Where a run is to be resumed: find its claim. Without one this is a run like any other."""
    assert job.hardware is not None
    seen = claim_of(job.hardware)
    if not job.options.resume or seen is None:
        return
    if seen.note.phase == BY_HAND:
        raise ClaimedError(
            f"netboot of {job.server.name} was opened by hand by {seen.note.holder}; there is no run to resume",
            where=f"Hardware {job.server.hardware}",
            next=ours("netboot.close", job.server.name),
        )
    job.resumes = seen
    job.window.claim.resumes = seen.run
    job.site.bus.emit(Resumed(seen.run, seen.note.holder, seen.note.opened, seen.note.phase))


def _take_facts(job: Job, looking: Future[MachineFacts]) -> None:
    assert job.hardware is not None
    job.began = _began(job)
    job.old = old_systems(job.hardware)
    job.before = job.old[-1] if job.old else None
    try:
        look = looking.result()
    except (AuthError, HostKeyError):
        raise
    except TransportError as error:
        if isinstance(error, MachineSlow) and job.options.reboot:  # it lives: nothing is begun on a guess
            raise
        job.silence, job.listens = str(error), isinstance(error, PortClosed)
        job.site.bus.emit(Notice(f"the machine does not answer SSH: {error}", "warning"))
        return
    job.site.bus.emit(MachineSeen(_system(look), look.boot_id))
    identity = identify(job.hardware, job.old, look)
    if identity.same is False:
        raise another_machine(job, f"it has {identity.told}, this server has {identity.known}")
    if identity.same is None:
        text = "the machine tells no MAC of the Hardware, and nothing else that is known: its identity is not proven"
        job.site.bus.emit(Notice(text, "warning"))
    job.now = look
    if job.resumes is None and not (look.in_hook and job.old):
        job.before = look
    if job.resumes is None and not look.in_hook:
        earlier = tuple(old for old in job.old if _lasting(old) != _lasting(look))
        system = look if identity.same else replace(look, serial="", uuid="")
        job.old = job.window.claim.old = (*earlier, system)


def _lasting(system: MachineFacts) -> dict[str, str]:
    return {name: value for name, value in system.marks.items() if name != "boot_id"}


def _began(job: Job) -> float:
    """Now, or when the run that is taken up claimed the server; of that only the wall clock of its client is known."""
    now = job.site.clock.now()
    opened = parse_time(job.resumes.note.opened) if job.resumes else None
    return now.mono - (max(0.0, (now.wall - opened).total_seconds()) if opened else 0.0)


def _stale(job: Job, survey: Survey) -> list[str]:
    """Old Workflows of the same agent, to be removed. Raises ClaimedError for a live one that is not own."""
    assert job.hardware is not None and job.document is not None
    agents = [job.hardware.agent_id or "", *(interface.mac or "" for interface in job.hardware.interfaces)]
    stale: list[str] = []
    for workflow in survey.of_agent(agents, job.server.hardware):
        own = workflow.name == job.document.name and workflow.state in ("", "PREPARING", "PENDING")
        if job.resumes is not None and workflow.name == job.document.name:
            continue
        if workflow.live and not own and not job.options.replace and not _over(job, workflow):
            raise ClaimedError(
                f"the Workflow {workflow.name} of the same agent is {workflow.state or 'not rendered yet'}",
                where=f"namespace {job.site.kubectl.namespace}",
                next=f"wait for it, or: {ours('provision', job.server.name, '--replace')}",
            )
        stale.append(workflow.name)
    return stale


def _over(job: Job, workflow: Workflow) -> bool:
    """A Workflow that ended in a reboot stays RUNNING for ever; a machine that runs its own system is through it."""
    at_end = workflow.current is not None and workflow.current.name == workflow.boot_action()
    return at_end and job.now is not None and not job.now.in_hook


def _identity(job: Job) -> Identity:
    assert job.machine is not None and job.hardware is not None and job.document is not None
    seen = job.now
    return Identity(
        server=job.server.name,
        hardware=job.server.hardware,
        address=job.machine.host.address,
        macs=tuple(interface.mac for interface in job.hardware.interfaces if interface.mac),
        system=_system(seen) if seen else f"silent ({job.silence})",
        serial=seen.serial if seen else "",
        uptime_seconds=seen.uptime if seen else None,
        workflow=job.document.name,
        worker=job.worker,
    )


def _system(seen: MachineFacts) -> str:
    name = "HookOS" if seen.in_hook else seen.os_name or "an unknown system"
    return f"{name} ({seen.hostname})" if seen.hostname and not seen.in_hook else name

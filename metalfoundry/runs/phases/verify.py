"""Verify: the new system was seen running, or it was not."""

from __future__ import annotations

from metalfoundry.commands.machine import DEFAULT_MARKER, MachineFacts
from metalfoundry.diagnosis.verification import System, Verdict, may_settle
from metalfoundry.model.errors import (
    TransportError,
    VerificationFailed,
    WorkflowFailed,
)
from metalfoundry.model.events import MachineSeen, Notice
from metalfoundry.model.program import ours
from metalfoundry.runs.engine import NEEDED, Needed, Run
from metalfoundry.runs.job import Job
from metalfoundry.runs.verdict import is_stranger, raise_stranger, verdict
from metalfoundry.site.machine import Watcher
from metalfoundry.transport.clock import Deadline

CAME_UP = (System.NEW, System.UNPROVEN, System.OLD)


class Verify:
    """Wait for the new system over SSH and hold it against the inventory."""

    title = "Verify"
    failure = VerificationFailed

    def needed(self, run: Run[Job]) -> Needed:
        """Always: a Workflow's SUCCESS alone proves nothing about the disk that boots next."""
        return NEEDED

    def act(self, run: Run[Job]) -> None:
        """Raises VerificationFailed; IdentityError when another machine has the address; WorkflowFailed when the boot
        action failed and no new system came."""
        job = run.job
        assert job.machine is not None
        limits = job.site.inventory.timeouts
        until = Deadline.after(job.site.clock, limits.boot)
        last: Verdict | None = None
        heard = "nothing was heard of it"
        job.stranger = None
        watcher = Watcher(job.site, job.machine.verify, 0.25, lambda: job.machine is not None and job.machine.answers)
        while True:
            look = watcher.poll()
            if isinstance(look, MachineFacts):
                answer = judge(job, look)
                if answer.system in CAME_UP and (last is None or last.system not in CAME_UP):
                    until = Deadline.after(job.site.clock, limits.verify)
                    job.site.bus.emit(MachineSeen(look.os_name or answer.system.value, look.boot_id))
                if answer.good:
                    break
                if answer.system is not System.STRANGER:
                    job.last, last = look, answer
            elif isinstance(look, TransportError):
                heard = str(look)
            if until.expired():
                raise_stranger(job)
                raise _not_verified(job, last, heard)
            _step_after_install(job)
        job.after = look
        _record_key(job, look)
        run.say(f"{look.os_name} as {look.hostname}, boot id {look.boot_id}: {answer.why}")


def judge(job: Job, look: MachineFacts) -> Verdict:
    """Hold one look at the machine against all that is known.

    Raises VerificationFailed for what waiting cannot mend: the old system, or the installer a second time; and
    IdentityError for another machine, once it is certain.
    """
    answer = verdict(job, look)
    if is_stranger(job, look):
        return answer
    if answer.system is System.INSTALLER:
        if job.hook_boot_id and look.boot_id != job.hook_boot_id:
            raise VerificationFailed(
                f"{job.server.name} booted the installer again instead of its disk",
                where=f"boot id {look.boot_id}",
                next="is the disk before the network in its boot order, and has the image a boot loader for it?",
            )
        job.hook_boot_id = look.boot_id
    if answer.system is System.OLD and not may_settle(answer, look, job.server.verify):
        raise _old_system(job, answer, look)
    return answer


def _old_system(job: Job, answer: Verdict, look: MachineFacts | None) -> VerificationFailed:
    return VerificationFailed(
        f"{job.server.name} came back with the old system: {answer.why}",
        where=f"{look.os_name or 'unknown system'}, boot id {look.boot_id}" if look else job.server.name,
        next="does the image go to the disk that boots? compare DEST_DISK in the Template with the boot order",
        evidence=f"machine id {look.machine_id}" if look else "",
    )


def _step_after_install(job: Job) -> None:
    """Go on watching: a boot action can still fail. A Workflow that is deleted now has done its work."""
    try:
        job.step()
    except WorkflowFailed as error:
        job.site.bus.emit(Notice(str(error), "warning"))
    if job.state == "FAILED":
        job.raise_if_ended()


def _not_verified(job: Job, last: Verdict | None, heard: str) -> VerificationFailed:
    limits = job.site.inventory.timeouts
    if last is not None and last.system is System.OLD:
        return _old_system(job, last, job.last)
    if last is not None and last.system is System.UNPROVEN:
        return _unproven(job, last)
    if last is not None and last.system is System.NEW:
        heard = "; ".join(last.problems)
        what = f"the new system of {job.server.name} is not as asked after {limits.verify:.0f} s: {heard}"
    else:
        heard = f"it is still {last.system.value}" if last is not None else heard
        what = f"the new system of {job.server.name} was not seen within {limits.boot:.0f} s: {heard}"
    host = job.machine.host if job.machine else None
    return VerificationFailed(
        what,
        where=f"{host.address}" if host else job.server.name,
        next=f"look at its console: boot loader, network, user data; then: {ours('troubleshoot', job.server.name)}",
        evidence=heard,
    )


def _unproven(job: Job, last: Verdict) -> VerificationFailed:
    """Its own error: the system may be the new one, and nobody can tell."""
    reasons = "; ".join((last.why, *last.problems))
    marker = job.server.verify.marker or DEFAULT_MARKER
    system = job.last.os_name if job.last and job.last.os_name else "a system"
    return VerificationFailed(
        f"{job.server.name} runs {system}, and nothing proves that it is the new one: {reasons}",
        where=job.machine.host.address if job.machine else job.server.name,
        next=f"what would prove it: an image without a machine-id of its own, or a Template or user data that writes "
        f"{marker} anew (servers.{job.server.name}.verify.marker); look at the machine, then: "
        f"{ours('troubleshoot', job.server.name)}",
        evidence=f"machine id {job.last.machine_id}, root file system {job.last.root}" if job.last else "",
    )


def _record_key(job: Job, look: MachineFacts) -> None:
    """The new system's key replaces the old one in known_hosts, and is shown: the key of that very look, no other."""
    assert job.machine is not None
    key = job.machine.server_key()
    if key is None or key.fingerprint != look.host_key:
        return
    try:
        replaced = job.machine.record_key(key)
    except (OSError, TransportError) as error:
        job.site.bus.emit(Notice(f"the new host key {key.fingerprint} could not be recorded: {error}", "warning"))
        return
    was = " in place of the old one" if replaced else ""
    job.site.bus.emit(Notice(f"new host key {key.type} {key.fingerprint} recorded{was}"))

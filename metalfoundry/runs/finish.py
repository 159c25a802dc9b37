"""Verify and Release: the new system was seen running, or it was not."""

from __future__ import annotations

from dataclasses import dataclass

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.model.errors import (
    MetalfoundryError,
    TransportError,
    UnsafeError,
    VerificationFailed,
    WorkflowFailed,
)
from metalfoundry.model.events import MachineSeen, Notice
from metalfoundry.runs.engine import NEEDED, Needed, Run
from metalfoundry.runs.install import raise_if_ended
from metalfoundry.runs.job import Job
from metalfoundry.site.machine import Watcher
from metalfoundry.transport.clock import Deadline


class Verify:
    """Wait for the new system over SSH and hold it against the inventory."""

    title = "Verify"
    failure = VerificationFailed

    def needed(self, run: Run[Job]) -> Needed:
        """Always: a Workflow's SUCCESS alone proves nothing about the disk that boots next."""
        return NEEDED

    def act(self, run: Run[Job]) -> None:
        """Raises VerificationFailed; WorkflowFailed when the boot action failed and no new system came."""
        job = run.job
        assert job.machine is not None
        limits = job.site.inventory.timeouts
        until = Deadline.after(job.site.clock, limits.boot)
        came_up = False
        watcher = Watcher(job.site, job.machine.verify, every=0.25)
        last = "nothing was heard of it"
        while True:
            seen = watcher.poll()
            if isinstance(seen, MachineFacts):
                verdict = judge(job, seen)
                if verdict.new and not came_up:
                    came_up, until = True, Deadline.after(job.site.clock, limits.verify)
                    job.site.bus.emit(MachineSeen(seen.os_name or "a new system", seen.boot_id))
                if verdict.new and not verdict.problems:
                    break
                last = "; ".join(verdict.problems)
            elif isinstance(seen, TransportError):
                last = last if came_up else str(seen)
            if until.expired():
                raise _not_verified(job, last, came_up)
            _step_after_install(job)
        job.after = seen
        _record_key(job)
        run.say(f"{seen.os_name} as {seen.hostname}, boot id {seen.boot_id}")


class Release:
    """Give everything back: the Workflow is removed, the claim goes, the window is proven closed."""

    title = "Release"
    failure = VerificationFailed

    def needed(self, run: Run[Job]) -> Needed:
        """Always."""
        return NEEDED

    def act(self, run: Run[Job]) -> None:
        """Delete the Workflow (unless it is to be kept) and the claim, in one exec."""
        job = run.job
        job.stop_following()
        done = [job.document.name] if job.document and not job.options.keep_workflow else []
        try:
            job.window.release(done)
        except UnsafeError:
            raise
        except MetalfoundryError as error:  # the server is as it was asked for, whoever holds it
            step = f"fab netboot.break {job.server.name} --run {job.run}"
            job.site.bus.emit(Notice(f"{error}: {job.window.standing()}; give it back with: {step}", "warning"))
            run.say(job.window.standing())
            return
        run.say(f"removed the Workflow {done[0]}" if done else "the Workflow is kept")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a machine that answers is the new system, and what is still wrong with it."""

    new: bool
    problems: tuple[str, ...]


def judge(job: Job, seen: MachineFacts) -> Verdict:
    """Hold one look at the machine against what was there before, and against the inventory.

    Raises VerificationFailed for what waiting cannot mend: the old system, or the installer a second time.
    """
    if seen.in_hook:
        if job.hook_boot_id and seen.boot_id != job.hook_boot_id:
            raise VerificationFailed(
                f"{job.server.name} booted the installer again instead of its disk",
                where=f"boot id {seen.boot_id}",
                next="is the disk before the network in its boot order, and has the image a boot loader for it?",
            )
        job.hook_boot_id = seen.boot_id
        return Verdict(False, ("still in HookOS",))
    if job.before is not None and seen.boot_id == job.before.boot_id:
        return Verdict(False, ("the system of before, not rebooted",))
    if job.before is not None and not job.before.in_hook and not _differs(job.before, seen):
        raise VerificationFailed(
            f"{job.server.name} came back with the old system: same machine id and host key, nothing new on it",
            where=f"{seen.os_name or 'unknown system'}, boot id {seen.boot_id}",
            next="does the image go to the disk that boots? compare DEST_DISK in the Template with the boot order",
            evidence=f"machine id {seen.machine_id}",
        )
    return Verdict(True, tuple(_problems(job, seen)))


def _differs(before: MachineFacts, seen: MachineFacts) -> bool:
    """Any one of these proves a new system; an image with baked-in ids still has its own marker."""
    pairs = (
        (before.machine_id, seen.machine_id),
        (before.host_key, seen.host_key),
        (before.os_name, seen.os_name),
        (before.marker, seen.marker),
    )
    return any(new and old != new for old, new in pairs)


def _problems(job: Job, seen: MachineFacts) -> list[str]:
    wanted = job.server.verify
    problems = []
    if wanted.os and wanted.os.lower() not in seen.os_name.lower():
        problems.append(f"it is {seen.os_name or 'an unknown system'}, not {wanted.os}")
    if wanted.hostname and wanted.hostname not in (seen.hostname, seen.hostname.split(".")[0]):
        problems.append(f"its host name is {seen.hostname}, not {wanted.hostname}")
    if wanted.marker and not seen.marker:
        problems.append(f"there is no {wanted.marker}")
    elif wanted.marker and job.before is not None and job.before.marker == seen.marker:
        problems.append(f"{wanted.marker} is the one of before")
    if wanted.cloud_init and "done" not in seen.cloud_init:
        problems.append(f"cloud-init: {seen.cloud_init or 'does not answer'}")
    for command, (status, output) in zip(wanted.commands, seen.checks, strict=False):
        if status != 0:
            problems.append(f"`{command}` ended with {status}" + (f": {output}" if output else ""))
    if len(seen.checks) < len(wanted.commands):
        problems.append("not all commands could be run")
    return problems


def _step_after_install(job: Job) -> None:
    """Go on watching: a boot action can still fail. A Workflow that is deleted now has done its work."""
    try:
        job.step()
    except WorkflowFailed as error:
        job.site.bus.emit(Notice(str(error), "warning"))
    if job.state == "FAILED":
        raise_if_ended(job)


def _not_verified(job: Job, last: str, came_up: bool) -> VerificationFailed:
    limits = job.site.inventory.timeouts
    if came_up:
        what = f"the new system of {job.server.name} is not as asked after {limits.verify:.0f} s: {last}"
    else:
        what = f"the new system of {job.server.name} was not seen within {limits.boot:.0f} s: {last}"
    host = job.machine.host if job.machine else None
    return VerificationFailed(
        what,
        where=f"{host.address}" if host else job.server.name,
        next="look at its console: boot loader, network, user data; then: fab troubleshoot " + job.server.name,
        evidence=last,
    )


def _record_key(job: Job) -> None:
    """The new system's key replaces the old one in known_hosts, and is shown."""
    assert job.machine is not None
    key = job.machine.presented()
    if key is None:
        return
    try:
        replaced = job.machine.record_key(key)
    except (OSError, TransportError) as error:
        job.site.bus.emit(Notice(f"the new host key {key.fingerprint} could not be recorded: {error}", "warning"))
        return
    was = " in place of the old one" if replaced else ""
    job.site.bus.emit(Notice(f"new host key {key.type} {key.fingerprint} recorded{was}"))

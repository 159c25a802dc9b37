"""Open, Boot, Close, Install: from the reboot to the end of what Tinkerbell does."""

from __future__ import annotations

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.model.errors import IdentityError, NeverInstalled, TransportError, WorkflowFailed, WorkflowTimedOut
from metalfoundry.model.events import MachineSeen, Notice
from metalfoundry.model.program import ours
from metalfoundry.model.states import ClaimPhase
from metalfoundry.runs.engine import NEEDED, Needed, Run
from metalfoundry.runs.job import Job
from metalfoundry.runs.verdict import is_stranger, raise_stranger
from metalfoundry.site.machine import Watcher
from metalfoundry.transport.clock import Deadline

WINDOW_NOT_NEEDED = "the machine is in HookOS already and needs no netboot"


class Open:
    """Allow netboot, for a machine that still has to boot the installer."""

    title = "Open"
    failure = NeverInstalled

    def needed(self, run: Run[Job]) -> Needed:
        """Not for a machine that is in the installer already."""
        return Needed(not (run.job.running or run.job.in_hook), WINDOW_NOT_NEEDED)

    def act(self, run: Run[Job]) -> None:
        """Look, if that is some time ago; open; read back."""
        job = run.job
        run.undo("close netboot", lambda: job.window.shut("the run failed"))
        if _runs_meanwhile(job):
            run.say(WINDOW_NOT_NEEDED)
            return
        job.window.open()
        run.say("netboot is open")


class Boot:
    """Reboot the machine, and see the installer run: state RUNNING, which only an agent can cause."""

    title = "Boot"
    failure = NeverInstalled

    def needed(self, run: Run[Job]) -> Needed:
        """Not when an agent has reported already."""
        return Needed(not run.job.running, "an agent has the Workflow already")

    def act(self, run: Run[Job]) -> None:
        """Reboot, then wait. Raises NeverInstalled, WorkflowFailed, WorkflowTimedOut."""
        job = run.job
        deadline = Deadline.after(job.site.clock, job.site.inventory.timeouts.netboot)
        assert job.machine is not None
        if _has_rebooted(job):
            run.say("rebooted by the earlier run")
        elif not job.in_hook and not _runs_meanwhile(job):
            _reboot(job, deadline)
        watcher = Watcher(job.site, job.machine.look, answers=lambda: job.machine is not None and job.machine.answers)
        last: MachineFacts | TransportError | None = None
        while not job.running:
            if deadline.expired() and not _ran_meanwhile(job):
                raise_stranger(job)
                raise _never(job, last)
            job.step()
            if job.progress.ran:  # what an agent has ended, and we saw only then, is for Install to judge
                break
            raise_if_ended(job)
            seen = watcher.poll()
            last = seen or last
            if isinstance(seen, MachineFacts):
                _judge_boot(job, seen)
        run.say("the installer runs")


class Close:
    """The installer runs, so nothing needs netboot any longer: from now on the server boots its disk."""

    title = "Close"
    failure = WorkflowTimedOut

    def needed(self, run: Run[Job]) -> Needed:
        """Always, unless the inventory keeps it open to the end: Tinkerbell may have opened it by itself."""
        later = run.job.server.netboot_until == "end" and not run.job.in_hook
        return Needed(not later, "netboot_until is end: it is closed after Install")

    def act(self, run: Run[Job]) -> None:
        """Close, read back, ask Smee."""
        run.say(run.job.close("the installer runs").hardware)


class Install:
    """Follow the Workflow to the start of its boot action, or to its end."""

    title = "Install"
    failure = WorkflowTimedOut

    def needed(self, run: Run[Job]) -> Needed:
        """Always."""
        return NEEDED

    def act(self, run: Run[Job]) -> None:
        """Wait. Raises WorkflowFailed, WorkflowTimedOut."""
        job = run.job
        deadline = Deadline.after(job.site.clock, job.site.inventory.timeouts.install)
        while not _through(job):
            raise_if_ended(job)
            if deadline.expired():
                current = job.workflow.current.name if job.workflow and job.workflow.current else "no action"
                raise WorkflowTimedOut(
                    f"the Workflow did not end within {job.site.inventory.timeouts.install:.0f} s; it is at {current}",
                    where=f"Workflow {job.document.name if job.document else ''}",
                    next=ours("troubleshoot", job.server.name),
                )
            job.step()
        if not job.closed:
            job.close("the installation is over")
        run.say(f"{job.state}, {len(job.progress.actions)} actions")


def raise_if_ended(job: Job) -> None:
    """Raise WorkflowFailed or WorkflowTimedOut when Tinkerbell has given the Workflow up."""
    current = job.workflow.current if job.workflow else None
    action = f" at action {current.name}" if current else ""
    name = job.document.name if job.document else ""
    if job.state == "FAILED":
        raise WorkflowFailed(
            f"the Workflow failed{action}", where=f"Workflow {name}", next=ours("troubleshoot", job.server.name)
        )
    if job.state == "TIMEOUT":
        raise WorkflowTimedOut(
            f"the Workflow ran out of time{action}",
            where=f"Workflow {name}",
            next=ours("troubleshoot", job.server.name),
        )


def _runs_meanwhile(job: Job) -> bool:
    """Whether an agent has reported while nobody looked, as during a sleep of this computer: then nothing is to be
    opened, nor rebooted. Raises WorkflowFailed or WorkflowTimedOut for a Workflow that is over.
    """
    if job.window.stale:
        job.reread()
        if not job.running:
            raise_if_ended(job)
    return job.running


def _reboot(job: Job, deadline: Deadline) -> None:
    """Reboot it, or have a person do it, under a window that is open and ours at this moment."""
    assert job.machine is not None
    job.window.ensure_open()
    if job.options.reboot:
        job.rebooted_at = job.site.clock.now().mono
        job.machine.reboot(deadline)
    else:
        job.site.bus.emit(Notice(f"reboot {job.server.name} now: netboot is open for it"))


def _through(job: Job) -> bool:
    """At the end, or at the start of the action that reboots: after that the Workflow may never say a word."""
    if job.state in ("POST", "SUCCESS"):
        return True
    last = job.progress.actions[-1] if job.progress.actions else None
    boots = job.workflow.boot_action() if job.workflow else None
    return bool(last and boots and last.state not in ("", "PENDING"))


def _judge_boot(job: Job, seen: MachineFacts) -> None:
    """Say what came up; raise NeverInstalled when it is the old system from the disk, IdentityError when it is another
    machine for certain and no agent has reported."""
    try:
        if is_stranger(job, seen):
            return
    except IdentityError:
        if _ran_meanwhile(job):
            return
        raise
    if seen.in_hook:
        if seen.boot_id != job.hook_boot_id:
            job.hook_boot_id = seen.boot_id
            job.site.bus.emit(MachineSeen("HookOS", seen.boot_id))
        return
    known = job.now or job.before
    if known is None or seen.boot_id == known.boot_id or _ran_meanwhile(job):
        return
    job.site.bus.emit(MachineSeen(f"{seen.os_name}, from its disk", seen.boot_id))
    raise NeverInstalled(
        f"{job.server.name} rebooted into {seen.os_name or 'the system on its disk'} instead of the installer",
        where=f"boot id {seen.boot_id}",
        next="put the network first in its boot order (efibootmgr -n, or the BMC), then run again",
        evidence=f"uptime {seen.uptime:.0f} s" if seen.uptime is not None else "",
    )


def _ran_meanwhile(job: Job) -> bool:
    """Whether an agent has reported after all: our watch may be behind, as after a cut link, so the object is asked.
    Where nobody answers, it has not as far as we know.
    """
    try:
        job.reread()
    except (TransportError, WorkflowFailed) as error:
        job.site.bus.emit(Notice(f"the Workflow could not be read: {error}", "warning"))
    return job.running


def _has_rebooted(job: Job) -> bool:
    """Whether a run that is taken up got to its reboot, and the machine is on its way: silent, or never seen since."""
    return job.resumes is not None and job.resumes.note.phase == ClaimPhase.BOOT and job.now is None


def _never(job: Job, last: MachineFacts | TransportError | None) -> NeverInstalled:
    seconds = job.site.inventory.timeouts.netboot
    if isinstance(last, MachineFacts) and last.in_hook:
        cause = "HookOS runs, but no agent has reported"
        step = ours("troubleshoot", job.server.name)
    elif isinstance(last, MachineFacts) and job.before is not None and last.boot_id == job.before.boot_id:
        cause, step = "it has not rebooted: the boot id is the same", "look at its console; reboot it by hand"
    else:
        cause = f"nothing was heard of it ({last})" if last else "nothing was heard of it"
        step = "look at its console, and at Smee's log for its MAC"
    return NeverInstalled(
        f"{job.server.name} did not reach the installer within {seconds:.0f} s: {cause}",
        where=f"Workflow {job.document.name if job.document else ''} is {job.state}",
        next=step,
    )

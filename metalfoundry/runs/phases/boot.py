"""Boot: the machine reboots into the installer."""

from __future__ import annotations

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.model.errors import IdentityError, NeverInstalled, TransportError
from metalfoundry.model.events import MachineSeen, Notice
from metalfoundry.model.program import ours
from metalfoundry.model.states import ClaimPhase
from metalfoundry.runs.engine import Needed, Run
from metalfoundry.runs.job import Job
from metalfoundry.runs.verdict import is_stranger, raise_stranger
from metalfoundry.site.machine import Watcher
from metalfoundry.transport.clock import Deadline


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
        elif not job.in_hook and not job.runs_meanwhile():
            _reboot(job, deadline)
        watcher = Watcher(job.site, job.machine.look, answers=lambda: job.machine is not None and job.machine.answers)
        last: MachineFacts | TransportError | None = None
        while not job.running:
            if deadline.expired() and not job.ran_meanwhile():
                raise_stranger(job)
                raise _never(job, last)
            job.step()
            if job.progress.ran:  # what an agent has ended, and we saw only then, is for Install to judge
                break
            job.raise_if_ended()
            seen = watcher.poll()
            last = seen or last
            if isinstance(seen, MachineFacts):
                _judge_boot(job, seen)
        run.say("the installer runs")


def _reboot(job: Job, deadline: Deadline) -> None:
    """Reboot it, or have a person do it, under a window that is open and ours at this moment."""
    assert job.machine is not None
    job.window.ensure_open()
    if job.options.reboot:
        job.rebooted_at = job.site.clock.now().mono
        job.machine.reboot(deadline)
    else:
        job.site.bus.emit(Notice(f"reboot {job.server.name} now: netboot is open for it"))


def _judge_boot(job: Job, seen: MachineFacts) -> None:
    """Say what came up; raise NeverInstalled when it is the old system from the disk, IdentityError when it is another
    machine for certain and no agent has reported."""
    try:
        if is_stranger(job, seen):
            return
    except IdentityError:
        if job.ran_meanwhile():
            return
        raise
    if seen.in_hook:
        if seen.boot_id != job.hook_boot_id:
            job.hook_boot_id = seen.boot_id
            job.site.bus.emit(MachineSeen("HookOS", seen.boot_id))
        return
    known = job.now or job.before
    if known is None or seen.boot_id == known.boot_id or job.ran_meanwhile():
        return
    job.site.bus.emit(MachineSeen(f"{seen.os_name}, from its disk", seen.boot_id))
    raise NeverInstalled(
        f"{job.server.name} rebooted into {seen.os_name or 'the system on its disk'} instead of the installer",
        where=f"boot id {seen.boot_id}",
        next="put the network first in its boot order (efibootmgr -n, or the BMC), then run again",
        evidence=f"uptime {seen.uptime:.0f} s" if seen.uptime is not None else "",
    )


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

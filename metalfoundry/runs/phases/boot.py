"""Boot: the machine reboots into the installer."""

from __future__ import annotations

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.model.errors import IdentityError, NeverInstalled, TransportError
from metalfoundry.model.events import MachineSeen
from metalfoundry.model.program import ours
from metalfoundry.model.states import ClaimPhase
from metalfoundry.runs.engine import Needed
from metalfoundry.runs.ladder import Ladder
from metalfoundry.runs.provision_run import ProvisionRun
from metalfoundry.runs.verdict import is_stranger, raise_stranger
from metalfoundry.site.machine import Watcher
from metalfoundry.transport.clock import Deadline


class Boot:
    """Reboot the machine, and see the installer run: state RUNNING, which only an agent can cause."""

    title = "Boot"
    failure = NeverInstalled

    def needed(self, run: ProvisionRun) -> Needed:
        """Not when an agent has reported already."""
        return Needed(not run.running, "an agent has the Workflow already")

    def act(self, run: ProvisionRun) -> None:
        """Reboot, then wait. Raises NeverInstalled, WorkflowFailed, WorkflowTimedOut."""
        deadline = Deadline.after(run.clock, run.site.inventory.timeouts.netboot)
        ladder = Ladder(run, deadline)
        if _has_rebooted(run):
            run.say("rebooted by the earlier run")
        elif not run.target.in_hook and not run.runs_meanwhile():
            ladder.climb()
        machine = run.target.machine
        watcher = Watcher(run.site, machine.look, answers=lambda: machine.answers)
        last: MachineFacts | TransportError | None = None
        while not run.running:
            if deadline.expired() and not run.ran_meanwhile():
                raise_stranger(run)
                raise _never(run, last, ladder.told)
            run.step()
            if run.progress.ran:  # what an agent has ended, and we saw only then, is for Install to judge
                break
            run.raise_if_ended()
            seen = watcher.poll()
            last = seen or last
            if isinstance(seen, MachineFacts):
                _judge_boot(run, seen)
            ladder.look(seen)
        ladder.end()
        run.say("the installer runs")


def _judge_boot(run: ProvisionRun, seen: MachineFacts) -> None:
    """Say what came up; raise NeverInstalled when it is the old system from the disk, IdentityError when it is another
    machine for certain and no agent has reported."""
    try:
        if is_stranger(run, seen):
            return
    except IdentityError:
        if run.ran_meanwhile():
            return
        raise
    if seen.in_hook:
        if seen.boot_id != run.hook_boot_id:
            run.hook_boot_id = seen.boot_id
            run.bus.emit(MachineSeen("HookOS", seen.boot_id))
        return
    known = run.target.facts_now or run.target.facts_old
    if known is None or seen.boot_id == known.boot_id or run.ran_meanwhile():
        return
    run.bus.emit(MachineSeen(f"{seen.os_name}, from its disk", seen.boot_id))
    raise NeverInstalled(
        f"{run.server.name} rebooted into {seen.os_name or 'the system on its disk'} instead of the installer",
        where=f"boot id {seen.boot_id}",
        next="put the network first in its boot order (efibootmgr -n, or the BMC), then run again",
        evidence=f"uptime {seen.uptime:.0f} s" if seen.uptime is not None else "",
    )


def _has_rebooted(run: ProvisionRun) -> bool:
    """Whether a run that is taken up got to its reboot, and the machine is on its way: silent, or never seen since."""
    resumes, silent = run.target.resumes, run.target.facts_now is None
    return resumes is not None and resumes.note.phase == ClaimPhase.BOOT and silent


def _never(run: ProvisionRun, last: MachineFacts | TransportError | None, tried: str = "") -> NeverInstalled:
    seconds, old = run.site.inventory.timeouts.netboot, run.target.facts_old
    if isinstance(last, MachineFacts) and last.in_hook:
        cause = "HookOS runs, but no agent has reported"
        step = ours("troubleshoot", run.server.name)
    elif isinstance(last, MachineFacts) and old is not None and last.boot_id == old.boot_id:
        cause, step = "it has not rebooted: the boot id is the same", "look at its console; reboot it by hand"
    else:
        cause = f"nothing was heard of it ({last})" if last else "nothing was heard of it"
        step = "look at its console, and at Smee's log for its MAC"
    return NeverInstalled(
        f"{run.server.name} did not reach the installer within {seconds:.0f} s: {cause}",
        where=f"Workflow {run.target.document.name} is {run.state}",
        next=step,
        evidence=tried,
    )

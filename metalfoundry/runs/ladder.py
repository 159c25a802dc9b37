"""The ways to reboot a machine, one after the other where the one before fails: its SSH, its BMC, a person."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from functools import partial

from metalfoundry.commands.bmc import job_name, netboot_once
from metalfoundry.commands.kubernetes import BmcJob
from metalfoundry.commands.machine import MachineFacts
from metalfoundry.model.errors import MetalfoundryError, NeverInstalled, PreflightError, TransportError
from metalfoundry.model.events import Notice
from metalfoundry.model.program import ours
from metalfoundry.model.states import BmcState
from metalfoundry.runs.provision_run import TINKERBELL, ProvisionRun
from metalfoundry.runs.strangers import NOT_PROVEN, refuse_stranger
from metalfoundry.site.bmc import Bmc
from metalfoundry.site.machine import ANSWERS
from metalfoundry.transport.clock import Deadline

AGAIN_SECONDS = 60.0
MOST_REBOOTS = 3
CREATE_SECONDS = 60.0


class Ladder:
    """Reboots the machine of one run by the rungs that are `taken`, in order."""

    def __init__(self, run: ProvisionRun, deadline: Deadline) -> None:
        """`deadline` is that of the phase: nothing is waited for longer."""
        self._run, self._deadline = run, deadline
        self._left = list(taken(run))
        self._rung = ""
        self._reboots = 0
        self._bmc = Bmc(run.site, run.target.hardware)
        self._job = ""
        self._following: Future[BmcJob | None] | None = None
        self._tried: dict[str, str] = {}  # what has come of each rung that was taken

    def climb(self) -> None:
        """Reboot it by the next rung, or by the first after it that does not fail at once, each under a window that is
        open and ours at this moment. Raises what the last one raises, and IdentityError where another machine answers.
        """
        acts = {"ssh": self._over_ssh, "bmc": self._by_bmc, "person": self._by_person, TINKERBELL: self._by_tinkerbell}
        while not (self._tried and self._run.ran_meanwhile()):
            self._run.raise_if_ended()
            self._rung = self._left.pop(0)
            self._tried[self._rung] = "it was asked to"
            self._run.window.ensure_open()
            try:
                acts[self._rung]()
                return
            except ANSWERS:
                raise
            except (NeverInstalled, PreflightError) as error:
                self._failed(error)

    def look(self, seen: MachineFacts | TransportError | None) -> None:
        """Take in what the machine shows, and what has become of the BMC's Job; climb where the present rung has
        failed. Raises as `climb`.
        """
        if self._rung == "ssh" and isinstance(seen, MachineFacts) and self._has_not_heard(seen):
            if self._reboots < MOST_REBOOTS:
                self._again()
            elif self._left:
                self._failed(NeverInstalled(f"{self._run.server.name} runs as before, though its reboot was forced"))
                self.climb()
        elif self._job and self._following is not None and self._following.done():
            self._job_ended(self._following)

    @property
    def told(self) -> str:
        """The rungs that were taken, and what came of each; "" where there were none."""
        tried = "; ".join(f"{rung}: {what}" for rung, what in self._tried.items())
        return f"tried {tried}" if tried else ""

    def end(self) -> None:
        """The installer runs: nothing is to be looked at any more."""
        self._job = ""

    def _over_ssh(self, force: bool = False) -> None:
        run, machine = self._run, self._run.target.machine
        if run.target.facts_now is None and self._is_installer():
            self._tried[self._rung] = "it is in HookOS already"
            return
        if run.server.boot_next and not self._reboots:
            why = machine.boot_network_next(run.target.hardware.mac_for(run.server.mac), self._deadline)
            text = f"{run.server.name} boots as its firmware is set, perhaps not from the network: {why}"
            run.bus.emit(Notice(text, "warning") if why else Notice(f"{run.server.name} boots from the network next"))
        self._reboots += 1
        run.rebooted_at = run.clock.now().mono
        machine.reboot(self._deadline, force)

    def _is_installer(self) -> bool:
        """Look at a machine that was silent until now; say whether it is in the installer, and needs no reboot. Raises
        IdentityError for another one, NeverInstalled for one that does not prove who it is: nobody has confirmed that.
        """
        run, target = self._run, self._run.target
        seen = target.machine.facts(self._deadline)
        if not refuse_stranger(target.machine, target.hardware, target.old_systems, seen):
            raise NeverInstalled(
                f"{run.server.name} answers now, and {NOT_PROVEN}",
                where=target.machine.host.address,
                next=f"reboot it by hand, with: {ours('provision', run.server.name, '--no-reboot')}",
            )
        if not seen.in_hook:
            run.found = replace(target, facts_now=seen, facts_old=seen, old_systems=(*target.old_systems, seen))
        return seen.in_hook

    def _has_not_heard(self, seen: MachineFacts) -> bool:
        """Whether it goes on under the boot id of before, long after our `reboot`: the link may have died with it."""
        run = self._run
        known = run.target.facts_now
        if run.rebooted_at is None or known is None or seen.boot_id != known.boot_id or run.stranger:
            return False
        return run.clock.now().mono - run.rebooted_at >= AGAIN_SECONDS

    def _again(self) -> None:
        """Say it once more, under the same conditions, the last time with force. What comes of it is seen by the next
        looks: a shutdown that is under way refuses a second one."""
        run, seconds = self._run, f"{AGAIN_SECONDS:.0f} s after `reboot`"
        run.bus.emit(Notice(f"{run.server.name} runs as before, {seconds}: it is sent again"))
        run.window.ensure_open()
        try:
            self._over_ssh(force=self._reboots + 1 == MOST_REBOOTS)
        except (NeverInstalled, TransportError) as error:
            run.bus.emit(Notice(f"{error}", "warning"))

    def _by_bmc(self) -> None:
        run, job = self._run, job_name(self._run.server.hardware, self._run.id)
        run.undo("leave the BMC's Job alone", self._leave)
        run.rebooted_at = run.clock.now().mono
        self._job = job
        self._bmc.create(job, netboot_once(run.target.hardware), self._deadline.within(CREATE_SECONDS))
        run.bus.emit(Notice(f"{run.server.name} is power-cycled by its BMC {self._bmc.name}: Job {job}"))
        self._following = run.site.background(partial(self._bmc.follow, job, self._deadline, lambda: not self._job))

    def _job_ended(self, following: Future[BmcJob | None]) -> None:
        run, self._following = self._run, None
        try:
            ended = following.result()
        except MetalfoundryError as error:  # the Job goes on, and the machine shows what it does
            run.bus.emit(Notice(f"the BMC's Job {self._job} cannot be watched: {error}", "warning"))
            return
        if ended is not None and ended.state == BmcState.FAILED:
            self._failed(self._bmc.failure(ended))
            self.climb()
        elif ended is not None:
            self._tried["bmc"], self._job = f"the Job {self._job} is Completed", ""
            text = f"the BMC of {run.server.name} has switched it on again, to boot from the network once"
            run.bus.emit(Notice(text))

    def _leave(self) -> None:
        """Look no longer at a Job that is under way: to stop it might leave the machine switched off."""
        job, following, self._job = self._job, self._following, ""
        seen = following is not None and following.done() and following.exception() is None and following.result()
        if job and not seen:
            name = self._run.server.name
            self._run.bus.emit(Notice(f"the BMC's Job {job} is left to its end, and switches {name} on again"))

    def _by_tinkerbell(self) -> None:
        """Leave it alone: a second reboot would come in the middle of the first."""
        self._run.bus.emit(Notice(f"Tinkerbell has the BMC of {self._run.server.name} power-cycle it: bootMode"))

    def _by_person(self) -> None:
        self._run.bus.emit(Notice(f"reboot {self._run.server.name} now: netboot is open for it"))

    def _failed(self, error: MetalfoundryError) -> None:
        """Tell that the present rung has failed, and what comes next. Raises `error` where there is nothing left."""
        self._tried[self._rung], self._job = error.what, ""
        if not self._left:
            raise error
        step = f"; {error.next}" if error.next and self._rung == "bmc" else ""
        self._run.bus.emit(Notice(f"{error}{step}; next: {_NEXT[self._left[0]]}", "warning"))


_NEXT = {"ssh": "over SSH", "bmc": "by its BMC", "person": "a person reboots it"}


def taken(run: ProvisionRun) -> tuple[str, ...]:
    """The rungs that are climbed, in order: nothing that the machine did not answer to at Preflight, where there is
    another way. What comes up there afterwards is nobody who was shown, and confirmed.
    """
    silent = run.target.facts_now is None and not run.ssh_alone
    return tuple(rung for rung in run.rungs if not (silent and rung == "ssh"))


def ways(run: ProvisionRun) -> str:
    """How the machine will be rebooted, for a person."""
    words = {
        "ssh": "over SSH",
        "bmc": f"power-cycled by its BMC {run.target.hardware.bmc_ref}",
        "person": "by a person",
    }
    if TINKERBELL in run.rungs:
        return "power-cycled by Tinkerbell, as its bootMode says"
    return ", else ".join(words[rung] for rung in taken(run))

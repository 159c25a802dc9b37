"""Stay: the new system comes back from its own disk after one more reboot, and stays up."""

from __future__ import annotations

from collections.abc import Callable

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.diagnosis.verification import Verdict
from metalfoundry.model.errors import TransportError, VerificationFailed
from metalfoundry.model.events import MachineSeen
from metalfoundry.model.inventory import Server
from metalfoundry.model.program import ours
from metalfoundry.runs.engine import Needed
from metalfoundry.runs.provision_run import ProvisionRun
from metalfoundry.runs.verdict import judge, step_after_install
from metalfoundry.site.machine import Watcher
from metalfoundry.transport.clock import Deadline


def is_asked_for(server: Server) -> bool:
    """Whether the inventory asks for more than one sight of the new system."""
    return server.verify.reboot or bool(server.verify.stable)


class Stay:
    """Reboot the new system once more, with netboot closed, and see that it stays up: as the inventory asks."""

    title = "Stay"
    failure = VerificationFailed

    def needed(self, run: ProvisionRun) -> Needed:
        """Where the inventory says so."""
        return Needed(is_asked_for(run.server), "verify.reboot and verify.stable are not set")

    def act(self, run: ProvisionRun) -> None:
        """Raises VerificationFailed when another system comes back, or none, or it does not stay; IdentityError, and
        UnsafeError where netboot is not proven closed before.
        """
        wanted, done = run.server.verify, list[str]()
        assert run.facts_new is not None, "Verify comes first"
        if wanted.reboot:
            run.facts_new = _come_back(run, run.facts_new)
            done.append("it came back from its disk")
        if wanted.stable:
            _stay_up(run, run.facts_new, wanted.stable)
            done.append(f"it stayed up for {wanted.stable:.0f} s")
        run.say("; ".join(done))


def _come_back(run: ProvisionRun, before: MachineFacts) -> MachineFacts:
    run.close("the new system reboots")
    seconds, name = run.site.inventory.timeouts.boot, run.server.name
    deadline = Deadline.after(run.clock, seconds)
    run.target.machine.reboot_new(deadline)

    def hinders(look: MachineFacts, answer: Verdict) -> str:
        if other := _another(before, look):
            return f"what answers is another system: {other}"
        if look.boot_id == before.boot_id:
            return "it has not rebooted: the boot id is the same"
        return "" if answer.good else "; ".join((answer.why, *answer.problems))

    look, heard = _look(run, deadline, hinders)
    if look is not None:
        run.bus.emit(MachineSeen(look.os_name, look.boot_id))
        return look
    raise VerificationFailed(
        f"{name} was installed, and did not come back within {seconds:.0f} s after one more reboot: {heard}",
        where=run.target.machine.host.address,
        next=f"look at its console: does it boot its disk where the network offers nothing? then: "
        f"{ours('troubleshoot', name)}",
        evidence=heard,
    )


def _stay_up(run: ProvisionRun, before: MachineFacts, seconds: float) -> None:
    """One look at the end: the same boot id proves all the time between."""
    end = Deadline.after(run.clock, seconds)
    while not end.expired():
        step_after_install(run)

    def hinders(look: MachineFacts, answer: Verdict) -> str:
        again = f"it has rebooted by itself: boot id {look.boot_id}" if look.boot_id != before.boot_id else ""
        return _another(before, look) or again

    look, heard = _look(run, Deadline.after(run.clock, run.site.inventory.timeouts.facts), hinders)
    if look is None:
        raise VerificationFailed(
            f"{run.server.name} was installed, and did not stay up for {seconds:.0f} s: {heard}",
            where=run.target.machine.host.address,
            next=f"look at its console and its journal; then: {ours('troubleshoot', run.server.name)}",
            evidence=f"boot id {before.boot_id} before",
        )


def _look(
    run: ProvisionRun, deadline: Deadline, hinders: Callable[[MachineFacts, Verdict], str]
) -> tuple[MachineFacts | None, str]:
    """The first look of which `hinders` says nothing; where none comes in time, None and what was heard last."""
    machine, heard = run.target.machine, "nothing was heard of it"
    watcher = Watcher(run.site, machine.verify, 0.25, lambda: machine.answers)
    while not deadline.expired():
        look = watcher.poll()
        if isinstance(look, MachineFacts):
            heard = hinders(look, judge(run, look))
            if not heard:
                return look, ""
        elif isinstance(look, TransportError):
            heard = str(look)
        step_after_install(run)
    return None, heard


def _another(before: MachineFacts, look: MachineFacts) -> str:
    """By what another system than before answers; "" for the same."""
    for what, was, now in (
        ("machine id", before.machine_id, look.machine_id),
        ("host key", before.host_key, look.host_key),
        ("root file system", before.root, look.root),
    ):
        if was and now and was != now:
            return f"{what} {now}, before {was}"
    return ""

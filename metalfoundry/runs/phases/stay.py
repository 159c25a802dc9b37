"""Stay: the new system comes back from its own disk after one more reboot, and stays up."""

from __future__ import annotations

from metalfoundry.commands.machine import MachineFacts
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
    heard = "nothing was heard of it"
    machine = run.target.machine
    watcher = Watcher(run.site, machine.verify, 0.25, lambda: machine.answers)
    while not deadline.expired():
        look = watcher.poll()
        if isinstance(look, MachineFacts):
            answer = judge(run, look)
            if other := _another(before, look):
                heard = f"what answers is another system: {other}"
            elif look.boot_id == before.boot_id:
                heard = "it has not rebooted: the boot id is the same"
            elif answer.good:
                run.bus.emit(MachineSeen(look.os_name, look.boot_id))
                return look
            else:
                heard = "; ".join((answer.why, *answer.problems))
        elif isinstance(look, TransportError):
            heard = str(look)
        step_after_install(run)
    raise VerificationFailed(
        f"{name} was installed, and did not come back within {seconds:.0f} s after one more reboot: {heard}",
        where=machine.host.address,
        next=f"look at its console: does it boot its disk where the network offers nothing? then: "
        f"{ours('troubleshoot', name)}",
        evidence=heard,
    )


def _stay_up(run: ProvisionRun, before: MachineFacts, seconds: float) -> None:
    """One look at the end: the same boot id proves all the time between."""
    end = Deadline.after(run.clock, seconds)
    while not end.expired():
        step_after_install(run)
    heard = ""
    patience = Deadline.after(run.clock, run.site.inventory.timeouts.facts)
    machine = run.target.machine
    watcher = Watcher(run.site, machine.verify, 0.25, lambda: machine.answers)
    while not patience.expired():
        look = watcher.poll()
        if isinstance(look, MachineFacts):
            judge(run, look)
            if look.boot_id == before.boot_id:
                return
            heard = _another(before, look) or f"it has rebooted by itself: boot id {look.boot_id}"
            break
        heard = str(look) if isinstance(look, TransportError) else heard
        step_after_install(run)
    raise VerificationFailed(
        f"{run.server.name} was installed, and did not stay up for {seconds:.0f} s: {heard or 'it does not answer'}",
        where=machine.host.address,
        next=f"look at its console and its journal; then: {ours('troubleshoot', run.server.name)}",
        evidence=f"boot id {before.boot_id} before",
    )


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

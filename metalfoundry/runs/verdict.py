"""What a run knows of its machine, and what it makes of one that is another."""

from __future__ import annotations

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.diagnosis.identity import identify
from metalfoundry.diagnosis.verification import Known, System, Verdict, verify
from metalfoundry.model.errors import IdentityError
from metalfoundry.model.events import Notice
from metalfoundry.runs.provision_run import ProvisionRun

CERTAIN_SECONDS = 10.0


def verdict(run: ProvisionRun, look: MachineFacts) -> Verdict:
    """Judge one look at the machine by everything that this run knows."""
    target, since = run.target, run.target.since if run.rebooted_at is None else run.rebooted_at
    hardware, old, now = target.hardware, target.old_systems, target.facts_now
    looks = (now,) if now and identify(hardware, old, now).same else ()
    return verify(look, Known(run.server.verify, hardware, old, looks, run.clock.now().mono - since))


def is_stranger(run: ProvisionRun, look: MachineFacts) -> bool:
    """Whether another machine answered. The right one may still come up: a stranger that goes on answering for
    CERTAIN_SECONDS is certain, and an IdentityError."""
    answer = verdict(run, look)
    now = run.clock.now().mono
    if answer.system is not System.STRANGER:
        run.stranger = None
        return False
    if run.stranger is None:
        run.stranger = (answer.why, now)
        run.bus.emit(Notice(f"another machine answers at {run.target.machine.host.address}: {answer.why}", "warning"))
    elif now - run.stranger[1] >= CERTAIN_SECONDS:
        raise_stranger(run)
    return True


def raise_stranger(run: ProvisionRun) -> None:
    """Raise IdentityError where what answered last was another machine."""
    if run.stranger is not None:
        raise another_machine(run, run.stranger[0])


def another_machine(run: ProvisionRun, why: str) -> IdentityError:
    """The error for a machine that is not the one of this Hardware, with both sides."""
    address = run.target.machine.host.address
    return IdentityError(
        f"the machine at {address} is not {run.server.hardware}: {why}",
        where=f"server {run.server.name}",
        next=f"find out who has {address} (DHCP's leases); correct the address in the inventory, or the MAC in the "
        f"Hardware. Where this server itself was changed: kubectl annotate hardware {run.server.hardware} "
        f"-n {run.site.kubectl.namespace} metalfoundry.dev/old-system-",
    )

"""What a run knows of its machine, and what it makes of one that is another."""

from __future__ import annotations

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.diagnosis.identity import identify
from metalfoundry.diagnosis.verification import Known, System, Verdict, verify
from metalfoundry.model.errors import IdentityError
from metalfoundry.model.events import Notice
from metalfoundry.runs.job import Job

CERTAIN_SECONDS = 10.0


def verdict(job: Job, look: MachineFacts) -> Verdict:
    """Judge one look at the machine by everything that this run knows."""
    since = job.began if job.rebooted_at is None else job.rebooted_at
    elapsed = None if since is None else job.site.clock.now().mono - since
    looks = (job.now,) if job.now and identify(job.hardware, job.old, job.now).same else ()
    return verify(look, Known(job.server.verify, job.hardware, job.old, looks, elapsed))


def is_stranger(job: Job, look: MachineFacts) -> bool:
    """Whether another machine answered. The right one may still come up: a stranger that goes on answering for
    CERTAIN_SECONDS is certain, and an IdentityError."""
    answer = verdict(job, look)
    now = job.site.clock.now().mono
    if answer.system is not System.STRANGER:
        job.stranger = None
        return False
    if job.stranger is None:
        job.stranger = (answer.why, now)
        job.site.bus.emit(Notice(f"another machine answers at {_address(job)}: {answer.why}", "warning"))
    elif now - job.stranger[1] >= CERTAIN_SECONDS:
        raise_stranger(job)
    return True


def raise_stranger(job: Job) -> None:
    """Raise IdentityError where what answered last was another machine."""
    if job.stranger is not None:
        raise another_machine(job, job.stranger[0])


def another_machine(job: Job, why: str) -> IdentityError:
    """The error for a machine that is not the one of this Hardware, with both sides."""
    address = _address(job)
    return IdentityError(
        f"the machine at {address} is not {job.server.hardware}: {why}",
        where=f"server {job.server.name}",
        next=f"find out who has {address} (DHCP's leases); correct the address in the inventory, or the MAC in the "
        f"Hardware. Where this server itself was changed: kubectl annotate hardware {job.server.hardware} "
        f"-n {job.site.kubectl.namespace} metalfoundry.dev/old-system-",
    )


def _address(job: Job) -> str:
    return job.machine.host.address if job.machine else job.server.address or job.server.name

"""What a run makes of a look at its machine: the new system, the old one, the installer, or another machine."""

from __future__ import annotations

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.diagnosis.identity import identify
from metalfoundry.diagnosis.verification import Known, System, Verdict, may_settle, verify
from metalfoundry.model.errors import VerificationFailed, WorkflowFailed
from metalfoundry.model.events import Notice
from metalfoundry.runs.provision_run import ProvisionRun
from metalfoundry.runs.strangers import another_machine

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
        raise another_machine(run.target.machine, run.stranger[0])


def judge(run: ProvisionRun, look: MachineFacts) -> Verdict:
    """Hold one look at the machine against all that is known.

    Raises VerificationFailed for what waiting cannot mend: the old system, or the installer a second time; and
    IdentityError for another machine, once it is certain.
    """
    answer = verdict(run, look)
    if is_stranger(run, look):
        return answer
    if answer.system is System.INSTALLER:
        if run.hook_boot_id and look.boot_id != run.hook_boot_id:
            raise VerificationFailed(
                f"{run.server.name} booted the installer again instead of its disk",
                where=f"boot id {look.boot_id}",
                next="is the disk before the network in its boot order, and has the image a boot loader for it?",
            )
        run.hook_boot_id = look.boot_id
    if answer.system is System.OLD and not may_settle(answer, look, run.server.verify):
        raise old_system(run, answer, look)
    return answer


def old_system(run: ProvisionRun, answer: Verdict, look: MachineFacts | None) -> VerificationFailed:
    """The error for the system that was there before."""
    return VerificationFailed(
        f"{run.server.name} came back with the old system: {answer.why}",
        where=f"{look.os_name or 'unknown system'}, boot id {look.boot_id}" if look else run.server.name,
        next="does the image go to the disk that boots? compare DEST_DISK in the Template with the boot order",
        evidence=f"machine id {look.machine_id}" if look else "",
    )


def step_after_install(run: ProvisionRun) -> None:
    """Go on watching: a boot action can still fail. A Workflow that is deleted now has done its work."""
    try:
        run.step()
    except WorkflowFailed as error:
        run.bus.emit(Notice(str(error), "warning"))
    if run.state == "FAILED":
        run.raise_if_ended()

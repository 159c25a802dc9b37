"""Verify: the new system was seen running, or it was not."""

from __future__ import annotations

from metalfoundry.commands.machine import DEFAULT_MARKER, MachineFacts
from metalfoundry.diagnosis.verification import System, Verdict
from metalfoundry.model.errors import HostKeyError, TransportError, VerificationFailed
from metalfoundry.model.events import MachineSeen, Notice
from metalfoundry.model.program import ours
from metalfoundry.runs.engine import NEEDED, Needed
from metalfoundry.runs.provision_run import ProvisionRun
from metalfoundry.runs.verdict import CERTAIN_SECONDS, judge, old_system, raise_stranger, step_after_install
from metalfoundry.site.machine import Watcher
from metalfoundry.transport.clock import Deadline

CAME_UP = (System.NEW, System.UNPROVEN, System.OLD)


class Verify:
    """Wait for the new system over SSH and hold it against the inventory."""

    title = "Verify"
    failure = VerificationFailed

    def needed(self, run: ProvisionRun) -> Needed:
        """Always: a Workflow's SUCCESS alone proves nothing about the disk that boots next."""
        return NEEDED

    def act(self, run: ProvisionRun) -> None:
        """Raises VerificationFailed; IdentityError when another machine has the address; WorkflowFailed when the boot
        action failed and no new system came."""
        limits = run.site.inventory.timeouts
        until = Deadline.after(run.clock, limits.boot)
        last: Verdict | None = None
        system: MachineFacts | None = None
        heard = "nothing was heard of it"
        wrong_since: float | None = None
        run.stranger = None
        machine = run.target.machine
        watcher = Watcher(run.site, machine.verify, 0.25, lambda: machine.answers)
        while True:
            look = watcher.poll()
            if isinstance(look, MachineFacts):
                answer = judge(run, look)
                if answer.system in CAME_UP and (last is None or last.system not in CAME_UP):
                    until = Deadline.after(run.clock, limits.verify)
                    run.bus.emit(MachineSeen(look.os_name or answer.system.value, look.boot_id))
                if answer.good:
                    break
                if answer.system is not System.STRANGER:
                    system, last = look, answer
            elif isinstance(look, TransportError):
                heard = str(look)
            if look is not None:
                wrong_since = _wrong_key(run, look, wrong_since)
            if until.expired():
                raise_stranger(run)
                raise _not_verified(run, last, system, heard)
            step_after_install(run)
        run.facts_new = look
        _record_key(run, look)
        run.say(f"{look.os_name} as {look.hostname}, boot id {look.boot_id}: {answer.why}")


def _wrong_key(run: ProvisionRun, look: MachineFacts | TransportError, since: float | None) -> float | None:
    """Since when a key is shown that may not be: not the pinned one, or a revoked one. What starts the disk may have a
    key of its own for a moment; one that goes on for CERTAIN_SECONDS is the system's, and a VerificationFailed.
    """
    if not isinstance(look, HostKeyError):
        return None
    now = run.clock.now().mono
    if since is not None and now - since >= CERTAIN_SECONDS:
        raise VerificationFailed(look.what, where=look.where, next=look.next, evidence=look.evidence) from look
    return now if since is None else since


def _not_verified(
    run: ProvisionRun, last: Verdict | None, system: MachineFacts | None, heard: str
) -> VerificationFailed:
    limits = run.site.inventory.timeouts
    if last is not None and last.system is System.OLD:
        return old_system(run, last, system)
    if last is not None and last.system is System.UNPROVEN:
        return _unproven(run, last, system)
    if last is not None and last.system is System.NEW:
        heard = "; ".join(last.problems)
        what = f"the new system of {run.server.name} is not as asked after {limits.verify:.0f} s: {heard}"
    else:
        heard = f"it is still {last.system.value}" if last is not None else heard
        what = f"the new system of {run.server.name} was not seen within {limits.boot:.0f} s: {heard}"
    return VerificationFailed(
        what,
        where=run.target.machine.host.address,
        next=f"look at its console: boot loader, network, user data; then: {ours('troubleshoot', run.server.name)}",
        evidence=heard,
    )


def _unproven(run: ProvisionRun, last: Verdict, system: MachineFacts | None) -> VerificationFailed:
    """Its own error: the system may be the new one, and nobody can tell."""
    reasons = "; ".join((last.why, *last.problems))
    marker = run.server.verify.marker or DEFAULT_MARKER
    name = system.os_name if system and system.os_name else "a system"
    return VerificationFailed(
        f"{run.server.name} runs {name}, and nothing proves that it is the new one: {reasons}",
        where=run.target.machine.host.address,
        next=f"what would prove it: an image without a machine-id of its own, or a Template or user data that writes "
        f"{marker} anew (servers.{run.server.name}.verify.marker); look at the machine, then: "
        f"{ours('troubleshoot', run.server.name)}",
        evidence=f"machine id {system.machine_id}, root file system {system.root}" if system else "",
    )


def _record_key(run: ProvisionRun, look: MachineFacts) -> None:
    """The new system's key replaces the old one in known_hosts, and is shown: the key of that very look, no other.

    The other keys that it tells of are published with it where that key is among them: then these are its sshd's.
    """
    key = run.target.machine.server_key()
    if key is None or key.fingerprint != look.host_key:
        return
    run.keys_new = look.host_keys if key in look.host_keys else (key,)
    try:
        replaced = run.target.machine.record_key(key)
    except (OSError, TransportError) as error:
        run.bus.emit(Notice(f"the new host key {key.fingerprint} could not be recorded: {error}", "warning"))
        return
    was = " in place of the old one" if replaced else ""
    run.bus.emit(Notice(f"new host key {key.type} {key.fingerprint} recorded{was}"))

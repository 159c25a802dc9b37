"""The last action reboots or kexecs: the Workflow cannot say SUCCESS, and the machine has to."""

from __future__ import annotations

from functools import partial

from metalfoundry.commands.log_parser import ACTION, CONSOLE
from metalfoundry.diagnosis import findings, remedies
from metalfoundry.diagnosis.facts import Facts, seen
from metalfoundry.diagnosis.findings import (
    BAD_MACHINE,
    FINE,
    NOTHING_WRONG,
    NOTHING_WRONG_YET,
    Match,
    Stage,
    certain,
    likely,
)
from metalfoundry.diagnosis.queries import elapsed, in_state, raw_action, running_system, status
from metalfoundry.diagnosis.verification import booted, judged
from metalfoundry.model.actions import Action
from metalfoundry.model.resources import Workflow

rule = partial(findings.rule, Stage.RUN)
_NO_KEXEC = ("function not implemented", "kexec_file_load failed", "kexec_load failed")


def _booting(facts: Facts) -> tuple[Workflow, Action] | None:
    """The Workflow that stands at its boot action, RUNNING or (misleadingly) TIMEOUT."""
    workflow, action = in_state(facts, "RUNNING", "TIMEOUT"), facts.current_action
    if workflow is None or action is None or action.name != facts.boot_action:
        return None
    return (workflow, action) if action.state in ("RUNNING", "TIMEOUT") else None


@rule(
    "kexec-hang",
    BAD_MACHINE,
    32,
    link="actions#57; playground#85; vietcgi/gitops-metal-foundry c923701",
    explains=["unreachable-after-install"],
)
def kexec_hang(facts: Facts) -> Match | None:
    """kexec does not come up in the new kernel."""
    workflow, action = seen(facts.workflow), facts.current_action
    if workflow is None or action is None or not _is_kexec(workflow, action):
        return None
    if facts.machine_facts is not None and not facts.in_hook:
        return None
    refused = facts.find(ACTION, *_NO_KEXEC)
    last = next(iter(facts.log(CONSOLE)[-1:]), None)
    stopped = last if last and last.has("Rebooting system", "Starting new kernel") else None
    gone = elapsed(facts)
    overdue = _booting(facts) is not None and gone is not None and gone > facts.configured.timeouts.boot
    if refused is None and stopped is None and not overdue:
        return None
    proven = refused is not None or stopped is not None
    why = "HookOS's kernel cannot kexec" if refused else "the machine hangs between the kernels"
    silence = status(workflow, f"at {action.name} for {gone or 0:.0f} s, SSH does not answer")
    return (certain if proven else likely)(
        f"{action.name!r} did not bring the new system up: {why}",
        evidence=[refused, stopped] if proven else [silence],
        remedy=remedies.show_template(facts),
        advice="power-cycle the machine (it boots its disk), and let the Template reboot instead of kexec "
        "(ghcr.io/jacobweinstock/waitdaemon)",
    )


def _is_kexec(workflow: Workflow, action: Action) -> bool:
    raw = raw_action(workflow, action.name)
    return "kexec" in f"{action.name} {action.image} {raw.get('command')} {raw.get('environment')}".lower()


@rule("boot-action-running", FINE, 31, link="rm#29; capt#569; eksa#7821", explains=["installed"])
def boot_action_running(facts: Facts) -> Match | None:
    """Nothing wrong: the last action reboots, so Tinkerbell never hears of its end."""
    booting = _booting(facts)
    if booting is None or facts.in_hook:
        return None
    workflow, action = booting
    state = status(workflow, f"at its last action {action.name}")
    machine, gone, limit = facts.machine_facts, elapsed(facts), facts.configured.timeouts.boot
    if machine is not None:
        verdict = judged(facts)
        if verdict is None or not verdict.good or booted(facts) is False:
            return None
        return certain(
            f"{action.name!r} rebooted into {machine.os_name or 'the new system'}; the Workflow "
            f"stays {workflow.state}, since nobody is left to report",
            reassurance=NOTHING_WRONG,
            evidence=[running_system(machine), state],
            remedy=remedies.delete_workflows(facts, workflow.name),
        )
    if gone is not None and gone > limit:
        return None
    ago = f"{gone:.0f} of {limit:.0f} s ago" if gone is not None else "a while ago"
    return likely(
        f"{action.name!r} was begun {ago}, and the machine is on its way to the new system",
        reassurance=NOTHING_WRONG_YET,
        evidence=[state],
        remedy=remedies.ssh(facts, "cat /etc/os-release /proc/uptime"),
    )

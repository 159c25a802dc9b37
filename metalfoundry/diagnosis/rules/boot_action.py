"""The last action reboots or kexecs: the Workflow cannot say SUCCESS, and the machine has to."""

from __future__ import annotations

from collections.abc import Iterator

from metalfoundry.commands.log_parser import ACTION, CONSOLE
from metalfoundry.diagnosis import remedies
from metalfoundry.diagnosis.facts import Facts, seen
from metalfoundry.diagnosis.findings import BAD_MACHINE, FINE, Certainty, Evidence, Sign, Stage, rule
from metalfoundry.diagnosis.queries import began, in_state, raw_action, status
from metalfoundry.diagnosis.verification import booted, judged
from metalfoundry.model.actions import Action
from metalfoundry.model.resources import Workflow


def _booting(facts: Facts) -> tuple[Workflow, Action] | None:
    """The Workflow that stands at its boot action, RUNNING or (misleadingly) TIMEOUT."""
    workflow, action = in_state(facts, "RUNNING", "TIMEOUT"), facts.current_action
    if (
        workflow is None
        or action is None
        or action.name != facts.boot_action
        or action.state not in ("RUNNING", "TIMEOUT")
    ):
        return None
    return workflow, action


def _gone(facts: Facts) -> float | None:
    start = began(facts)
    return (facts.now - start).total_seconds() if start else None


@rule(
    "boot-action-running",
    Stage.RUN,
    FINE,
    31,
    link="rm#29; capt#569; eksa#7821",
    explains=("in-progress", "global-timeout", "action-timeout", "action-overdue", "installed"),
)
def boot_action_running(facts: Facts) -> Iterator[Sign]:
    """Nothing wrong: the last action reboots, so Tinkerbell never hears of its end."""
    found = _booting(facts)
    if found is None or facts.in_hook:
        return
    workflow, action = found
    said = status(workflow, f"at its last action {action.name}")
    machine, gone = facts.machine_facts, _gone(facts)
    if machine is not None:
        verdict = judged(facts)
        if verdict is not None and verdict.good and booted(facts) is not False:
            shown = Evidence("machine", f"{machine.os_name}, up for {machine.uptime or 0:.0f} s")
            yield Sign(
                Certainty.CERTAIN,
                f"nothing wrong: {action.name!r} rebooted into {machine.os_name or 'the new system'}; the Workflow "
                f"stays {workflow.state}, since nobody is left to report",
                (shown, said),
                remedies.delete_workflows(facts, workflow.name),
            )
        return
    limit = facts.configured.timeouts.boot
    if gone is None or gone <= limit:
        ago = f"{gone:.0f} of {limit:.0f} s ago" if gone is not None else "a while ago"
        what = f"nothing wrong yet: {action.name!r} was begun {ago}, and the machine is on its way to the new system"
        yield Sign(Certainty.LIKELY, what, (said,), remedies.ssh(facts, "cat /etc/os-release /proc/uptime"))


_NO_KEXEC = ("function not implemented", "kexec_file_load failed", "kexec_load failed")


@rule(
    "kexec-hang",
    Stage.RUN,
    BAD_MACHINE,
    32,
    link="actions#57; playground#85; vietcgi/gitops-metal-foundry c923701",
    explains=(
        "boot-action-running",
        "exit-code",
        "action-failed",
        "in-progress",
        "no-privilege",
        "unreachable-after-install",
        "action-overdue",
    ),
)
def kexec_hang(facts: Facts) -> Iterator[Sign]:
    """kexec does not come up in the new kernel."""
    workflow, action = seen(facts.workflow), facts.current_action
    if workflow is None or action is None or "kexec" not in _words(workflow, action):
        return
    if facts.machine_facts is not None and not facts.in_hook:
        return
    refused = facts.find(ACTION, *_NO_KEXEC)
    console = facts.log(CONSOLE)[-1:]
    stopped = console[0] if console and console[0].has("Rebooting system", "Starting new kernel") else None
    gone = _gone(facts)
    overdue = _booting(facts) is not None and gone is not None and gone > facts.configured.timeouts.boot
    if refused is None and stopped is None and not overdue:
        return
    why = "HookOS's kernel cannot kexec" if refused else "the machine hangs between the kernels"
    shown = [Evidence.of(item) for item in (refused, stopped) if item]
    yield Sign(
        Certainty.CERTAIN if refused or stopped else Certainty.LIKELY,
        f"{action.name!r} did not bring the new system up: {why}",
        tuple(shown) or (status(workflow, f"at {action.name} for {gone or 0:.0f} s, SSH does not answer"),),
        remedies.show_template(facts),
        "power-cycle the machine (it boots its disk), and let the Template reboot instead of kexec "
        "(ghcr.io/jacobweinstock/waitdaemon)",
    )


def _words(workflow: Workflow, action: Action) -> str:
    raw = raw_action(workflow, action.name)
    return f"{action.name} {action.image} {raw.get('command')} {raw.get('environment')}".lower()


RULES = (boot_action_running, kexec_hang)

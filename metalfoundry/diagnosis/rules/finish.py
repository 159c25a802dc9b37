"""The Workflow is over, or as good as over, and the machine is not what it should be."""

from __future__ import annotations

from collections.abc import Iterator

from metalfoundry.commands.log_parser import CONSOLE
from metalfoundry.diagnosis import remedies
from metalfoundry.diagnosis.facts import Facts, Seen, seen
from metalfoundry.diagnosis.findings import ARMED, BAD_MACHINE, FINE, Certainty, Evidence, Sign, Stage, rule
from metalfoundry.diagnosis.queries import began, ended_ago, in_state, status
from metalfoundry.diagnosis.verification import SLACK_SECONDS
from metalfoundry.model.resources import Workflow
from metalfoundry.model.states import SshAnswer

_D = "vietcgi/gitops-metal-foundry"


def done(facts: Facts) -> Workflow | None:
    """The Workflow, where it says SUCCESS, or stands at a boot action that takes the machine away from it."""
    workflow, action = in_state(facts, "SUCCESS", "RUNNING", "TIMEOUT"), facts.current_action
    if workflow is None or workflow.state == "SUCCESS":
        return workflow
    return workflow if action is not None and action.name == facts.boot_action else None


def _since_end(facts: Facts) -> float | None:
    """Seconds since the machine was left to boot its disk."""
    start = began(facts) if in_state(facts, "RUNNING", "TIMEOUT") else None
    return (facts.now - start).total_seconds() if start else ended_ago(facts)


def _hook_is_new(facts: Facts) -> bool | None:
    """Whether the HookOS that runs was booted after the installation; None where its uptime says nothing."""
    machine, ago = facts.machine_facts, _since_end(facts)
    if machine is None or machine.uptime is None or ago is None:
        return None
    return machine.uptime < ago


@rule(
    "reprovision-loop",
    Stage.FINISH,
    ARMED,
    46,
    link=f"tink#116; smee#243, smee#35; {_D} 0b650a7",
    explains=("stray-window", "boots-hook", "idle-in-hook", "stays-in-hook", "installed"),
)
def reprovision_loop(facts: Facts) -> Iterator[Sign]:
    """Netboot is still open after the installation, and the machine is in the installer again."""
    machine, workflow = facts.machine_facts, done(facts)
    if machine is None or not machine.in_hook or not facts.latest.open_interfaces or workflow is None:
        return
    if _hook_is_new(facts) is False:
        return
    opened = ", ".join(f"interfaces[{item.index}] {item.mac}" for item in facts.latest.open_interfaces)
    yield Sign(
        Certainty.CERTAIN if _hook_is_new(facts) else Certainty.LIKELY,
        f"{workflow.name} is over, netboot is still open, and the machine booted the installer again, not its disk",
        (
            Evidence(f"Hardware {facts.configured.hardware}", f"allowPXE: true on {opened}"),
            Evidence("machine", f"{machine.os_name or machine.os_id}, up for {machine.uptime or 0:.0f} s"),
        ),
        f"{remedies.close_netboot(facts)}\n{remedies.ssh(facts, 'reboot')}",
        "as long as it is open, each boot ends in the installer, and a new Workflow wipes the disk",
    )


@rule(
    "boots-hook",
    Stage.FINISH,
    BAD_MACHINE,
    47,
    link="netboot must be closed before the reboot lands",
    explains=("idle-in-hook", "stays-in-hook"),
)
def boots_hook(facts: Facts) -> Iterator[Sign]:
    """The machine booted the installer once more: netboot was closed too late."""
    machine, workflow = facts.machine_facts, done(facts)
    if (
        machine is None
        or not machine.in_hook
        or facts.latest.open_interfaces
        or workflow is None
        or not _hook_is_new(facts)
    ):
        return
    if not isinstance(facts.hardware, Seen):
        return
    yield Sign(
        Certainty.CERTAIN,
        f"the machine came back into the installer after {workflow.name}: netboot was closed too late for its reboot",
        (
            Evidence("machine", f"{machine.os_name or machine.os_id}, up for {machine.uptime or 0:.0f} s"),
            status(workflow, f"over for {_since_end(facts) or 0:.0f} s, netboot closed now"),
        ),
        remedies.ssh(facts, "reboot"),
        "netboot is closed now, so it boots its disk; let metalfoundry close it as soon as the installer runs",
    )


@rule("stays-in-hook", Stage.FINISH, BAD_MACHINE, link="a Template without a boot action leaves the machine in HookOS")
def stays_in_hook(facts: Facts) -> Iterator[Sign]:
    """The installation is over, and nobody reboots the machine out of the installer."""
    machine, workflow, ago = facts.machine_facts, in_state(facts, "SUCCESS"), ended_ago(facts)
    if machine is None or not machine.in_hook or workflow is None or _hook_is_new(facts) is not False:
        return
    waited = ago or 0.0
    late = waited > 2 * SLACK_SECONDS
    what = f"{workflow.name} ended {waited:.0f} s ago, and the machine is still in the same boot of the installer"
    yield Sign(
        Certainty.CERTAIN if late else Certainty.LIKELY,
        what if late else f"nothing wrong yet: {what}",
        (Evidence("machine", f"up for {machine.uptime or 0:.0f} s"), status(workflow)),
        remedies.ssh(facts, "reboot"),
        "" if facts.boot_action else "give the Template a last action that reboots (ghcr.io/jacobweinstock/waitdaemon)",
        BAD_MACHINE if late else FINE,
    )


_NO_LOADER = (
    "no bootable device",
    "operating system not found",
    "no bootable medium",
    "boot device not found",
    "grub rescue>",
    "missing operating system",
)


@rule(
    "no-bootloader",
    Stage.FINISH,
    BAD_MACHINE,
    49,
    link=f"{_D} 4f6ecd2, bcf5cce, 06cadb6",
    explains=("unreachable-after-install", "boot-action-running"),
)
def no_bootloader(facts: Facts) -> Iterator[Sign]:
    """The firmware finds no boot loader on the disk (BIOS against UEFI)."""
    workflow = done(facts)
    line = facts.find(CONSOLE, *_NO_LOADER)
    if workflow is None or line is None or facts.machine_facts is not None:
        return
    yield Sign(
        Certainty.CERTAIN,
        "the disk was written, and the firmware finds no boot loader on it",
        (Evidence.of(line),),
        remedies.show_template(facts),
        "does the image fit the firmware's mode? A BIOS image needs GRUB in the MBR, a UEFI one an ESP (grub-install "
        "--removable)",
    )


@rule(
    "no-network",
    Stage.FINISH,
    BAD_MACHINE,
    48,
    link=f"{_D} 3c0a59a, b44f3a4",
    explains=("unreachable-after-install", "boot-action-running"),
)
def no_network(facts: Facts) -> Iterator[Sign]:
    """The new system is up and has no network."""
    workflow = done(facts)
    tail = facts.log(CONSOLE)[-5:]
    line = next(
        (item for item in reversed(tail) if item.has(" login:", "ci-info: no", "Failed to start Wait for Network")),
        None,
    )
    if workflow is None or line is None or seen(facts.ssh) != SshAnswer.SILENT:
        return
    yield Sign(
        Certainty.LIKELY,
        "the new system is up by its console, and does not answer on its address: its network is not set up",
        (Evidence.of(line), Evidence("ssh", "silent")),
        remedies.show_template(facts),
        "is the interface's name in netplan or cloud-init the machine's (match by MAC), and is the NoCloud seed there?",
    )


@rule(
    "unreachable-after-install",
    Stage.FINISH,
    BAD_MACHINE,
    48,
    49,
    link="only the console tells 48 from 49",
    explains=("boot-action-running",),
)
def unreachable_after_install(facts: Facts) -> Iterator[Sign]:
    """The installation is over, and the machine does not come up."""
    workflow, gone = done(facts), _since_end(facts)
    limit = facts.configured.timeouts.boot
    how = seen(facts.ssh)
    if (
        workflow is None
        or gone is None
        or how not in (SshAnswer.SILENT, SshAnswer.REFUSED)
        or facts.machine_facts is not None
    ):
        return
    if gone <= limit:
        if workflow.state == "SUCCESS":
            what = (
                f"nothing wrong yet: {workflow.name} ended {gone:.0f} of {limit:.0f} s ago, and the machine is booting"
            )
            yield Sign(Certainty.LIKELY, what, (status(workflow),), remedies.ssh(facts, "true"), exit_code=FINE)
        return
    answers = "it does not answer" if how == SshAnswer.SILENT else "its network answers, and no sshd listens"
    guess = (
        "no boot loader in this firmware's mode, or no network" if how == SshAnswer.SILENT else "no sshd in the image"
    )
    yield Sign(
        Certainty.LIKELY,
        f"{workflow.name} ended {gone:.0f} s ago, and the new system was not seen: {answers} ({guess}?)",
        (status(workflow), Evidence("ssh", str(how))),
        remedies.ssh(facts, "true"),
        "look at its console",
    )


RULES = (
    reprovision_loop,
    boots_hook,
    stays_in_hook,
    no_bootloader,
    no_network,
    unreachable_after_install,
)

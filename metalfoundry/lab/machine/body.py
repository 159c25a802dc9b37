"""What one boot of HookOS is given of its machine: a command line, and hands to wipe, write and reboot it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metalfoundry.lab.scenarios import Trouble

if TYPE_CHECKING:
    from metalfoundry.lab.machine.machine import LabMachine


def spoilt(cmdline: str, trouble: Trouble | None) -> str:
    """The command line as Smee's settings made it."""
    if trouble is Trouble.NO_IMAGE:
        return " ".join(word for word in cmdline.split(" ") if not word.startswith("tink_worker_image="))
    return cmdline.replace("tinkerbell_tls=false", "tinkerbell_tls=true") if trouble is Trouble.TLS else cmdline


class BootedMachine:
    """The machine in the hands of one boot's agent: what comes after the next boot is not its business."""

    def __init__(self, machine: LabMachine, boot: int) -> None:
        self._machine = machine
        self._boot = boot

    def wipe(self) -> None:
        """The disk is being written."""
        self._machine.wipe()

    def written(self, environment: dict[str, str]) -> None:
        """The disk holds the new system."""
        machine = self._machine
        if machine.scenario.disk_takes:
            machine.install()

    def reboot(self, *, kexec: bool = False) -> None:
        """Go down, unless that boot is over."""
        machine = self._machine
        if len(machine.boots) == self._boot and machine.state == "hook":
            machine.reboot(kexec=kexec)

    def power_fails(self) -> bool:
        """Go down as by a cut of power, the first time; whether it happened."""
        first = "<power-cut>" not in self._machine.log
        if first:
            self._machine.log.append("<power-cut>")
            self.reboot()
        return first

"""A machine that boots: firmware, disk, HookOS, SSH, and the way from one to the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from metalfoundry.lab.machine.body import BootedMachine, spoilt
from metalfoundry.lab.machine.control import ControlPipe
from metalfoundry.lab.machine.hook_bootkit import Bootkit
from metalfoundry.lab.machine.netboot import ask_smee
from metalfoundry.lab.machine.operating_systems import (
    OTHER_MAC,
    InstalledSystem,
    Metal,
    SystemKind,
    default_cmdline,
    kernel,
    make_system,
)
from metalfoundry.lab.machine.parts import BootRecord, SharedParts
from metalfoundry.lab.machine.programs import write_stubs
from metalfoundry.lab.machine.tink_agent import TinkAgent
from metalfoundry.lab.scenarios import ActionFault, Firmware, Scenario, Trouble
from metalfoundry.lab.ssh.server import Listener, SshHost
from metalfoundry.lab.ssh.shell import Children, Workspace
from metalfoundry.lab.tinkerbell.smee import auto_ipxe, kernel_params

# Machine seconds. In life: POST 60-180, HookOS 40, a disk boot 30.
SHUTDOWN, POST, HOOK_BOOT, DISK_BOOT, KEXEC = 0.5, 3.0, 2.0, 2.0, 0.5


class LabMachine:
    """One server. Tests read `state`, `boots`, `wiped`, `log`; `reboot`, `power_cut` and `power` are its buttons.

    `once`: its next boot asks the network first, whatever its firmware does otherwise.

    `refuses_keys`: its sshd takes no key. `state`: old, new or hook (what runs), going-down, post, booting,
    no-system (a wiped disk), dead, off.
    """

    def __init__(self, metal: Metal, folder: Path, scenario: Scenario, world: SharedParts) -> None:
        self.metal = metal
        self.scenario = scenario
        self.boots: list[BootRecord] = []
        self.wiped = 0
        self.log: list[str] = []
        self.refuses_keys = False
        self.once = False
        self.state = "off"
        self.disk: InstalledSystem | None = None
        self._folder = folder
        self._world = world
        self._listener = Listener(world.loop)
        self._down = threading.Event()  # the running system is to go down
        self._power = threading.Event()
        self._kexec = False
        self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"lab-{metal.name}", daemon=True)
        self._control = ControlPipe(folder / "control", world.loop, self._hear)

    @property
    def port(self) -> int:
        """Its SSH port on loopback, the same for its whole life."""
        return self._listener.port

    @property
    def accepted(self) -> int:
        """How many SSH connections there were."""
        return self._listener.accepted

    def start(self) -> None:
        """Power on; the first system is up when this returns, or the machine off where the scenario says so."""
        self._folder.mkdir(parents=True)
        for kind in SystemKind:
            write_stubs(self._folder / "bin" / kind.value, kind)
        self.disk = self._make(SystemKind.OLD)
        self._control.open()
        if not self.scenario.off:
            self._power.set()
        self._thread.start()
        first = "off" if self.scenario.off else "hook" if self.scenario.in_hook else "old"
        self.wait(lambda: self.state == first)

    def stop(self) -> None:
        """End, whatever it does. Safe to call twice."""
        if self._stopped:
            return
        self._stopped = True
        self._power.set()
        self._down.set()
        self._thread.join(10)
        self._control.deaf()
        self._listener.release()
        self._control.close()

    def reboot(self, *, kexec: bool = False) -> None:
        """As `reboot` typed on the machine; with `kexec` without firmware."""
        self._kexec = kexec
        self._down.set()

    def wipe(self) -> None:
        """What was on the disk is lost."""
        with self._changed:
            self.wiped += 1
            if self.scenario.disk_takes:
                self.disk = None
            self._changed.notify_all()

    def install(self) -> None:
        """The disk now holds the new system."""
        self.disk = self._make(SystemKind.NEW)

    def power_cut(self) -> None:
        """As the plug pulled and put back: nothing is said to anybody."""
        self._listener.close()
        self._down.set()

    @property
    def powered(self) -> bool:
        """Whether it is switched on."""
        return self._power.is_set()

    def power(self, on: bool) -> None:
        """As its power button: nothing is said to anybody. Nothing happens where it is so already."""
        if on:
            self._power.set()
        elif self.powered:
            self._power.clear()
            self.power_cut()

    def refuse_reboot(self) -> None:
        """From now on `reboot` fails on the system of the disk."""
        (self.files() / ".no-reboot").touch()

    def wait(self, condition: Callable[[], bool], seconds: float = 60.0) -> bool:
        """Block until `condition` holds after some change of state, at most real `seconds`; say whether it does."""
        with self._changed:
            return self._changed.wait_for(condition, seconds)

    def files(self) -> Path:
        """The files of the disk's system; of the old one when the lab starts."""
        if self.disk is None:
            raise FileNotFoundError(f"{self.metal.name} has no system on its disk")
        return self.disk.root

    def host_key(self) -> str:
        """The public key of the disk's system, as known_hosts has it."""
        if self.disk is None:
            raise FileNotFoundError(f"{self.metal.name} has no system on its disk")
        return self.disk.host_key.export_public_key().decode().strip()

    def _run(self) -> None:
        if self.scenario.off:
            self._wait_for_power()
            self._firmware()
        elif self.scenario.in_hook:
            self._hook(kernel_params(auto_ipxe(self.metal.mac)))
        else:
            self._serve_disk(first=True)
        while not self._stopped:
            self._become("going-down")
            self._world.pace.wait(SHUTDOWN, threading.Event())
            self._listener.close()
            self._wait_for_power()
            self._down.clear()
            if not self._stopped:
                self._firmware()
        self._become("off")

    def _wait_for_power(self) -> None:
        if not self.powered:
            self._become("off")
            self._power.wait()

    def _firmware(self) -> None:
        """From power-on to the end of what was booted."""
        kexec, self._kexec = self._kexec, False
        self._become("post")
        if self._pass(KEXEC if kexec else POST):
            return
        if self.scenario.firmware is Firmware.DEAD or (kexec and self.scenario.kexec_hangs):
            self._become("dead")
            self._down.wait()
            return
        once, self.once = self.once, False
        asks = once or self.scenario.firmware is Firmware.NETBOOT
        script = self._boot_script() if asks and not kexec else None
        if script is not None:
            self._become("booting")
            if not self._pass(HOOK_BOOT):
                self._hook(kernel_params(script))
        else:
            self._serve_disk()

    def _boot_script(self) -> str | None:
        return ask_smee(self._world.smee, OTHER_MAC if self.scenario.other_nic else self.metal.mac, self.metal.ip)

    def _serve_disk(self, *, first: bool = False) -> None:
        self._become("booting")
        if not first and self._pass(DISK_BOOT):
            return
        system = self.disk
        if system is None:
            self._become("no-system")
            self._down.wait()
            return
        self._up(system, default_cmdline(system.kind), ssh=self.scenario.old_ssh or system.kind is not SystemKind.OLD)
        self._down.wait()

    def _hook(self, cmdline: str) -> None:
        system = self._make(SystemKind.HOOK)
        log = system.root / ".tink-worker.log"
        body = BootedMachine(self, len(self.boots) + 1)
        world = self._world
        agent = TinkAgent(self.metal.mac, self.metal.ip, self.scenario, world.server, world.pace, world.journal, log)
        self._up(system, spoilt(cmdline, self.scenario.trouble), ssh=self.scenario.hook_ssh)
        if self.scenario.trouble is Trouble.GRPC:
            (system.root / ".no-grpc").touch()
        if ActionFault.NO_SPACE in self.scenario.faults.values():
            (system.root / ".full").touch()
        if self.scenario.workers and Bootkit(system.root, self.scenario.trouble, self._world.pace).run(self._down):
            agent.run(body, self._down)
        self._down.wait()

    def _up(self, system: InstalledSystem, cmdline: str, *, ssh: bool) -> None:
        boot_id = system.boot(cmdline)
        if ssh and self.scenario.mute and system.kind is SystemKind.NEW:
            self._listener.open_mute()
        elif ssh:
            self._listener.open(lambda children: self._host(system, children), system.host_key)
        self.boots.append(BootRecord(system.kind.value, time.monotonic(), datetime.now(UTC), boot_id))
        self._become(system.kind.value)

    def _host(self, system: InstalledSystem, children: Children) -> SshHost:
        env = {
            "PATH": str(self._folder / "bin" / system.kind.value),
            "HOME": str(system.root / "root"),
            "LAB_ROOT": str(system.root),
            "LAB_CONTROL": str(self._folder / "control"),
            "LAB_IP": self.metal.ip,
            "LAB_KERNEL": kernel(system.kind),
        }

        def place(user: str) -> Workspace:
            return Workspace({**env, "LAB_USER": user, "USER": user}, system.root / "root", self.log.append)

        def keys(user: str) -> bytes | None:
            return self._world.client.public_data if user in system.users and not self.refuses_keys else None

        return SshHost(place, keys, children)

    def _make(self, kind: SystemKind) -> InstalledSystem:
        folder = self._folder / kind.value
        return make_system(
            kind,
            folder,
            self.metal,
            marker=self.scenario.marker,
            cloud_init=self.scenario.cloud_init,
            other_nic=self.scenario.other_nic,
            baked=self.scenario.baked and kind is SystemKind.NEW,
        )

    def _pass(self, seconds: float) -> bool:
        """Let machine time pass; True when the machine was reset meanwhile."""
        return self._world.pace.wait(seconds, self._down)

    def _become(self, state: str) -> None:
        with self._changed:
            self.state = state
            self._changed.notify_all()

    def _hear(self, line: str) -> None:
        """What a program on the machine asks of it."""
        self.log.append(f"<{line}>")
        if line == "reboot":
            self.reboot()
        elif line.startswith("bootnext"):
            self.once = True

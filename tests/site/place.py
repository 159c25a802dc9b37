"""A place in memory: scripts run in a real sh, with the lab's kubectl stand-in on PATH, on a cluster in memory."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from metalfoundry.commands.command import Command, Effect
from metalfoundry.lab.kubectl.server import KubectlServer
from metalfoundry.lab.kubernetes.api_server import MemoryStore
from metalfoundry.lab.kubernetes.store import Object
from metalfoundry.model.bus import Bus
from metalfoundry.model.events import Event, Record
from metalfoundry.model.hosts import Host
from metalfoundry.model.inventory import Inventory, Server
from metalfoundry.model.site_config import JumpConfig, SiteConfig
from metalfoundry.site.site import Site, inline
from metalfoundry.transport.base import Result
from metalfoundry.transport.clock import Deadline, FakeClock
from metalfoundry.transport.gates import Gated
from tests.fakes import Unwatched
from tests.played_guard import ALIVE, played

Hook = Callable[[Command], None]
MAC = "00:00:5e:00:53:c0"
_AT = re.compile(r"^(\n@@metalfoundry \w+ at )\d+$", re.MULTILINE)
SERVER = Server(name="anvil", hardware="anvil", mac=MAC)


class Shell(Unwatched):
    """A Transport to one host that is this computer, whose guard is played: `guard` is its text. `before` and `after`
    see each command, and may raise for it. `skew`: how far the host's clock is ahead, in seconds.
    """

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.said: list[Command] = []
        self.before: Hook = lambda command: None
        self.after: Hook = lambda command: None
        self.guard, self.skew = ALIVE, 0.0
        self._path = f"{folder}:{os.environ['PATH']}"
        self._clock = clock

    @property
    def writes(self) -> list[Command]:
        return [command for command in self.said if command.effect is not Effect.READ]

    def run(self, host: Host, command: Command, deadline: Deadline) -> Result:
        self.said.append(command)
        self.before(command)
        done = subprocess.run(
            ["sh", "-c", command.line],
            input=played(command, self.guard).stdin,
            capture_output=True,
            text=True,
            env={"PATH": self._path},
        )
        self._clock.advance(0.1)
        self.after(command)
        there = self._clock.now().wall.timestamp() + self.skew
        return Result(done.returncode, _AT.sub(rf"\g<1>{there:.0f}", done.stdout, count=1), done.stderr)


class Bench:
    """One Hardware object, and the site to it; `other()` is the same place as a second client sees it."""

    def __init__(self, folder: Path, hardware: Object | None = None) -> None:
        self.store = MemoryStore()
        self.door = KubectlServer(self.store)
        self.clock = FakeClock()
        self.shell = Shell(folder / "bin", self.clock)
        self.events: list[Event] = []
        self._folder = folder
        interface: Object = {"dhcp": {"mac": MAC}, "netboot": {"allowPXE": False}}
        default: Object = {"metadata": {"name": "anvil"}, "spec": {"interfaces": [interface]}}
        self.store.create("hardware", hardware or default)

    def __enter__(self) -> Bench:
        self.door.start()
        self.door.install(self._folder / "bin")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.door.stop()

    def __call__(self, record: Record) -> None:
        self.events.append(record.event)

    def site(self, holder: str = "kevin@laptop") -> Site:
        place = SiteConfig(jump=JumpConfig(host="192.0.2.103", user="ubuntu"))
        inventory = Inventory(site=place, servers={"anvil": SERVER}, path=Path("/inventory.yaml"))
        gated = Gated(self.shell, [], self.clock)
        bus = Bus(lambda: self.clock.now().wall, [self])
        return Site(inventory, gated, gated, self.clock, bus, background=inline, holder=holder)

    @property
    def hardware(self) -> Object:
        return self.store.get("hardware", "anvil")

    @property
    def annotations(self) -> dict[str, str]:
        found: dict[str, str] = self.hardware["metadata"].get("annotations", {})
        return found

    @property
    def is_open(self) -> bool:
        return any(one.get("netboot", {}).get("allowPXE") for one in self.hardware["spec"]["interfaces"])

    def set_pxe(self, value: bool) -> None:
        """As somebody else's `kubectl patch`."""
        path = "/spec/interfaces/0/netboot/allowPXE"
        self.store.patch("hardware", "anvil", [{"op": "add", "path": path, "value": value}])

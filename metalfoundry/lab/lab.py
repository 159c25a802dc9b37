"""The lab as a whole: a cluster, Tinkerbell, a jump host, and machines that boot."""

from __future__ import annotations

import getpass
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import asyncssh
import yaml

from metalfoundry.lab import control_plane, fixtures
from metalfoundry.lab.clock import LabError, MachineClock
from metalfoundry.lab.kubectl.server import KubectlServer
from metalfoundry.lab.kubernetes.api_server import MemoryStore
from metalfoundry.lab.kubernetes.store import AlreadyExists, Store
from metalfoundry.lab.machine.machine import LabMachine
from metalfoundry.lab.machine.parts import SharedParts
from metalfoundry.lab.processes import MarkedProcesses
from metalfoundry.lab.scenarios import BmcFault, Scenario, scenario
from metalfoundry.lab.ssh.event_loop import LoopThread
from metalfoundry.lab.ssh.server import Jump, JumpHost
from metalfoundry.lab.tinkerbell.controller import Controller
from metalfoundry.lab.tinkerbell.log import ControlPlaneLog
from metalfoundry.lab.tinkerbell.rufio import Rufio
from metalfoundry.lab.tinkerbell.smee import Smee
from metalfoundry.lab.tinkerbell.tink_server import TinkServer

NAMESPACE = "tink-system"
POD = "tinkerbell-0"
SERVERS = ("colo-server-01", "anvil")


class Lab:
    """A small world in `folder`, from `start` to `stop` (or as a context manager).

    `scenario` is every server's; `each` names another for some. `speed` makes machine time pass faster.
    `new_smee_paths` makes Smee answer as from 0.22 on; `patience` is tink-server's (tink_server.py).

    Parts of one's own: with `store` and `kubectl` (a program, on the jump host's PATH) the cluster is another one,
    whose `namespace` must hold no objects of the same names; `jump` makes another jump host (ssh.server.Jump);
    `environment` is added to the jump host's; `log` is given each line of the control plane's log.

    Tests find everything in the attributes: `store`, `jump`, `smee`, `journal`, `processes` (of the jump host),
    `door` (None with another cluster), `machine(name)`, `inventory` (the file's path).
    """

    def __init__(
        self,
        folder: Path,
        scenario: str | Scenario = "installs",
        speed: float = 1.0,
        servers: Sequence[str] = SERVERS,
        *,
        each: Mapping[str, str | Scenario] | None = None,
        store: Store | None = None,
        kubectl: Path | None = None,
        jump: type[Jump] = JumpHost,
        environment: Mapping[str, str] | None = None,
        log: Callable[[str], None] | None = None,
        namespace: str = NAMESPACE,
        new_smee_paths: bool = False,
        patience: float = 3.0,
    ) -> None:
        if (store is None) != (kubectl is None):
            raise LabError("another cluster needs both `store` and `kubectl`")
        self._stories = {name: _story((each or {}).get(name, scenario)) for name in servers}
        self.folder = folder.resolve()
        self.pace = MachineClock(speed)
        self.inventory = self.folder / "inventory.yaml"
        self.namespace = namespace
        embedded = MemoryStore(namespace)
        self.door = KubectlServer(embedded) if store is None else None
        self.store: Store = embedded if store is None else store
        self._log, self._kubectl = log, kubectl
        self.journal = ControlPlaneLog(namespace, self._keep_log)
        self.server = TinkServer(self.store, self.pace, self.journal, patience)
        self.controller = Controller(self.store, self.pace, self.journal)
        self.rufio = Rufio(self.store, self.pace, self.journal)
        self.smee = Smee(self.store, self.journal, new_paths=new_smee_paths)
        self.client = asyncssh.generate_private_key("ssh-ed25519")
        self.mark = f"METALFOUNDRY_LAB={uuid.uuid4()}"
        self.processes = MarkedProcesses(self.mark)
        self.machines: dict[str, LabMachine] = {}
        self._loop = LoopThread()
        self._undo: list[Callable[[], None]] = []
        home = self.folder / "home"
        self.jump = jump(self._loop, home, self._environment(home) | dict(environment or {}), self.client)

    def start(self) -> Lab:
        """Build it and write the inventory; all is up when this returns. Raises LabError."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self) -> None:
        self._fill_folder()
        self._up(self._loop.start, self._loop.stop)
        if self.door is not None:
            self._up(self.door.start, self.door.stop)
            self.door.install(self.folder / "bin")
        self._fill_cluster()
        for part in (self.server, self.controller, self.smee, self.jump):
            self._up(part.start, part.stop)
        if any(story.bmc for story in self._stories.values()):
            self._up(self.rufio.start, self.rufio.stop)
        self._undo.append(self.processes.kill)
        world = SharedParts(self._loop, self.pace, self.journal, self.server, self.smee, self.client)
        for place, (name, story) in enumerate(self._stories.items()):
            machine = LabMachine(fixtures.metal(name, place), self.folder / "machines" / name, story, world)
            self.machines[name] = machine
            self.server.shadow[machine.metal.mac] = story.shadow
            self._up(machine.start, machine.stop)
            self.jump.routes[machine.metal.ip, 22] = ("127.0.0.1", machine.port)
            if story.bmc and story.bmc is not BmcFault.NO_MACHINE:
                self.rufio.attach(fixtures.bmc_name(machine.metal), machine, story.bmc)
        self._write_files()
        for name, story in self._stories.items():
            if story.begun:
                self.begin(name)

    def begin(self, name: str) -> None:
        """What somebody with kubectl and a reset button does: apply the server's Workflow, reboot the machine."""
        machine, story = self.machines[name], self._stories[name]
        if story.rival:
            self.store.create("workflows", fixtures.rival_workflow(machine.metal, story))
            machine.wait(lambda: machine.wiped > 0)
        document = fixtures.workflow(machine.metal, story)
        del document["metadata"]["namespace"]
        self.store.create("workflows", document)
        if story.toggle and story.template and story.map_key:
            self._until_open(name)
        if not story.in_hook:
            machine.reboot()

    def _until_open(self, name: str) -> None:
        ends = time.monotonic() + 10
        while not control_plane.is_open(self.store.get("hardware", name)) and time.monotonic() < ends:
            time.sleep(0.01)

    def stop(self) -> None:
        """End everything that was started, and every process that was started on the jump host."""
        while self._undo:
            self._undo.pop()()

    def machine(self, name: str) -> LabMachine:
        """The machine of that name."""
        return self.machines[name]

    def known_hosts(self) -> str:
        """What known_hosts holds for this lab now: the jump host, and the system on each disk."""
        lines = [f"[127.0.0.1]:{self.jump.port} {_public(self.jump.host_key)}"]
        for name, machine in self.machines.items():
            other = asyncssh.generate_private_key("ssh-ed25519")
            key = machine.host_key() if self._stories[name].true_key else _public(other)
            lines += [f"[127.0.0.1]:{machine.port} {key}", f"{machine.metal.ip} {key}"]
        return "\n".join(lines) + "\n"

    def __enter__(self) -> Lab:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _keep_log(self, line: str) -> None:
        if self.door is not None:
            self.door.store.append_log(POD, line)
        if self._log is not None:
            self._log(line)

    def _up(self, start: Callable[[], object], stop: Callable[[], None]) -> None:
        start()
        self._undo.append(stop)

    def _environment(self, home: Path) -> dict[str, str]:
        name, value = self.mark.split("=", 1)
        path = os.pathsep.join((str(self.folder / "bin"), os.environ.get("PATH", os.defpath)))
        return {
            "PATH": path,
            "HOME": str(home),
            "TMPDIR": str(self.folder / "tmp"),
            "USER": getpass.getuser(),
            name: value,
        }

    def _fill_folder(self) -> None:
        for name in ("home", "tmp", "machines", "bin"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
            (self.folder / name).mkdir(parents=True)
        key = self.folder / "id_ed25519"
        key.unlink(missing_ok=True)
        key.touch(0o600)
        key.write_bytes(self.client.export_private_key())
        (self.folder / "id_ed25519.pub").write_text(_public(self.client) + "\n")
        if self._kubectl is not None:
            (self.folder / "bin" / "kubectl").symlink_to(self._kubectl.resolve())

    def _fill_cluster(self) -> None:
        for place, (name, story) in enumerate(self._stories.items()):
            metal = fixtures.metal(name, place)
            self._create("hardware", fixtures.hardware(metal, story, allow_workflow=place == 0))
            self._create("templates", fixtures.template(story))
            if story.bmc and story.bmc is not BmcFault.NO_MACHINE:
                self._create("machines", fixtures.bmc_machine(metal))
            if story.finished_before:
                self._create("workflows", fixtures.finished_workflow(metal, story))
        if self.door is not None:
            self._create("pods", control_plane.pod(POD))
            self._create("deployments", control_plane.deployment())

    def _create(self, kind: str, obj: dict[str, object]) -> None:
        try:
            self.store.create(kind, obj)
        except AlreadyExists:
            if kind != "templates":
                raise

    def _write_files(self) -> None:
        (self.folder / "known_hosts").write_text(self.known_hosts())
        pairs = [(machine.metal, self._stories[name]) for name, machine in self.machines.items()]
        documents = [fixtures.workflow(metal, story, self.namespace) for metal, story in pairs]
        (self.folder / "workflows.yaml").write_text(yaml.safe_dump_all(documents, sort_keys=False))
        places = fixtures.Places(
            folder=self.folder,
            jump_port=self.jump.port,
            jump_user=getpass.getuser(),
            smee=self.smee.url,
            kubectl="kubectl",
            namespace=self.namespace,
            speed=self.pace.speed,
            ports={name: machine.port for name, machine in self.machines.items()},
        )
        self.inventory.write_text(fixtures.inventory(places, pairs))


def _story(name: str | Scenario) -> Scenario:
    return scenario(name)


def _public(key: asyncssh.SSHKey) -> str:
    return key.export_public_key().decode().strip()

"""What the tests of whole runs share: a lab, a Foundry on it, and what the cluster looked like before and after."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from metalfoundry import Foundry, Options, Report
from metalfoundry.commands.claims import GUARD, OLD_SYSTEMS
from metalfoundry.commands.history import HISTORY
from metalfoundry.commands.published_keys import HOST_KEYS
from metalfoundry.lab.kubernetes.api_server import MemoryStore
from metalfoundry.lab.kubernetes.store import NotFound, Object
from metalfoundry.lab.lab import Lab
from metalfoundry.model.bus import Sink
from metalfoundry.model.events import Event, Record

NAME = "colo-server-01"
WORKFLOW = f"{NAME}-ubuntu"
SPEED = 40.0
PROGRAM = Path(sys.executable).with_name("metalfoundry")


def need_ssh() -> None:
    """For a test that does what an operator does with a line that was printed."""
    if shutil.which("ssh") is None:
        pytest.skip("ssh(1) is not here: apt-get install openssh-client")


@dataclass
class Ran:
    """One run: its report, and every record that it made."""

    records: list[Record] = field(default_factory=list)
    report: Report | None = None

    def __call__(self, record: Record) -> None:
        self.records.append(record)

    @property
    def events(self) -> list[Event]:
        return [record.event for record in self.records]

    @property
    def json(self) -> dict[str, Any]:
        assert self.report is not None
        return self.report.to_json()

    @property
    def phases(self) -> dict[str, str]:
        """Outcome by title."""
        return {phase["title"]: phase["outcome"] for phase in self.json["phases"]}

    def each(self, *kinds: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kinds)]


def provision(lab: Lab, name: str = NAME, options: Options | None = None, at: Sink | None = None) -> Ran:
    """Provision in this process; `at` sees every record first."""
    ran = Ran()
    sinks: list[Sink] = [at, ran] if at else [ran]
    with Foundry.load(lab.inventory, sinks=sinks) as foundry:
        ran.report = foundry.provision(name, options)
    return ran


def tune(
    lab: Lab,
    *,
    timeouts: Mapping[str, str] | None = None,
    server: Mapping[str, Any] | None = None,
    site: Mapping[str, Any] | None = None,
    name: str = NAME,
) -> None:
    """Change the lab's inventory; a value of None takes the key away."""
    known = yaml.safe_load(lab.inventory.read_text())
    for part, changes in ((known["timeouts"], timeouts), (known["servers"][name], server), (known["site"], site)):
        part.update(changes or {})
        for key in [key for key, value in part.items() if value is None]:
            del part[key]
    lab.inventory.write_text(yaml.safe_dump(known))


def hardware(lab: Lab, name: str = NAME) -> Object:
    return lab.store.get("hardware", name)


def netboots(lab: Lab, name: str = NAME) -> list[Any]:
    """The netboot block of every interface."""
    return [interface.get("netboot") for interface in hardware(lab, name)["spec"]["interfaces"]]


def is_open(lab: Lab, name: str = NAME) -> bool:
    return any((block or {}).get("allowPXE") for block in netboots(lab, name))


def kept(obj: Object) -> Object:
    """A Hardware object without what Kubernetes owns, without `netboot`, and without what a run leaves there."""
    obj = copy.deepcopy(obj)
    for left in (OLD_SYSTEMS, HISTORY, HOST_KEYS):
        obj["metadata"].get("annotations", {}).pop(left, None)
    if not obj["metadata"].get("annotations"):
        obj["metadata"].pop("annotations", None)
    for key in ("resourceVersion", "generation", "managedFields", "uid", "creationTimestamp"):
        obj["metadata"].pop(key, None)
    for interface in obj["spec"]["interfaces"]:
        interface.pop("netboot", None)
    return obj


def guards(lab: Lab, name: str = NAME) -> list[str]:
    """The guard's word on the Hardware, while a guard lives on the jump host; nothing where either is missing."""
    word = hardware(lab, name)["metadata"].get("annotations", {}).get(GUARD)
    return [word] if word and lab.processes.alive("/metalfoundry/guard/") else []


def workflow(lab: Lab, name: str = WORKFLOW) -> Object | None:
    try:
        return lab.store.get("workflows", name)
    except NotFound:
        return None


def version(lab: Lab) -> str:
    """The newest version of anything in the cluster."""
    assert isinstance(lab.store, MemoryStore)
    return lab.store.resource_version


def clean(lab: Lab, before: Object, name: str = NAME) -> bool:
    """Whether the window is closed and the Hardware is as before, but for `netboot` and what `old_systems` gives."""
    assert not is_open(lab, name)
    assert kept(hardware(lab, name)) == kept(before)
    return True


def old_systems(lab: Lab, name: str = NAME) -> list[dict[str, str]]:
    """The systems that runs have written down on the Hardware."""
    listed: list[dict[str, str]] = json.loads(
        hardware(lab, name)["metadata"].get("annotations", {}).get(OLD_SYSTEMS, "[]")
    )
    return listed


def start(lab: Lab, *words: str, **more: Any) -> subprocess.Popen[str]:
    """The console program, with the lab's inventory at the end of its words."""
    state = {"METALFOUNDRY_INVENTORY": str(lab.inventory), "METALFOUNDRY_STATE": str(lab.folder / "state")}
    environment = {**os.environ, **state, "COLUMNS": "200"}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([str(PROGRAM), *words], text=True, env=environment, cwd=lab.folder, **(pipes | more))


def call(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    """The same, to its end."""
    process = start(lab, *words)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(words, process.returncode, out, err)

"""Speaks to guard.sh as the client does: assignments and the script on stdin of `SHELL -s`, on the lab's kubectl."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metalfoundry.lab.kubectl.server import KubectlServer
from metalfoundry.lab.kubernetes.api_server import MemoryStore
from metalfoundry.lab.kubernetes.store import Object
from tests.waiting import until

__all__ = ["Client", "Cluster", "until"]

ROOM = Path(__file__).parent.parent.parent / "metalfoundry" / "commands"
SCRIPT = (ROOM / "guard.sh").read_text()
RUN = "20260102T030405Z-anvil-7f3a9c"
OURS = "metalfoundry.dev/"
FLUX = "kustomize.toolkit.fluxcd.io/reconcile"


class Cluster:
    """A lab's API server with anvil, whose second interface may netboot, and its Workflow."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryStore("tink-system")
        self.door = KubectlServer(self.store).start()
        self.kubectl = self.door.install(folder)
        self.faults = self.door.faults

    def hardware(
        self, name: str = "anvil", pxe: tuple[bool | None, ...] = (False, True, None), **claim: str | None
    ) -> None:
        """Make it, with a claim of RUN unless `run` is None; the words of the claim have `_` for `-`."""
        known = {"run": RUN, "renewal": "1", "lease": "600", "workflow": name, "until": "running"} | claim
        notes = {OURS + key.replace("_", "-"): value for key, value in known.items() if value is not None}
        interfaces = [{} if flag is None else {"netboot": {"allowPXE": flag}} for flag in pxe]
        meta: Object = {"name": name} | ({"annotations": notes} if known["run"] is not None else {})
        self.store.create("hardware", {"metadata": meta, "spec": {"interfaces": interfaces}})

    def deployment(self, ready: int) -> None:
        """The guard in the cluster, with so many pods that are ready."""
        body = {"metadata": {"name": "metalfoundry-guard"}, "status": {"readyReplicas": ready}}
        self.store.create("deployments", body)

    def workflow(self, state: str = "", action: str = "", name: str = "anvil") -> str:
        """Make it, or bring it into that state; its uid."""
        if not any(obj["metadata"]["name"] == name for obj in self.store.list("workflows")):
            self.store.create("workflows", {"metadata": {"name": name}, "spec": {"hardwareRef": name}})
        status = {"state": state, "currentState": {"actionName": action}}
        self.store.merge("workflows", name, {"status": status})
        return str(self.store.get("workflows", name)["metadata"]["uid"])

    def note(self, key: str, value: str | None, name: str = "anvil") -> None:
        """Write or remove an annotation; without a slash it is one of ours."""
        full = key if "/" in key else OURS + key
        self.store.merge("hardware", name, {"metadata": {"annotations": {full: value}}})

    def notes(self, name: str = "anvil") -> dict[str, str]:
        """The annotations; ours without their prefix."""
        notes = self.store.get("hardware", name)["metadata"].get("annotations") or {}
        return {key.removeprefix(OURS): value for key, value in notes.items()}

    def netboot(self, flag: bool, index: int = 1, name: str = "anvil") -> None:
        """As a person with kubectl does it."""
        path = f"/spec/interfaces/{index}/netboot"
        self.store.patch("hardware", name, [{"op": "add", "path": path, "value": {"allowPXE": flag}}])

    def pxe(self, name: str = "anvil") -> list[bool | None]:
        blocks = [each.get("netboot") or {} for each in self.store.get("hardware", name)["spec"]["interfaces"]]
        return [block.get("allowPXE") for block in blocks]

    def open(self, name: str = "anvil") -> bool:
        return True in self.pxe(name)

    @property
    def writes(self) -> list[list[dict[str, Any]]]:
        """The patches that a guard has sent."""
        sent = [call for call in self.door.calls if "patch" in call]
        return [json.loads(call[call.index("-p") + 1]) for call in sent]

    def closes(self) -> list[list[dict[str, Any]]]:
        return [patch for patch in self.writes if any("allowPXE" in each["path"] for each in patch)]


@dataclass
class Client:
    """What the client would send; `values` is the preamble."""

    shell: str
    root: Path
    values: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)

    def text(self, action: str, script: str = SCRIPT, **more: str) -> str:
        values = self.values | more | {"ACTION": action}
        preamble = "".join(f"{key}={shlex.quote(value)}\n" for key, value in values.items())
        return f"{preamble}guard_text() {{ cat <<'END_OF_GUARD'\n{script}END_OF_GUARD\n}}\neval \"$(guard_text)\"\n"

    def raw(self, text: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **self.env}
        words = [*self.shell.split(), "-s"]
        return subprocess.run(words, input=text, text=True, capture_output=True, env=env, check=False, timeout=60)

    @contextlib.contextmanager
    def begin(self, action: str) -> Iterator[subprocess.Popen[str]]:
        """Begin to send it, for whoever does not wait for its end."""
        words, env = [*self.shell.split(), "-s"], {**os.environ, **self.env}
        none = subprocess.DEVNULL
        with subprocess.Popen(words, text=True, env=env, stdin=subprocess.PIPE, stdout=none, stderr=none) as running:
            assert running.stdin is not None
            running.stdin.write(self.text(action))
            running.stdin.close()
            yield running

    def send(self, action: str, status: int = 0, script: str = SCRIPT, **more: str) -> dict[str, str]:
        """The key=value facts it printed; checks the exit status."""
        done = self.raw(self.text(action, script, **more))
        assert done.returncode == status, (action, done)
        return facts(done.stdout)

    def start(self, **values: str) -> int:
        """Start one, and give its pid."""
        self.values.update(values)
        return int(self.send("start")["pid"])

    def acknowledged(self, renewal: str = "1", **values: str) -> int:
        """Start one, wait until it has acknowledged anvil's claim, and give its pid."""
        self.values.update(values)
        return int(self.send("start", HARDWARE="anvil", RUN=RUN, RENEWAL=renewal, WAIT="30")["pid"])

    @property
    def folder(self) -> Path:
        return self.root / "tink-system"

    def log(self) -> list[str]:
        """The log's lines without their time."""
        path = self.folder / "log"
        return [line.split(" ", 1)[1] for line in path.read_text().splitlines()] if path.exists() else []

    def logged(self, words: str) -> None:
        until(lambda: any(line.startswith(words) for line in self.log()), what=f"log {words!r}")

    def gone(self) -> None:
        until(lambda: not self.processes(), what="no process left")

    def terminate(self, pid: int) -> None:
        """Send it SIGTERM until nothing of it is left: bash loses a trapped signal once in some ten thousand."""

        def ended() -> bool:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            return not self.processes()

        until(ended, what="no process left")

    def processes(self) -> list[int]:
        """Everything that has this client's mark in its environment."""
        return [int(path.name) for path in Path("/proc").glob("[0-9]*") if self.mine(int(path.name))]

    def guards(self) -> list[int]:
        """The guards proper, without what they have forked."""
        mark, found = f"{self.folder}/guard-".encode(), {}
        for pid in self.processes():
            with contextlib.suppress(OSError):
                if mark in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found[pid] = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        return [pid for pid, parent in found.items() if parent not in found]

    def mine(self, pid: int) -> bool:
        try:
            around = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        return pid != os.getpid() and f"TEST_MARK={self.root}".encode() in around.split(b"\0")


def facts(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key: value for key, _, value in pairs}


def client(shell: str, tmp_path: Path, kubectl: str, env: Mapping[str, str] | None = None) -> Client:
    """A client of a guard under `shell`."""
    root = tmp_path / "guards"
    values = {
        "PLACE": "tink-system", "NAMESPACE": "tink-system", "VERSION": "v1", "KUBECTL": kubectl, "STATE_DIR": str(root),
        "GUARD_SHELL": shell, "TICK": "0.05", "RETRY": "0", "PACE": "60", "GUARD": "kevin@jump",
    }  # fmt: skip
    return Client(shell, root, values, {"TEST_MARK": str(root), **(env or {})})

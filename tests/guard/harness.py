"""Speaks to guard.sh as the client does: assignments and the script on stdin of `SHELL -s`."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOM = Path(__file__).parent.parent.parent / "metalfoundry" / "commands"
SCRIPT = (ROOM / "guard.sh").read_text()
RUN = "20260102T030405Z-anvil-7f3a9c"


def until(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.01)


class FakeCluster:
    """The folder that fake_kubectl.py reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("hardware", "workflows"):
            (folder / name).mkdir(parents=True)
        (folder / "cut").write_text("0")
        self.version = 100
        self.put_hardware()
        self.put_workflow()

    def put(self, kind: str, obj: dict[str, Any]) -> None:
        self.version += 10
        obj["metadata"]["resourceVersion"] = str(self.version)
        path = self.folder / kind / "anvil.json"
        path.with_suffix(".put").write_text(json.dumps(obj))
        path.with_suffix(".put").replace(path)

    def put_hardware(self, pxe: tuple[bool | None, ...] = (False, True, None), run: str | None = RUN) -> None:
        interfaces = [{} if open_ is None else {"netboot": {"allowPXE": open_}} for open_ in pxe]
        notes = {"metalfoundry.dev/run": run} if run else {}
        meta = {"name": "anvil", "uid": "h-1", "annotations": notes}
        self.put("hardware", {"kind": "Hardware", "metadata": meta, "spec": {"interfaces": interfaces}})

    def put_workflow(self, state: str = "", action: str = "", uid: str = "w-1") -> None:
        status = {"state": state, "currentState": {"actionName": action}}
        self.put("workflows", {"kind": "Workflow", "metadata": {"name": "anvil", "uid": uid}, "status": status})

    def delete(self, kind: str) -> None:
        (self.folder / kind / "anvil.json").unlink()

    def flag(self, name: str, on: bool = True) -> None:
        if on:
            (self.folder / name).touch()
        else:
            (self.folder / name).unlink()

    def pxe(self) -> list[bool | None]:
        obj = json.loads((self.folder / "hardware" / "anvil.json").read_text())
        return [item.get("netboot", {}).get("allowPXE") for item in obj["spec"]["interfaces"]]

    @property
    def open(self) -> bool:
        return True in self.pxe()

    @property
    def writes(self) -> list[list[dict[str, Any]]]:
        path = self.folder / "writes"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@dataclass
class Client:
    """What the client would send; `values` is the preamble."""

    shell: str
    root: Path
    values: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)

    def text(self, action: str, **more: str) -> str:
        values = self.values | more | {"ACTION": action}
        preamble = "".join(f"{key}={shlex.quote(value)}\n" for key, value in values.items())
        return f"{preamble}guard_text() {{ cat <<'END_OF_GUARD'\n{SCRIPT}END_OF_GUARD\n}}\neval \"$(guard_text)\"\n"

    def send(self, action: str, status: int = 0, **more: str) -> dict[str, str]:
        """The key=value facts it printed; checks the exit status."""
        done = self.raw(self.text(action, **more))
        assert done.returncode == status, (action, done)
        return facts(done.stdout)

    def raw(self, text: str) -> subprocess.CompletedProcess[str]:
        words = [*self.shell.split(), "-s"]
        env = os.environ | self.env
        return subprocess.run(words, input=text, text=True, capture_output=True, env=env, check=False, timeout=60)

    def armed(self, **values: str) -> int:
        """Arm, wait until it watches, and give its pid."""
        self.values.update(values)
        pid = int(self.send("arm")["pid"])
        assert self.send("alive")["watching"] == "yes"
        return pid

    @property
    def folder(self) -> Path:
        return self.root / self.values["RUN"]

    def log(self) -> list[str]:
        """The log's lines without their time."""
        path = self.folder / "log"
        return [line.split(" ", 1)[1] for line in path.read_text().splitlines()] if path.exists() else []

    def logged(self, words: str) -> None:
        until(lambda: any(line.startswith(words) for line in self.log()), f"log {words!r}: {self.log()}")

    def ended(self, words: str) -> None:
        self.logged(f"ended reason={words}")
        until(lambda: not self.processes(), "no process left")

    def processes(self) -> list[int]:
        """Everything that has this guard's folder or cluster in its command line or surroundings."""
        return [int(path.name) for path in Path("/proc").glob("[0-9]*") if self.mine(int(path.name))]

    def mine(self, pid: int) -> bool:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            around = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        mark = str(self.root).encode()
        return pid != os.getpid() and bool(words) and (mark in words or b"TEST_MARK=" + mark in around)


def facts(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key: value for key, _, value in pairs}


def client(shell: str, tmp_path: Path, folder: Path | None = None) -> Client:
    """A client of a guard under `shell`; `folder` is the fake cluster's."""
    root = tmp_path / "guards"
    values = {
        "RUN": RUN, "NONCE": "n0nce", "NAMESPACE": "tink-system", "HARDWARE": "anvil", "WORKFLOW": "anvil",
        "WORKFLOW_UID": "w-1", "KUBECTL": f"{sys.executable} -SE {Path(__file__).parent / 'fake_kubectl.py'}",
        "EXPIRES": "+600", "HARD_CAP": "+3600", "UNTIL": "running", "BOOT_ACTION": "", "STATE_DIR": str(root),
        "GUARD_SHELL": shell, "TICK": "0.1", "RETRY": "0", "REREAD": "600",
    }  # fmt: skip
    return Client(shell, root, values, {"FAKE_CLUSTER": str(folder), "TEST_MARK": str(root)})

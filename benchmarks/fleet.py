"""What many servers at once cost: python benchmarks/fleet.py [--servers 1 10 100] [--speed 40].

A lab on loopback with so many servers; `metalfoundry provision all` in a process of its own, all at once. Machine time
passes faster in the lab, our own does not. Lab and client share this computer's cores.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metalfoundry.lab.lab import Lab
from metalfoundry.lab.ssh.server import JumpHost

COLUMNS = ("servers", "verified", "wall s", "own share s", "client CPU s/server", "client MB", "commands/server",
           "connections", "sessions refused", "lab CPU s/server", "jump host CPU s/server")  # fmt: skip
WAYS = ("action-fails", "action-times-out", "image-missing", "old-system-returns", "cloud-init-fails", "no-marker",
        "wrong-agent-id", "wrong-host-key", "dead", "never-netboots")  # fmt: skip
SETTLED_SECONDS = 30.0  # in which every machine that was on its way has come into the installer
WAITING = ("Boot", "Install", "Verify")  # the phases whose time is the machine's


def measured(servers: int, speed: float) -> tuple[str, ...]:
    """One line of the table."""
    names = [f"colo-{number:03d}" for number in range(servers)]
    with tempfile.TemporaryDirectory() as folder, Lab(Path(folder), servers=names, speed=speed) as lab:
        out, events = Path(folder) / "out.json", Path(folder) / "events.jsonl"
        words = ["-m", "metalfoundry", "provision", "all", "--yes", "--json", "--no-canary", "--parallel", str(servers)]
        environment = os.environ | {
            "METALFOUNDRY_STATE": f"{folder}/state",
            "METALFOUNDRY_INVENTORY": str(lab.inventory),
        }
        write = os.O_WRONLY | os.O_CREAT
        files = [(os.POSIX_SPAWN_OPEN, 1, str(out), write, 0o600), (os.POSIX_SPAWN_OPEN, 2, os.devnull, write, 0)]
        before = _cpu(resource.RUSAGE_SELF), _cpu(resource.RUSAGE_CHILDREN)
        began = time.monotonic()
        argv = [sys.executable, *words, "--events", str(events)]
        process = os.posix_spawn(sys.executable, argv, environment, file_actions=files)
        _, _, used = os.wait4(process, 0)
        wall = time.monotonic() - began
        client = used.ru_utime + used.ru_stime
        world = _cpu(resource.RUSAGE_SELF) - before[0]
        jump = _cpu(resource.RUSAGE_CHILDREN) - before[1] - client
        shown = json.loads(out.read_text())
        reports = shown["servers"] if servers > 1 else [shown]
        verified = sum(report["verdict"] == "provisioned" for report in reports)
        own = statistics.median(
            sum(phase["seconds"] for phase in report["phases"] if phase["title"] not in WAITING) for report in reports
        )
        assert isinstance(lab.jump, JumpHost)
        return (
            *(str(servers), str(verified), f"{wall:.1f}", f"{own:.2f}", f"{client / servers:.2f}"),
            *(f"{used.ru_maxrss / 1024:.0f}", f"{_commands(events) / servers:.1f}", str(lab.jump.accepted)),
            *(str(lab.jump.sessions_refused), f"{world / servers:.2f}", f"{jump / servers:.2f}"),
        )


def failing(servers: int, speed: float) -> str:
    """What comes of so many servers, of which the first ten fail, each in a way of its own, with --keep-going."""
    names = [f"colo-{number:03d}" for number in range(servers)]
    ways = dict(zip(names, WAYS, strict=False))
    with tempfile.TemporaryDirectory() as folder, Lab(Path(folder), servers=names, speed=speed, each=ways) as lab:
        words = ["provision", "all", "--yes", "--json", "--no-canary", "--keep-going", "--parallel", str(servers)]
        environment = os.environ | {"METALFOUNDRY_STATE": f"{folder}/state"}
        command = [sys.executable, "-m", "metalfoundry", *words, "--inventory", str(lab.inventory)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        shown = json.loads(done.stdout)
        left_open = sum(
            bool(interface.get("netboot", {}).get("allowPXE"))
            for hardware in lab.store.list("hardware")
            for interface in hardware["spec"]["interfaces"]
        )
    causes = "".join(f"\n  {len(one['servers'])} x {one['cause']}" for one in shown["causes"])
    verified = sum(report["verdict"] == "provisioned" for report in shown["servers"])
    return f"{verified} of {servers} verified, exit code {done.returncode}, {left_open} windows open; causes:{causes}"


class Windows:
    """When each server's netboot was seen open and closed, and its Workflow RUNNING, by one clock."""

    def __init__(self, lab: Lab) -> None:
        self.closed: dict[str, float] = {}
        self.running: dict[str, float] = {}
        self.open: set[str] = set()
        self._lab, self._stop = lab, threading.Event()
        for kind, take in (("hardware", self._hardware), ("workflows", self._workflow)):
            threading.Thread(target=self._follow, args=(kind, take), daemon=True).start()

    def stop(self) -> None:
        """Look no longer."""
        self._stop.set()

    def _follow(self, kind: str, take: Callable[[Any], None]) -> None:
        for _, item in self._lab.store.watch(kind, self._stop):
            take(item)

    def _hardware(self, item: Any) -> None:
        name = item["metadata"]["name"]
        if any(interface.get("netboot", {}).get("allowPXE") for interface in item["spec"]["interfaces"]):
            self.open.add(name)
        elif name in self.open:
            self.open.discard(name)
            self.closed[name] = time.monotonic()

    def _workflow(self, item: Any) -> None:
        if item.get("status", {}).get("state") == "RUNNING":
            self.running.setdefault(item["spec"]["hardwareRef"], time.monotonic())


def killed(servers: int, speed: float) -> str:
    """What becomes of so many windows when the client is killed with half of the servers on their way into the
    installer, and of a --resume.
    """
    names = [f"colo-{number:03d}" for number in range(servers)]
    with tempfile.TemporaryDirectory() as folder, Lab(Path(folder), servers=names, speed=speed) as lab:
        windows = Windows(lab)
        words = ["provision", "all", "--yes", "--json", "--no-canary", "--parallel", str(servers)]
        environment = os.environ | {
            "METALFOUNDRY_STATE": f"{folder}/state",
            "METALFOUNDRY_INVENTORY": str(lab.inventory),
        }
        command = [sys.executable, "-m", "metalfoundry", *words]
        client = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while sum(lab.machine(name).state != "old" for name in names) < servers / 2:
            time.sleep(0.05)
        client.kill()
        client.wait()
        at, left = time.monotonic(), set(windows.open)
        while time.monotonic() < at + SETTLED_SECONDS:
            time.sleep(0.05)
        ran = [name for name in left if name in windows.closed and name in windows.running]
        late = sorted(windows.closed[name] - max(at, windows.running[name]) for name in ran) or [0.0]
        still = len(windows.open)
        done = subprocess.run([*command, "--resume"], env=environment, capture_output=True, text=True, check=False)
        windows.stop()
        shown = json.loads(done.stdout)
        verified = sum(report["verdict"] == "provisioned" for report in shown["servers"])
        causes = "".join(f"\n  {len(one['servers'])} x {one['cause']}" for one in shown["causes"])
    return (
        f"killed with {len(left)} of {servers} windows open; of {len(ran)} the installer then ran, and they were "
        f"closed {statistics.median(late):.1f} s (median), {late[-1]:.1f} s (worst) after RUNNING; "
        f"{still} wait for their reboot or the lease's end; "
        f"--resume: {verified} of {servers} verified, exit code {done.returncode}{causes}"
    )


def _cpu(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def _commands(events: Path) -> int:
    """All that were sent, of no run in particular as well; not watches and looks at a machine that is awaited."""
    told = [json.loads(line) for line in events.read_text().splitlines()]
    return sum(event["event"] == "CommandStarted" and not event["waiting"] for event in told)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--servers", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--speed", type=float, default=40.0)
    parser.add_argument("--failing", type=int, default=100, help="servers of which ten fail; 0: leave that out")
    parser.add_argument("--killed", type=int, default=50, help="servers amid which the client is killed; 0: none")
    wanted = parser.parse_args()
    print("  ".join(COLUMNS))
    for servers in wanted.servers:
        row = measured(servers, wanted.speed)
        print("  ".join(f"{cell:>{len(head)}}" for cell, head in zip(row, COLUMNS, strict=True)), flush=True)
    if wanted.failing:
        print(failing(wanted.failing, wanted.speed))
    if wanted.killed:
        print(killed(wanted.killed, wanted.speed))


if __name__ == "__main__":
    main()

"""What a provision costs beyond the machines' own times, beside the ten-second loop that it replaces.

    python benchmarks/provision.py [--runs 20] [--loops 2]

Own share = from the command to the machine's reboot, and from the new system's sshd to the end of the command; the
loop verifies nothing, so for it the second part counts from SUCCESS. What lies between is the machines' own time.
Each side runs in a lab of its own, in turn; the figures are medians of one run of this script on one computer: compare
them with each other, not with yours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metalfoundry.lab.lab import Lab

SERVER = "colo-server-01"
LOOP = """
kubectl patch hardware {server} -n tink-system --type=json -p='[
  {{"op": "replace", "path": "/spec/interfaces/0/netboot/allowPXE", "value": true}}]'
kubectl apply -n tink-system -f - <<'EOF'
{workflow}
EOF
ssh -i {key} -o UserKnownHostsFile={known} -p {port} root@127.0.0.1 reboot </dev/null
while :; do
  state=$(kubectl get workflows.v1alpha1.tinkerbell.org {server}-ubuntu -n tink-system -o jsonpath='{{.status.state}}')
  case $state in SUCCESS | FAILED | TIMEOUT) break ;; esac
  sleep 10
done
kubectl patch hardware {server} -n tink-system --type=json -p='[
  {{"op": "replace", "path": "/spec/interfaces/0/netboot/allowPXE", "value": false}}]'
"""


@dataclass
class Moments:
    """When things happened in one lab, by this process's monotonic clock."""

    rebooted: float = 0.0
    opened: float = 0.0
    running: float = 0.0
    boot_action: float = 0.0
    closed: float = 0.0
    up: float = 0.0
    success: float = 0.0
    stop: threading.Event = field(default_factory=threading.Event)

    def watch(self, lab: Lab) -> list[threading.Thread]:
        """Note the moments of `lab` from three threads."""
        machine = lab.machine(SERVER)

        def states() -> None:
            machine.wait(lambda: machine.state == "going-down", 60)
            self.rebooted = time.monotonic()
            machine.wait(lambda: machine.state == "new", 60)
            self.up = time.monotonic()

        def follow(kind: str, note: Callable[[Any], None]) -> None:
            for _, item in lab.store.watch(kind, self.stop):
                note(item)

        threads = [
            threading.Thread(target=states, daemon=True),
            threading.Thread(target=follow, args=("workflows", self._workflow), daemon=True),
            threading.Thread(target=follow, args=("hardware", self._hardware), daemon=True),
        ]
        for thread in threads:
            thread.start()
        return threads

    def _workflow(self, workflow: Any) -> None:
        status = workflow.get("status", {})
        if status.get("state") == "RUNNING" and not self.running:
            self.running = time.monotonic()
        if status.get("state") == "SUCCESS" and not self.success:
            self.success = time.monotonic()
        current = status.get("currentState", {})
        if current.get("actionName") == "reboot-into-os" and not self.boot_action:
            self.boot_action = time.monotonic()

    def _hardware(self, hardware: Any) -> None:
        if hardware["metadata"]["name"] != SERVER:
            return
        allowed = hardware["spec"]["interfaces"][0].get("netboot", {}).get("allowPXE")
        if allowed and not self.opened:
            self.opened = time.monotonic()
        if not allowed and self.opened and not self.closed:
            self.closed = time.monotonic()


@dataclass(frozen=True)
class Run:
    """The figures of one provision, in seconds."""

    own: float
    reaction: float
    open_for: float
    before_boot: bool
    commands: int
    noticed: float
    again: bool


def ours(folder: Path, speed: float, delay: float) -> Run:
    """One provision with metalfoundry; `delay` is added to each way of the jump host's link."""
    with Lab(folder, "installs", speed=speed) as lab:
        lab.jump.delay = delay
        moments = Moments()
        moments.watch(lab)
        command = [sys.executable, "-m", "metalfoundry", "provision", SERVER, "--inventory", str(lab.inventory)]
        began = time.monotonic()
        done = subprocess.run([*command, "--yes", "--json"], capture_output=True, text=True, check=False)
        ended = time.monotonic()
        moments.stop.set()
    if done.returncode:
        raise SystemExit(f"the provision failed:\n{done.stderr}")
    return Run(
        own=(moments.rebooted - began) + (ended - moments.up),
        reaction=moments.closed - moments.running,
        open_for=moments.closed - moments.opened,
        before_boot=moments.closed < moments.boot_action,
        commands=int(json.loads(done.stdout)["remote_commands"]),
        noticed=ended - moments.up,
        again=False,
    )


def own_workflow(lab: Lab) -> str:
    """The server's document without what would make Tinkerbell open netboot by itself."""
    text = (lab.folder / "workflows.yaml").read_text().split("---\n")[0].replace("toggleAllowNetboot: true", "")
    return text.replace("bootOptions:", "").strip()


def loop(folder: Path, speed: float, delay: float = 0.0) -> Run:
    """The same by the procedure that metalfoundry replaces, on the jump host itself; it closes at the end only."""
    with Lab(folder, "installs", speed=speed) as lab:
        lab.jump.delay = delay
        moments = Moments()
        moments.watch(lab)
        text = LOOP.format(
            server=SERVER,
            workflow=own_workflow(lab),
            key=lab.folder / "id_ed25519",
            known=lab.folder / "known_hosts",
            port=lab.machine(SERVER).port,
        )
        known = f"UserKnownHostsFile={lab.folder / 'known_hosts'}"
        there = ["ssh", "-i", str(lab.folder / "id_ed25519"), "-o", known, "-p", str(lab.jump.port), "root@127.0.0.1"]
        began = time.monotonic()
        subprocess.run([*there, "sh", "-s"], input=text, text=True, check=True, capture_output=True)
        ended = time.monotonic()
        moments.stop.set()
        return of_moments(moments, lab, began, ended)


def of_moments(moments: Moments, lab: Lab, began: float, ended: float) -> Run:
    """The figures of a procedure that verifies nothing: its second part counts from SUCCESS."""
    return Run(
        own=(moments.rebooted - began) + (ended - moments.success),
        reaction=moments.closed - moments.running,
        open_for=moments.closed - moments.opened,
        before_boot=moments.closed < (moments.boot_action or ended),
        commands=0,
        noticed=ended - moments.success,
        again=[boot.what for boot in lab.machine(SERVER).boots].count("hook") > 1,
    )


def show(title: str, runs: list[Run]) -> None:
    """One line of medians."""

    def middle(name: str) -> float:
        return float(statistics.median(getattr(run, name) for run in runs))

    worst = max(run.reaction for run in runs)
    print(
        f"{title:<34} own share {middle('own'):6.2f} s   RUNNING to closed {middle('reaction'):6.3f} s "
        f"(worst {worst:.3f})   open for {middle('open_for'):6.2f} s   closed before the boot action "
        f"{sum(run.before_boot for run in runs)}/{len(runs)}   end noticed after {middle('noticed'):6.2f} s   "
        f"installer booted twice {sum(run.again for run in runs)}/{len(runs)}   "
        f"commands {max(run.commands for run in runs)}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--loops", type=int, default=2)
    parser.add_argument("--speed", type=float, default=5.0)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        slow = [ours(base / f"slow{n}", wanted.speed, 0.025) for n in range(max(1, wanted.runs // 4))]
        near = [ours(base / f"near{n}", wanted.speed, 0.0) for n in range(wanted.runs)]
        loops = [loop(base / f"loop{n}", wanted.speed) for n in range(wanted.loops)]
    show(f"metalfoundry, loopback, n={len(near)}", near)
    show(f"metalfoundry, 50 ms round trip, n={len(slow)}", slow)
    show(f"ten-second loop, loopback, n={len(loops)}", loops)


if __name__ == "__main__":
    main()

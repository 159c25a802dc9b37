"""What many servers at once cost: python benchmarks/fleet.py [--servers 1 10 50] [--speed 40].

A lab on loopback with so many servers; `metalfoundry provision all` in a process of its own, all at once. Machine time
passes faster in the lab, our own does not. Lab and client share this computer's cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from metalfoundry.lab.lab import Lab
from metalfoundry.lab.ssh.server import JumpHost

HEAD = "servers  verified  wall s  CPU s/server  memory MB  commands/server  connections  sessions refused"


def measured(servers: int, speed: float) -> str:
    """One line of the table."""
    names = [f"colo-{number:03d}" for number in range(servers)]
    with tempfile.TemporaryDirectory() as folder, Lab(Path(folder), servers=names, speed=speed) as lab:
        out = Path(folder) / "out.json"
        words = ["-m", "metalfoundry", "provision", "all", "--yes", "--json", "--no-canary", "--parallel", str(servers)]
        environment = os.environ | {
            "METALFOUNDRY_STATE": f"{folder}/state",
            "METALFOUNDRY_INVENTORY": str(lab.inventory),
        }
        write = os.O_WRONLY | os.O_CREAT
        files = [(os.POSIX_SPAWN_OPEN, 1, str(out), write, 0o600), (os.POSIX_SPAWN_OPEN, 2, os.devnull, write, 0)]
        began = time.monotonic()
        process = os.posix_spawn(sys.executable, [sys.executable, *words], environment, file_actions=files)
        _, _, used = os.wait4(process, 0)
        wall = time.monotonic() - began
        shown = json.loads(out.read_text())
        reports = shown["servers"] if servers > 1 else [shown]
        verified = sum(report["verdict"] == "provisioned" for report in reports)
        commands = statistics.median(report["remote_commands"] for report in reports)
        assert isinstance(lab.jump, JumpHost)
        return (
            f"{servers:>7}  {verified:>8}  {wall:>6.1f}  {(used.ru_utime + used.ru_stime) / servers:>12.2f}"
            f"  {used.ru_maxrss / 1024:>9.0f}  {commands:>15}  {lab.jump.accepted:>11}  {lab.jump.sessions_refused:>16}"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--servers", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--speed", type=float, default=40.0)
    wanted = parser.parse_args()
    print(HEAD)
    for servers in wanted.servers:
        print(measured(servers, wanted.speed), flush=True)


if __name__ == "__main__":
    main()

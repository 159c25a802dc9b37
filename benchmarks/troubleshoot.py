"""What `fab troubleshoot` costs on a machine that hangs: time, remote commands and SSH handshakes.

    python benchmarks/troubleshoot.py [--runs 10] [--rtt 0 50]

A fresh Foundry each time, so every figure includes its SSH connections. `--rtt` is the round trip to the jump host in
milliseconds. `dead` is a machine whose port takes connections and never says a word. The figures are medians of one run
of this script on one computer: compare them with each other, not with yours.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

import yaml

from metalfoundry import Foundry
from metalfoundry.lab.lab import Lab
from metalfoundry.lab.ssh.server import JumpHost
from metalfoundry.model.events import CommandStarted, Record

SERVER = "colo-server-01"


class Count:
    """A sink that counts remote commands."""

    def __init__(self) -> None:
        self.commands = 0

    def __call__(self, record: Record) -> None:
        """Take one record."""
        self.commands += isinstance(record.event, CommandStarted)


def once(lab: Lab) -> tuple[float, int, int]:
    """Seconds, remote commands and handshakes of one diagnosis."""
    assert isinstance(lab.jump, JumpHost)
    count, machine = Count(), lab.machine(SERVER)
    before = lab.jump.accepted + machine.accepted
    begun = time.perf_counter()
    with Foundry.load(lab.inventory, sinks=[count]) as foundry:
        foundry.troubleshoot(SERVER)
    return time.perf_counter() - begun, count.commands, lab.jump.accepted + machine.accepted - before


def deaden(lab: Lab, port: int) -> None:
    """Lead the inventory to a port where nobody speaks."""
    known = yaml.safe_load(lab.inventory.read_text())
    known["servers"][SERVER]["port"] = port
    lab.inventory.write_text(yaml.safe_dump(known))


def line(name: str, rtt: float, found: list[tuple[float, int, int]]) -> str:
    """One row of the table."""
    times = sorted(seconds for seconds, _, _ in found)
    commands, shakes = max(item[1] for item in found), max(item[2] for item in found)
    spent = f"{statistics.median(times):>6.2f} s  {times[-1]:>6.2f} s"
    return f"{name:<18} {rtt:>6.0f} ms  {spent}  {commands:>8}  {shakes:>10}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--rtt", type=float, nargs="+", default=[0, 50])
    words = parser.parse_args()
    print(f"{'machine':<18} {'round trip':>9}  {'median':>8}  {'worst':>8}  commands  handshakes")
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as mute:
        lab = Lab(Path(folder), "grpc-unreachable", speed=20, servers=(SERVER,))
        with lab:
            machine = lab.machine(SERVER)
            if not machine.wait(lambda: machine.state == "hook", 30) or not isinstance(lab.jump, JumpHost):
                sys.exit("the machine did not reach HookOS")
            once(lab)
            for name in ("hangs in HookOS", "dead"):
                for rtt in words.rtt:
                    lab.jump.delay = rtt / 2000
                    print(line(name, rtt, [once(lab) for _ in range(words.runs)]), flush=True)
                deaden(lab, mute.getsockname()[1])


if __name__ == "__main__":
    main()

"""How long `fab status` takes for 100 servers: python benchmarks/status.py [--servers N] [--runs N].

One jump host on loopback, and a cluster with a Hardware and a Workflow for each server. `whole` is the command as it is
typed, its start included; `look` is Foundry.status on a connection that is kept.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from metalfoundry import Foundry
from metalfoundry.lab.lab import Lab
from metalfoundry.model.events import CommandStarted, Record

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.lab.rows import many


def whole(inventory: Path) -> float:
    """Seconds for the command itself."""
    began = time.monotonic()
    environment = os.environ | {"METALFOUNDRY_STATE": str(inventory.parent / "state")}
    command = [sys.executable, "-m", "metalfoundry", "status", "--inventory", str(inventory)]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.monotonic() - began


def look(foundry: Foundry) -> float:
    """Seconds for one look over a kept connection."""
    began = time.monotonic()
    foundry.status()
    return time.monotonic() - began


def line(title: str, seconds: list[float]) -> str:
    """Median and worst."""
    return f"{title:<8} median {statistics.median(seconds):6.3f} s   worst {max(seconds):6.3f} s   n={len(seconds)}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--servers", type=int, default=100)
    parser.add_argument("--runs", type=int, default=10)
    wanted = parser.parse_args()
    commands: list[Record] = []

    def count(record: Record) -> None:
        if isinstance(record.event, CommandStarted):
            commands.append(record)

    with tempfile.TemporaryDirectory() as folder, Lab(Path(folder), servers=["colo-server-01"]) as lab:
        inventory = many(lab, wanted.servers)
        with Foundry.load(inventory, sinks=[count]) as foundry:
            rows = len(foundry.status())
            first = len(commands)
            looks = [look(foundry) for _ in range(wanted.runs)]
        wholes = [whole(inventory) for _ in range(wanted.runs)]
    print(f"{rows} servers, {first} remote command")
    print(line("whole", wholes))
    print(line("look", looks))


if __name__ == "__main__":
    main()

"""What part of our own time is the way itself: python -m benchmarks.limit [--runs 20] [--round-trips 0 20 100].

OpenSSH over a kept connection (ControlMaster), on the same lab: one `kubectl get` and one `kubectl patch` of a
Hardware, each a bare exec, with nothing of ours in it. Beside it our own share of a provision, and the number of its
commands: so many bare execs are the least that so many commands can take.
"""

from __future__ import annotations

import argparse
import getpass
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.provision import SERVER, ours
from metalfoundry.lab.lab import Lab

OPEN = '[{"op": "replace", "path": "/spec/interfaces/0/netboot/allowPXE", "value": false}]'
KINDS = {
    "get": f"kubectl -n tink-system get hardware.v1alpha1.tinkerbell.org {SERVER} -o json",
    "patch": f"kubectl -n tink-system patch hardware.v1alpha1.tinkerbell.org {SERVER} --type=json -p '{OPEN}'",
}


def bare(delay: float, runs: int) -> dict[str, float]:
    """The median seconds of each kind of bare exec."""
    with tempfile.TemporaryDirectory() as folder, Lab(Path(folder), speed=10) as lab:
        lab.jump.delay = delay
        known, control = f"UserKnownHostsFile={lab.folder / 'known_hosts'}", f"ControlPath={folder}/control"
        words = ["ssh", "-p", str(lab.jump.port), "-i", str(lab.folder / "id_ed25519"), "-o", "ControlMaster=auto",
                 "-o", control, "-o", "ControlPersist=60", "-o", known, f"{getpass.getuser()}@127.0.0.1"]  # fmt: skip
        subprocess.run([*words, "true"], check=True, stdin=subprocess.DEVNULL)
        taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for _ in range(runs):
            for kind, line in KINDS.items():
                began = time.monotonic()
                subprocess.run([*words, line], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
                taken[kind].append(time.monotonic() - began)
        subprocess.run([*words[:-1], "-O", "exit", words[-1]], check=True, stderr=subprocess.DEVNULL)
    return {kind: statistics.median(seconds) for kind, seconds in taken.items()}


def provisioned(delay: float, runs: int) -> tuple[float, int]:
    """Our own share of a provision, the median in seconds, and how many remote commands it sends."""
    made = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            made.append(ours(Path(folder), 10, delay))
    return statistics.median(run.own for run in made), made[0].commands


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--provisions", type=int, default=3)
    parser.add_argument("--round-trips", type=int, nargs="+", default=[0, 20, 100], help="in milliseconds")
    options = parser.parse_args()
    os.environ["METALFOUNDRY_STATE"] = tempfile.mkdtemp()
    print("| round trip | bare get | bare patch | our commands | so many bare execs | our own share | of it the way |")
    print("|---|---|---|---|---|---|---|")
    for milliseconds in options.round_trips:
        delay = milliseconds / 2000
        each = bare(delay, options.runs)
        own, commands = provisioned(delay, options.provisions)
        least = commands * statistics.mean(each.values())
        print(
            f"| {milliseconds} ms | {each['get']:.3f} s | {each['patch']:.3f} s | {commands} | {least:.2f} s | "
            f"{own:.2f} s | {least / own:.0%} |"
        )


if __name__ == "__main__":
    main()

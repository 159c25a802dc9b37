"""How long netboot stays open once the installer runs, and what the guard costs: guard.sh on a real kube-apiserver.

    KUBEBUILDER_ASSETS=... python benchmarks/guard.py [reactions, default 50]

The server is started from these assets; METALFOUNDRY_TEST_KUBECONFIG names another one with Tinkerbell's CRDs.

One reaction = from the moment the Workflow's state RUNNING is written to the moment a watch shows allowPXE false.
The loop (`kubectl get`, look, `kubectl patch`, sleep 10) is not slept through: its two commands are measured here,
and its phase, which is uniform over ten seconds by nature, is drawn at random.
"""

from __future__ import annotations

import json
import os
import random
import shlex
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.real.kube import Kube
from tests.realtier import SHARED, assets

SCRIPT = Path(__file__).parent.parent / "metalfoundry" / "commands" / "guard.sh"
NAMESPACE = "tink-system"
MERGE = "application/merge-patch+json"
COST_SECONDS = 60.0
ASSETS, CRDS = assets(), SHARED / "data" / "crds" / "v0.21"
KUBECTL = os.environ.get("METALFOUNDRY_TEST_KUBECTL", str(ASSETS / "kubectl") if ASSETS else "kubectl")


class Api:
    """A few requests of the Kubernetes API with a bearer token; raises urllib's errors."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        self.server = config["clusters"][0]["cluster"]["server"]
        self.token = config["users"][0]["user"]["token"]
        self.context = ssl._create_unverified_context()

    def open(self, method: str, path: str, body: object = None, content: str = "application/json") -> Any:
        """The response, to be read or iterated by line."""
        url = f"{self.server}/apis/tinkerbell.org/v1alpha1/namespaces/{NAMESPACE}/{path}"
        request = urllib.request.Request(url, method=method, data=json.dumps(body).encode() if body else None)
        request.add_header("Authorization", f"Bearer {self.token}")
        request.add_header("Content-Type", content)
        return urllib.request.urlopen(request, context=self.context, timeout=30)

    def send(self, method: str, path: str, body: object = None, content: str = "application/json") -> dict[str, Any]:
        """The JSON answer."""
        with self.open(method, path, body, content) as response:
            return cast("dict[str, Any]", json.load(response))

    def remove(self, path: str) -> None:
        """Delete what may not be there."""
        try:
            self.send("DELETE", path)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise


def objects(name: str, run: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A claimed Hardware with an open window, and its Workflow."""
    api = {"apiVersion": "tinkerbell.org/v1alpha1"}
    words = {"run": run, "renewal": "1", "lease": "3600", "workflow": name, "until": "running"}
    hardware = {
        "kind": "Hardware",
        "metadata": {"name": name, "annotations": {f"metalfoundry.dev/{key}": value for key, value in words.items()}},
        "spec": {"interfaces": [{"dhcp": {"mac": "02:00:00:00:00:01"}, "netboot": {"allowPXE": True}}]},
    }
    workflow = {"kind": "Workflow", "metadata": {"name": name}, "spec": {"templateRef": name, "hardwareRef": name}}
    return api | hardware, api | workflow


def guard(action: str, folder: str, **more: str) -> str:
    """Run one sub-command as the client does, and give what it prints; raises CalledProcessError."""
    values = {
        "NAMESPACE": NAMESPACE, "PLACE": "bench", "VERSION": "bench", "KUBECTL": KUBECTL, "STATE_DIR": folder,
        "ACTION": action,
    } | more  # fmt: skip
    preamble = "".join(f"{key}={shlex.quote(value)}\n" for key, value in values.items())
    text = f"{preamble}guard_text() {{ cat <<'END_OF_GUARD'\n{SCRIPT.read_text()}END_OF_GUARD\n}}\n"
    done = subprocess.run(
        ["sh", "-s"], input=text + 'eval "$(guard_text)"\n', text=True, check=True, capture_output=True
    )
    return done.stdout


def opened(api: Api, name: str) -> None:
    """Claimed, with an open window."""
    hardware, workflow = objects(name, f"run-{name}")
    for kind, body in (("hardware", hardware), ("workflows", workflow)):
        api.remove(f"{kind}/{name}")
        api.send("POST", kind, body)


def reaction(api: Api, number: int, folder: str) -> float:
    """Seconds from RUNNING to closed, once, with the client dead."""
    name = f"bench-guard-{number}"
    opened(api, name)
    try:
        guard("start", folder, HARDWARE=name, RUN=f"run-{name}", RENEWAL="1")
        time.sleep(random.uniform(0, 3))  # wherever between two passes
        version = api.send("GET", f"hardware/{name}")["metadata"]["resourceVersion"]
        query = f"hardware?watch=1&fieldSelector=metadata.name%3D{name}&resourceVersion={version}"
        with api.open("GET", query) as events:
            begin = time.perf_counter()
            api.send("PATCH", f"workflows/{name}/status", {"status": {"state": "RUNNING"}}, MERGE)
            for line in events:
                if not json.loads(line)["object"]["spec"]["interfaces"][0]["netboot"]["allowPXE"]:
                    return time.perf_counter() - begin
        raise RuntimeError("the watch ended before the window closed")
    finally:
        for kind in ("hardware", "workflows"):
            api.remove(f"{kind}/{name}")


def session(pid: int) -> dict[int, tuple[int, int]]:
    """Resident and proportional KiB of each process of the guard's session; proportional: what several share is
    counted once."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(path.name)) == pid:
                lines = (line.split() for line in (path / "smaps_rollup").read_text().splitlines()[1:])
                sizes = {words[0]: int(words[1]) for words in lines}
                found[int(path.name)] = sizes["Rss:"], sizes["Pss:"]
        except (OSError, ProcessLookupError, KeyError):
            continue
    return found


def spent(pid: int, alive: Iterable[int]) -> float:
    """CPU seconds of the guard, of its children that have ended, and of its watch."""
    ticks = 0
    for one in {pid, *alive}:
        try:
            cells = Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        ticks += sum(int(cell) for cell in (cells[11:15] if one == pid else cells[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def cost(api: Api, windows: int, folder: str) -> str:
    """Processes, memory and CPU of a guard with so many open windows, over COST_SECONDS."""
    names = [f"bench-cost-{number}" for number in range(windows)]
    for name in names:
        opened(api, name)
    pid = int(dict(line.split("=", 1) for line in guard("start", folder).splitlines())["pid"])
    for name in (names[0], names[-1]):
        guard("start", folder, HARDWARE=name, RUN=f"run-{name}", RENEWAL="1", WAIT="120")
    time.sleep(5)
    counts, resident, proportional = list[int](), list[float](), list[float]()
    before, begin = spent(pid, session(pid)), time.perf_counter()
    while time.perf_counter() - begin < COST_SECONDS:
        alive = session(pid)
        counts.append(len(alive))
        resident.append(sum(rss for rss, _ in alive.values()) / 1024)
        proportional.append(sum(pss for _, pss in alive.values()) / 1024)
        time.sleep(0.1)
    busy = (spent(pid, session(pid)) - before) / (time.perf_counter() - begin)
    for name in names:
        for kind in ("hardware", "workflows"):
            api.remove(f"{kind}/{name}")
    return (
        f"{windows:>4} windows: {statistics.median(counts):.0f} processes (at most {max(counts)}), "
        f"{statistics.median(resident):.0f} MiB resident (at most {max(resident):.0f}), "
        f"{statistics.median(proportional):.0f} MiB proportional (at most {max(proportional):.0f}), "
        f"{100 * busy:.1f} % of a core"
    )


def loop(api: Api, times: int) -> list[float]:
    """Seconds the ten-second loop would need: a random phase, and its two commands as measured now."""
    name = "bench-guard-loop"
    hardware, workflow = objects(name, "bench-loop")
    for kind, body in (("hardware", hardware), ("workflows", workflow)):
        api.remove(f"{kind}/{name}")
        api.send("POST", kind, body)
    patch = '[{"op":"add","path":"/spec/interfaces/0/netboot/allowPXE","value":false}]'
    commands = (
        ["get", "workflow", name, "-n", NAMESPACE, "-o", "jsonpath={.status.state}"],
        ["patch", "hardware", name, "-n", NAMESPACE, "--type=json", "-p", patch],
    )
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        for words in commands:
            subprocess.run([KUBECTL, *words], check=True, capture_output=True)
        seconds.append(random.uniform(0, 10) + time.perf_counter() - begin)
    for kind in ("hardware", "workflows"):
        api.remove(f"{kind}/{name}")
    return seconds


def line(title: str, seconds: list[float]) -> str:
    """Median, 99th percentile and worst of `seconds`."""
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
    return f"{title:<34}{statistics.median(ordered):8.3f}{p99:8.3f}{ordered[-1]:8.3f}   n={len(ordered)}"


def main() -> None:
    """Start an API server where none is named, and measure."""
    named = os.environ.get("METALFOUNDRY_TEST_KUBECONFIG")
    if named:
        measure(Path(named))
    elif ASSETS is None or not CRDS.is_dir():
        print(f"left out: no KUBEBUILDER_ASSETS or no {CRDS}, and no METALFOUNDRY_TEST_KUBECONFIG", file=sys.stderr)
    else:
        with tempfile.TemporaryDirectory() as folder, Kube(ASSETS, Path(folder)) as kube:
            kube.apply_crds(CRDS)
            kube.make_namespace(NAMESPACE)
            measure(kube.kubeconfig(Path(folder) / "kubeconfig"))


def measure(kubeconfig: Path) -> None:
    """Measure and print the table."""
    os.environ["KUBECONFIG"] = str(kubeconfig)
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    api = Api(kubeconfig)
    with tempfile.TemporaryDirectory() as folder:
        ours = [reaction(api, number, folder) for number in range(times)]
        costs = [cost(api, windows, folder) for windows in (1, 10, 100)]
        guard("stop", folder, FORCE="yes")
    theirs = loop(api, max(6, times))
    print(f"{'RUNNING written → closed, seconds':<34}{'median':>8}{'p99':>8}{'worst':>8}")
    print(line("guard.sh", ours))
    print(line("ten-second loop, phase at random", theirs))
    print("\n".join(costs))


if __name__ == "__main__":
    main()

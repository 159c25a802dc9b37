"""guard.sh and sweeper.sh with real kubectl, in both versions, on a real kube-apiserver."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guard.harness import ROOM, Client, client, until
from tests.real.kube import Kube
from tests.realtier import need_kubectl

pytestmark = pytest.mark.real
NOW = 1767323045  # 2026-01-02T03:04:05Z
FLUX = "kustomize.toolkit.fluxcd.io"


class Cluster:
    """A namespace of the real thing, spoken to with one kubectl."""

    def __init__(self, kubectl: str, config: Path, namespace: str) -> None:
        self.kubectl, self.config, self.namespace = kubectl, str(config), namespace

    def run(self, *words: str, given: str = "") -> str:
        argv = [self.kubectl, "--kubeconfig", self.config, "-n", self.namespace, *words]
        done = subprocess.run(argv, input=given, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done
        return done.stdout

    def put(self, kind: str, name: str, spec: dict[str, Any], **meta: Any) -> str:
        body = {"apiVersion": "tinkerbell.org/v1alpha1", "kind": kind, "metadata": {"name": name} | meta, "spec": spec}
        words = ("create", "-f", "-", "--field-manager=metalfoundry", "-o", "jsonpath={.metadata.uid}")
        return self.run(*words, given=json.dumps(body))

    def hardware(self, name: str, *pxe: bool | None, **meta: Any) -> str:
        mac = "02:00:00:00:00:01"
        blocks = [{"dhcp": {"mac": mac}} | ({} if flag is None else {"netboot": {"allowPXE": flag}}) for flag in pxe]
        return self.put("Hardware", name, {"interfaces": blocks}, **meta)

    def get(self, name: str) -> dict[str, Any]:
        return json.loads(self.run("get", "hardware", name, "-o", "json"))  # type: ignore[no-any-return]

    def pxe(self, name: str) -> list[bool | None]:
        return [item.get("netboot", {}).get("allowPXE") for item in self.get(name)["spec"]["interfaces"]]

    def notes(self, name: str) -> dict[str, str]:
        return dict(self.get(name)["metadata"].get("annotations", {}))

    def patch(self, name: str, *operations: dict[str, Any]) -> None:
        self.run("patch", "hardware", name, "--type=json", "-p", json.dumps(operations))

    def merge(self, name: str, body: dict[str, Any]) -> None:
        self.run("patch", "workflow", name, "--type=merge", "-p", json.dumps(body), *self.status())

    def status(self) -> list[str]:
        return [] if "1.20" in self.run("version", "--client") else ["--subresource=status"]

    def sweep(self, shell: str, **env: str) -> list[str]:
        values = os.environ | {"KUBECONFIG": self.config, "NAMESPACE": self.namespace, "KUBECTL": self.kubectl} | env
        words = [*shell.split(), str(ROOM / "sweeper.sh")]
        done = subprocess.run(words, text=True, capture_output=True, env=values, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done
        return [line.split(" ", 1)[1] for line in done.stdout.splitlines()]


@pytest.fixture(params=["1.33", "1.20"])
def real(request: pytest.FixtureRequest, kube: Kube, tmp_path: Path) -> Iterator[Cluster]:
    config = kube.kubeconfig(tmp_path / "kubeconfig")
    one = Cluster(str(need_kubectl(request.param)), config, f"guard-{uuid.uuid4().hex[:8]}")
    Cluster(one.kubectl, config, "default").run("create", "namespace", one.namespace)
    yield one
    for kind in ("hardware", "workflows"):
        one.run("delete", kind, "--all", "--wait=false")
    Cluster(one.kubectl, config, "default").run("delete", "namespace", one.namespace, "--wait=false")


@pytest.fixture
def guard(shell: str, tmp_path: Path, real: Cluster) -> Iterator[Client]:
    one = client(shell, tmp_path)
    one.env = {"KUBECONFIG": real.config, "TEST_MARK": str(one.root)}
    one.values |= {"KUBECTL": f"env LC_ALL=C {real.kubectl}", "NAMESPACE": real.namespace, "TICK": "0.5"}
    claim = {"metalfoundry.dev/run": one.values["RUN"]}
    real.hardware("anvil", None, True, False, annotations=claim)
    one.values["WORKFLOW_UID"] = real.put("Workflow", "anvil", {"templateRef": "t", "hardwareRef": "anvil"})
    yield one
    one.raw(one.text("disarm"))
    until(lambda: not one.processes(), "no process left")


def test_closes_at_running_and_after_a_foreign_write(guard: Client, real: Cluster) -> None:
    guard.armed()
    real.run("annotate", "hardware", "anvil", "some=thing")
    real.run("annotate", "workflow", "anvil", "some=thing")
    pid = guard.processes()
    assert guard.send("alive")["window"] == "open"
    state = {"status": {"state": "RUNNING", "currentState": {"actionName": "stream"}}}
    path = f"/apis/tinkerbell.org/v1alpha1/namespaces/{real.namespace}/workflows/anvil/status"
    whole = json.loads(real.run("get", "workflow", "anvil", "-o", "json")) | state
    real.run("replace", "--raw", path, "-f", "-", given=json.dumps(whole))
    guard.logged("closed reason=running interfaces=1")
    assert real.pxe("anvil") == [None, False, False]
    real.patch("anvil", {"op": "add", "path": "/spec/interfaces/2/netboot/allowPXE", "value": True})
    guard.logged("closed reason=foreign-write interfaces=2")
    watches = [one for one in pid if b"--output-watch-events" in words(one)]
    assert len(watches) >= 2  # the watches of the beginning still live: no event has ended them


def words(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_deleted(guard: Client, real: Cluster) -> None:
    guard.armed()
    real.run("delete", "workflow", "anvil")
    guard.logged("closed reason=deleted interfaces=1")


def test_never_there(guard: Client, real: Cluster) -> None:
    real.run("delete", "workflow", "anvil")
    guard.armed()
    guard.logged("closed reason=deleted interfaces=1")


def test_expires_without_a_workflow(guard: Client, real: Cluster) -> None:
    guard.armed(WORKFLOW="", WORKFLOW_UID="", EXPIRES="+1")
    guard.logged("closed reason=expired interfaces=1")


def test_foreign_claim(guard: Client, real: Cluster) -> None:
    guard.armed()
    real.run("annotate", "--overwrite", "hardware", "anvil", "metalfoundry.dev/run=another\nline|x")
    guard.ended("claim-foreign by=another")
    assert real.pxe("anvil") == [None, True, False]


def test_claim_gone(guard: Client, real: Cluster) -> None:
    guard.armed()
    real.run("annotate", "hardware", "anvil", "metalfoundry.dev/run-")
    guard.ended("claim-gone")


def test_netboot_block_gone(guard: Client, real: Cluster) -> None:
    guard.armed()
    real.patch("anvil", {"op": "remove", "path": "/spec/interfaces/1/netboot"})
    until(lambda: guard.send("alive")["window"] == "closed", "absent is closed")


def claim(expires: str, before: object = None, **more: object) -> dict[str, str]:
    window = {"holder": "kevin@laptop", "expires": expires, "before": before or {}} | more
    return {"metalfoundry.dev/run": "r-1", "metalfoundry.dev/window": json.dumps(window)}


LATE, EARLY = "2026-01-02T03:04:06Z", "2026-01-02T03:04:04Z"
SPOOF = 'a "quoted"\nreason|with\t{"expires": "2099-01-01T00:00:00Z"} in it \\'


def test_sweeper(shell: str, real: Cluster) -> None:
    real.hardware("expired", True, None, True, annotations=claim(EARLY, reason=SPOOF))
    real.hardware("live", True, annotations=claim(LATE))
    real.hardware("just-now", True, annotations=claim("2026-01-02T03:04:05Z"))
    real.hardware("stray", False, True)
    real.hardware("closed", False, annotations=claim(EARLY) | {"other": "note"})
    real.hardware("quiet")
    said = real.sweep(shell, NOW=str(NOW))
    assert said == [
        f'swept hardware=closed run="r-1" expires={EARLY} closed=',
        f'swept hardware=expired run="r-1" expires={EARLY} closed=0 2',
        "stray hardware=stray open=1",
    ]
    assert real.pxe("expired") == [False, None, False]
    assert real.notes("expired") == {}
    assert real.notes("closed") == {"other": "note"}
    assert (real.pxe("live"), real.pxe("just-now"), real.pxe("stray")) == ([True], [True], [False, True])
    assert "metalfoundry.dev/run" in real.notes("live")
    assert real.sweep(shell, NOW=str(NOW)) == said[2:]


@pytest.mark.parametrize(
    ("before", "now", "label", "after"),
    [
        ({f"{FLUX}/reconcile": None}, "disabled", True, None),
        ({f"{FLUX}/reconcile": "enabled"}, "disabled", True, "enabled"),
        ({f"{FLUX}/reconcile": "disabled"}, "disabled", True, "disabled"),
        ({}, "disabled", True, None),
        ({}, "disabled", False, "disabled"),
        ({f"{FLUX}/reconcile": None}, "enabled", True, "enabled"),
        ({f"{FLUX}/reconcile": None}, None, True, None),
    ],
)
def test_sweeper_gives_flux_its_switch_back(
    real: Cluster, before: dict[str, str | None], now: str | None, label: bool, after: str | None
) -> None:
    notes = claim(EARLY, before) | ({f"{FLUX}/reconcile": now} if now else {})
    real.hardware("anvil", True, annotations=notes, labels={f"{FLUX}/name": "apps"} if label else {})
    assert len(real.sweep("sh", NOW=str(NOW))) == 1
    assert real.notes("anvil").get(f"{FLUX}/reconcile") == after
    assert real.pxe("anvil") == [False]


@pytest.mark.parametrize(
    "window", ["", "nonsense", '{"expires": "tomorrow"}', '{"expires": "2026-01-02T03:04:05+01:00"}']
)
def test_sweeper_gives_an_unreadable_window_an_hour(real: Cluster, window: str) -> None:
    odd_run = 'r "1"\u2028\n'
    notes = {"metalfoundry.dev/run": odd_run} | ({"metalfoundry.dev/window": window} if window else {})
    real.hardware("anvil", True, annotations=notes)
    written = int(subprocess.run(["date", "+%s"], capture_output=True, text=True, check=True).stdout)
    assert real.sweep("sh", NOW=str(written + 3500))[0].startswith("unreadable hardware=anvil")
    assert real.pxe("anvil") == [True]
    assert real.sweep("sh", NOW=str(written + 3700))[0].startswith("swept hardware=anvil")
    assert real.pxe("anvil") == [False]
    assert real.notes("anvil") == {}


def test_sweeper_leaves_a_claim_that_was_extended_meanwhile(real: Cluster, tmp_path: Path) -> None:
    real.hardware("anvil", True, annotations=claim(EARLY))
    between = tmp_path / "kubectl"
    extend = f"{real.kubectl} annotate hardware anvil -n {real.namespace} other=note >/dev/null"
    between.write_text(f'#!/bin/sh\n[ "$1" != patch ] || {extend}\nexec {real.kubectl} "$@"\n')
    between.chmod(0o755)
    env = {"KUBECONFIG": real.config, "NAMESPACE": real.namespace, "KUBECTL": str(between), "NOW": str(NOW)}
    done = subprocess.run(
        ["sh", str(ROOM / "sweeper.sh")], text=True, capture_output=True, env=os.environ | env, check=False
    )
    assert done.returncode == 1
    assert "refused hardware=anvil" in done.stdout
    assert real.pxe("anvil") == [True]

"""guard.sh with real kubectl, in both versions, on a real kube-apiserver."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guard.harness import RUN, Client, client, until
from tests.real.kube import Kube
from tests.realtier import need_kubectl

pytestmark = pytest.mark.real
FLUX = "kustomize.toolkit.fluxcd.io"
SPOOF = 'a "quoted"\nreason|with\t{"expires": "2099-01-01T00:00:00Z"} in it \\'


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
    """With anvil, whose second interface may netboot, its claim with odd words beside it, and its Workflow."""
    one = client(shell, tmp_path, f"env LC_ALL=C {real.kubectl}", {"KUBECONFIG": real.config})
    one.values |= {"PLACE": "tink-system", "NAMESPACE": real.namespace, "PACE": "2"}
    uid = real.put("Workflow", "anvil", {"templateRef": "t", "hardwareRef": "anvil"})
    words = {"run": RUN, "renewal": "1", "lease": "600", "workflow": "anvil", "workflow-uid": uid, "until": "running"}
    words |= {"window": SPOOF, "flux": "absent"}
    notes = {f"metalfoundry.dev/{key}": value for key, value in words.items()} | {f"{FLUX}/reconcile": "disabled"}
    real.hardware("anvil", None, True, False, annotations=notes | {"other": "note"})
    yield one
    one.send("stop", FORCE="yes")
    one.gone()


def runs(real: Cluster, state: str = "RUNNING", action: str = "stream") -> None:
    status = {"status": {"state": state, "currentState": {"actionName": action}}}
    path = f"/apis/tinkerbell.org/v1alpha1/namespaces/{real.namespace}/workflows/anvil/status"
    whole = json.loads(real.run("get", "workflow", "anvil", "-o", "json")) | status
    real.run("replace", "--raw", path, "-f", "-", given=json.dumps(whole))


def test_closes_at_running_and_after_a_foreign_write(guard: Client, real: Cluster) -> None:
    guard.acknowledged()
    assert real.notes("anvil")["metalfoundry.dev/guard"] == f"kevin@jump {RUN} 1 holds"
    real.run("annotate", "workflow", "anvil", "some=thing")
    assert real.pxe("anvil") == [None, True, False]
    runs(real)
    guard.logged(f"closed hardware=anvil run={RUN} reason=RUNNING")
    assert real.pxe("anvil") == [None, False, False]
    real.patch("anvil", {"op": "add", "path": "/spec/interfaces/2/netboot/allowPXE", "value": True})
    until(lambda: real.pxe("anvil") == [None, False, False])


def test_the_boot_action(guard: Client, real: Cluster) -> None:
    for word in ("until=end", "boot-action=reboot | now"):
        real.run("annotate", "--overwrite", "hardware", "anvil", f"metalfoundry.dev/{word}")
    guard.acknowledged()
    runs(real)
    real.run("annotate", "--overwrite", "hardware", "anvil", "metalfoundry.dev/renewal=2")
    guard.acknowledged("2")
    assert real.pxe("anvil") == [None, True, False]
    runs(real, action="reboot | now")
    guard.logged(f"closed hardware=anvil run={RUN} reason=boot-action")


def test_deleted(guard: Client, real: Cluster) -> None:
    guard.acknowledged()
    real.run("delete", "workflow", "anvil")
    guard.logged(f"closed hardware=anvil run={RUN} reason=deleted")


def test_the_lease_ends_with_the_claim_and_flux_has_its_switch(guard: Client, real: Cluster) -> None:
    real.run("annotate", "--overwrite", "hardware", "anvil", "metalfoundry.dev/lease=1")
    guard.start()
    guard.logged(f"closed hardware=anvil run={RUN} reason=expired")
    assert real.pxe("anvil") == [None, False, False]
    assert real.notes("anvil") == {"other": "note"}


def test_an_odd_run_is_closed_when_its_lease_is_over(guard: Client, real: Cluster) -> None:
    for word in (f"run={SPOOF}", "lease=1"):
        real.run("annotate", "--overwrite", "hardware", "anvil", f"metalfoundry.dev/{word}")
    guard.start()
    until(lambda: real.notes("anvil") == {"other": "note"})
    assert real.pxe("anvil") == [None, False, False]


def test_a_claim_that_is_taken_away(guard: Client, real: Cluster) -> None:
    guard.acknowledged()
    real.run("annotate", "hardware", "anvil", "metalfoundry.dev/run-")
    guard.logged(f"closed hardware=anvil run={RUN} reason=claim-gone")
    until(lambda: real.notes("anvil") == {"other": "note"}, what="the pause is taken back")


def test_strays_without_any_annotation(guard: Client, real: Cluster) -> None:
    real.hardware("bolt", True)
    real.hardware("cask")
    guard.acknowledged()
    guard.logged("stray hardware=bolt interfaces=0")
    assert real.pxe("bolt") == [True]

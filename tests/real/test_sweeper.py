"""The jump host dies with a window open; the sweeper closes it, as its own ServiceAccount and nothing more."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from metalfoundry import Foundry
from metalfoundry.commands import sweeper
from metalfoundry.lab.kubernetes.errors import Forbidden
from metalfoundry.lab.lab import Lab
from tests.real.kube import Kube
from tests.real.place import is_open, real_lab, until
from tests.realtier import need_kubectl

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]
NAME = "anvil"
LEASE = 8.0


@dataclass
class Swept:
    """The lab, the CronJob's container as it was read back from the cluster, and what its token may do."""

    lab: Lab
    container: dict[str, Any]
    kubeconfig: Path
    token: str

    def kubectl(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [str(need_kubectl("1.33")), "--kubeconfig", str(self.kubeconfig), "-n", self.lab.namespace, *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    def run(self) -> list[str]:
        """The container's command with its environment, as its user."""
        env = {one["name"]: one["value"] for one in self.container["env"]}
        path = f"{self.lab.folder}/bin:{os.environ['PATH']}"
        done = subprocess.run(
            self.container["command"], env=env | {"PATH": path, "KUBECONFIG": str(self.kubeconfig)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done
        return [line.split(" ", 1)[1] for line in done.stdout.splitlines()]


@pytest.fixture
def swept(kube: Kube, tmp_path: Path) -> Iterator[Swept]:
    with real_lab(kube, tmp_path, "dead", 20.0, [NAME]) as lab:
        with Foundry.load(lab.inventory) as foundry:
            foundry.install_sweeper()
            installed = foundry.sweeper_status()
            assert installed is not None and installed.current
        path = f"/apis/batch/v1/namespaces/{lab.namespace}/cronjobs/{sweeper.NAME}"
        pod = kube.client().request("GET", path)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        token = kube.service_account_token(lab.namespace, pod["serviceAccountName"])
        config = kube.kubeconfig(tmp_path / "sweeper", "sweeper", lab.namespace, token)
        yield Swept(lab, pod["containers"][0], config, token)


def reboot(lab: Lab) -> None:
    """Everything on the jump host ends at once, and sshd is back."""
    sent = 0
    while processes := lab.processes.alive():
        for process in processes:
            sent += 1
            try:
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        assert sent < 10_000


def test_what_the_dead_jump_host_left_open_is_closed_after_its_lease(swept: Swept) -> None:
    lab = swept.lab
    with Foundry.load(lab.inventory) as foundry:
        run = foundry.open_netboot(NAME, "a test", LEASE)
        assert [guard.state for guard in foundry.guards()] == ["guarding"]
    begun = time.monotonic()
    reboot(lab)
    assert is_open(lab.store, NAME)
    if time.monotonic() - begun < LEASE - 2:
        assert swept.run() == []  # a live claim is none of its business
        assert is_open(lab.store, NAME)
    until(lambda: time.monotonic() - begun > LEASE + 1, 30)
    said = swept.run()
    assert len(said) == 1
    assert said[0].startswith(f'swept hardware={NAME} run="{run}"')
    assert not is_open(lab.store, NAME)
    assert "metalfoundry.dev/run" not in lab.store.get("hardware", NAME)["metadata"].get("annotations", {})
    assert swept.run() == []


def test_its_token_is_good_for_nothing_else(swept: Swept, kube: Kube) -> None:
    lab = swept.lab
    workflow = next(yaml.safe_load_all((lab.folder / "workflows.yaml").read_text()))
    lab.store.create("workflows", workflow)
    secrets = f"/api/v1/namespaces/{lab.namespace}/secrets"
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bmc"}, "stringData": {"password": "x"}}
    kube.client().request("POST", secrets, secret)
    patch = [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]
    path = f"/apis/tinkerbell.org/v1alpha1/namespaces/{lab.namespace}/workflows/{workflow['metadata']['name']}"
    with pytest.raises(Forbidden, match='cannot patch resource "workflows"'):
        kube.client(token=swept.token).request("PATCH", path, patch, "application/json-patch+json")
    for words, refused in (
        (("get", "workflow", workflow["metadata"]["name"]), 'get resource "workflows"'),
        (("get", "secret", "bmc"), 'get resource "secrets"'),
        (("delete", "hardware", NAME), 'delete resource "hardware"'),
        (("get", "hardware", "-n", "default"), 'list resource "hardware"'),
        (("create", "configmap", "a"), 'create resource "configmaps"'),
    ):
        done = swept.kubectl(*words)
        assert done.returncode == 1, words
        assert f"system:serviceaccount:{lab.namespace}:{sweeper.NAME}" in done.stderr
        assert f"cannot {refused}" in done.stderr
    assert swept.kubectl("get", "hardware", NAME).returncode == 0

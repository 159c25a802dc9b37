"""The Jobs of the BMC on a real API server, with the CRDs of either release: they are taken as they are."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from metalfoundry.commands import bmc
from metalfoundry.commands.kubectl import Kubectl
from metalfoundry.model.resources import Hardware
from tests.real.kube import Kube
from tests.realtier import need_assets, need_crds, need_kubectl

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]
NAMESPACE = "tink-system"
MACHINE = {
    "apiVersion": "bmc.tinkerbell.org/v1alpha1",
    "kind": "Machine",
    "metadata": {"name": "bmc-anvil"},
    "spec": {"connection": {"host": "192.0.2.250", "insecureTLS": True}},
}


@pytest.fixture(scope="module", params=["v0.21", "v0.25"])
def config(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of an API server with the CRDs of that release."""
    crds, folder = need_crds(request.param), tmp_path_factory.mktemp("kube")
    with Kube(need_assets(), folder / "kube") as server:
        server.apply_crds(crds)
        server.make_namespace(NAMESPACE)
        yield server.kubeconfig(folder / "kubeconfig", namespace=NAMESPACE)


def said(config: Path, *argv: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    words = [str(need_kubectl("1.33")), "--kubeconfig", str(config), *map(str, argv[1:])]
    return subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=60, check=False)


def test_the_job_is_taken_as_it_is(config: Path) -> None:
    kubectl, name = Kubectl(("kubectl",), NAMESPACE), bmc.job_name("anvil", "20261130T134655Z-anvil-1a2b3c4d")
    hardware = Hardware.of({"spec": {"interfaces": [{"dhcp": {"uefi": True}}]}})
    machine = bmc.get_machine(kubectl, "bmc-anvil")
    assert "(NotFound)" in said(config, *machine.argv).stderr
    made = said(config, "kubectl", "create", "-f", "-", "-n", NAMESPACE, stdin=json.dumps(MACHINE))
    assert made.returncode == 0, made.stderr
    assert json.loads(said(config, *machine.argv).stdout)["spec"]["connection"]["port"] == 623
    for tasks in (bmc.netboot_once(hardware), (bmc.ON,), (bmc.OFF,), (bmc.CYCLE,)):
        part = bmc.create_job(kubectl, f"{name}-{len(tasks)}-{tasks[0]['powerAction']}", "bmc-anvil", tasks)
        done = said(config, *part.argv, stdin=part.stdin)
        assert (done.returncode, done.stderr) == (0, "")
        title = done.stdout.strip()
        assert title.startswith("job.bmc.tinkerbell.org/metalfoundry-anvil-")
        kept = json.loads(said(config, *kubectl.get(bmc.JOBS, title.partition("/")[2]).argv).stdout)
        assert kept["spec"] == json.loads(part.stdin)["spec"]
        assert said(config, *part.argv, stdin=part.stdin).returncode == 1  # never run a second time
    assert json.loads(said(config, *bmc.list_tasks(kubectl).argv).stdout)["items"] == []

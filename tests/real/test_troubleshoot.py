"""A diagnosis through OpenSSH's sshd and a real API server, whose `kubectl logs` ends at a kubelet of the lab."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from metalfoundry import Foundry
from metalfoundry.diagnosis.facts import Seen
from metalfoundry.lab.kube import Kube
from metalfoundry.lab.world import Lab
from metalfoundry.runs.logs import Ask
from tests.lab.bench import NAME
from tests.real.place import until
from tests.realtier import need_assets, need_kubectl


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    with Kube(need_assets(), tmp_path_factory.mktemp("kube")) as kube:
        kube.apply_crds()
        yield kube


@pytest.mark.parametrize("version", ["1.33", "1.20"])
def test_the_cause_is_found_by_logs_that_came_through_kubectl(kube: Kube, tmp_path: Path, version: str) -> None:
    namespace = f"real-{os.urandom(4).hex()}"
    config = kube.kubeconfig(tmp_path / "kubeconfig", namespace=namespace)
    lab = Lab(
        tmp_path / "lab", "bad-compression", 20, (NAME,), store=kube.store(namespace), namespace=namespace,
        kubectl=str(need_kubectl(version)), kubeconfig=str(config), real_sshd=True, kubelet=True,
    )  # fmt: skip
    with lab, Foundry.load(lab.inventory) as foundry:
        until(lambda: foundry.troubleshoot(NAME).findings[0].id == "image-write", 60, "no such finding")
        seen = foundry.troubleshoot(NAME)
        assert "unknown compression suffix [.rawgz]" in seen.findings[0].evidence[0].line
        assert seen.findings[0].evidence[0].source == "action log"
        assert isinstance(seen.facts.logs["smee"], Seen)
        assert [item.name for item in seen.facts.deployments.value] == ["tinkerbell"]  # type: ignore[union-attr]
        with closing(foundry.follow_logs(NAME, Ask("smee"))) as lines:  # type: ignore[type-var]
            assert any(line is not None and "compression suffix" in line.text for line in lines)

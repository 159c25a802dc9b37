"""A diagnosis through OpenSSH's sshd and a real API server, whose `kubectl logs` ends at a kubelet of the lab."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from metalfoundry import Foundry
from metalfoundry.diagnosis.facts import Seen
from metalfoundry.lab.lab import POD, Lab
from metalfoundry.runs.logs import Ask
from tests.lab.bench import NAME
from tests.real.kube import Kube
from tests.real.kubelet import Kubelet
from tests.real.place import real_parts, until
from tests.realtier import need_assets, need_crds


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    with Kube(need_assets(), tmp_path_factory.mktemp("kube")) as kube:
        kube.apply_crds(need_crds("v0.21"))
        yield kube


@pytest.mark.parametrize("version", ["1.33", "1.20"])
def test_the_cause_is_found_by_logs_that_came_through_kubectl(kube: Kube, tmp_path: Path, version: str) -> None:
    namespace = f"real-{os.urandom(4).hex()}"
    parts = real_parts(kube, tmp_path, namespace, version)
    with Kubelet(namespace) as kubelet:
        kubelet.hold(parts["store"], POD)
        lab = Lab(tmp_path / "lab", "bad-compression", 20, (NAME,), log=kubelet.append, **parts)
        examine(lab)


def examine(lab: Lab) -> None:
    with lab, Foundry.load(lab.inventory) as foundry:
        until(lambda: foundry.troubleshoot(NAME).findings[0].id == "image-write", 60, "no such finding")
        seen = foundry.troubleshoot(NAME)
        assert "unknown compression suffix [.rawgz]" in seen.findings[0].evidence[0].line
        assert seen.findings[0].evidence[0].source == "action log"
        assert isinstance(seen.facts.logs["smee"], Seen)
        assert [item.name for item in seen.facts.deployments.value] == ["tinkerbell"]  # type: ignore[union-attr]
        with closing(foundry.follow_logs(NAME, Ask("smee"))) as lines:  # type: ignore[type-var]
            assert any(line is not None and "compression suffix" in line.text for line in lines)

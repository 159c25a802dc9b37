"""Whole provisions through OpenSSH's sshd with stock limits, real kubectl, a real kube-apiserver."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from metalfoundry.lab.kubernetes.store import NotFound, Object, Store
from metalfoundry.lab.lab import Lab
from metalfoundry.model.events import CommandEnded, CommandStarted
from tests.lab.bench import Ran, clean, hardware, workflow
from tests.lab.test_provision import BAD, GOOD, KEPT, provision
from tests.real.kube import Kube
from tests.real.place import real_parts
from tests.realtier import kube, need_crds

__all__ = ["kube"]
pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
MAIN = (
    "installs",
    "reboot-last",
    "action-fails",
    "never-netboots",
    "already-in-hook",
    "old-system-returns",
    "wrong-host-key",
)
SPEED = 1.5  # as slow as this, no installation is over before a busy computer has closed netboot
QUIET = (CommandStarted, CommandEnded)


def emptied(store: Store) -> Store:
    """The store without what an earlier lab left in it."""
    for kind in ("workflows", "hardware", "templates"):
        for obj in store.list(kind):
            with contextlib.suppress(NotFound):
                store.delete(kind, obj["metadata"]["name"])
    return store


def ran(kube: Kube, folder: Path, names: tuple[str, ...], version: str) -> dict[str, tuple[Ran, bool, Object | None]]:
    """Each scenario on a server of its own: what came of it, whether it is clean, the Workflow that is left."""
    emptied(kube.store())
    parts = real_parts(kube, folder, "tink-system", version)
    with Lab(folder / "lab", speed=SPEED, servers=names, each={name: name for name in names}, **parts) as lab:
        before = {name: hardware(lab, name) for name in names}
        with ThreadPoolExecutor(5) as pool:
            done = dict(zip(names, pool.map(lambda name: provision(lab, name), names), strict=True))
        return {name: (done[name], clean(lab, before[name], name), workflow(lab, f"{name}-ubuntu")) for name in names}


def judge(name: str, seen: tuple[Ran, bool, Object | None]) -> None:
    """The same outcome as in the embedded lab."""
    run, safe, left = seen
    report = run.json
    code = 0 if name in GOOD else BAD[name][1]
    assert report["exit_code"] == code, "\n".join(str(event) for event in run.events if not isinstance(event, QUIET))
    assert report["netboot"]["closed"] is True
    assert safe
    assert (left is not None) is (name in KEPT)
    if name in GOOD:
        assert report["remote_commands"] <= 12
    else:
        assert run.report is not None
        assert isinstance(run.report.error, BAD[name][0])


@pytest.fixture(scope="module")
def everything(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Ran, bool, Object | None]]:
    return ran(kube, tmp_path_factory.mktemp("real"), (*GOOD, *BAD), "1.33")


@pytest.mark.parametrize("name", [*GOOD, *BAD])
def test_every_scenario_ends_as_in_the_embedded_lab(
    everything: dict[str, tuple[Ran, bool, Object | None]], name: str
) -> None:
    judge(name, everything[name])


@pytest.fixture(scope="module")
def newer(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Ran, bool, Object | None]]]:
    """The same with the CRDs of Tinkerbell 0.25."""
    kube.apply_crds(need_crds("v0.25"))
    yield ran(kube, tmp_path_factory.mktemp("newer"), MAIN, "1.33")
    emptied(kube.store())
    kube.apply_crds(need_crds("v0.21"))


@pytest.mark.parametrize("name", MAIN)
def test_the_newer_crds(newer: dict[str, tuple[Ran, bool, Object | None]], name: str) -> None:
    judge(name, newer[name])


def test_debians_old_kubectl(kube: Kube, tmp_path: Path) -> None:
    names = ("installs", "action-fails")
    for name, seen in ran(kube, tmp_path, names, "1.20").items():
        judge(name, seen)

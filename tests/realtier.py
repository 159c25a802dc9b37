"""Where the real programs are found: kube-apiserver, etcd, kubectl in two versions, and a whole node.

KUBEBUILDER_ASSETS names a folder with etcd, kube-apiserver and kubectl; without it `../shared/kube` beside the
repository is looked at, which also has what makes a node. METALFOUNDRY_KUBECTL_120 names Debian's old kubectl.
Tinkerbell's CRDs are in `../shared/data`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import pytest

from tests.real.kube import Kube, find_assets
from tests.real.node import Node, NodeError, missing, running

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
PROGRAMS = ("etcd", "kube-apiserver", "kubectl")
NO_ASSETS = "no etcd, kube-apiserver and kubectl: set KUBEBUILDER_ASSETS (`setup-envtest use -p path` prints it)"
NO_OLD_KUBECTL = "no kubectl 1.20: set METALFOUNDRY_KUBECTL_120"


def required() -> bool:
    """Whether a missing program is a failure instead of a skip."""
    unsaid = "1" if os.environ.get("CI") == "true" else "0"
    return os.environ.get("METALFOUNDRY_REQUIRE_REAL", unsaid) == "1"


@cache
def assets() -> Path | None:
    """The folder with the three programs, or None."""
    named = find_assets()
    if named is not None:
        return named
    beside = SHARED / "kube" / "kube"
    if not os.access(beside, os.X_OK):
        return None
    folder = Path(tempfile.gettempdir()) / f"metalfoundry-kube-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for program in PROGRAMS:
        link = folder / program
        if not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(beside)  # the links in a checkout may be broken; one binary is all three programs
    return folder


def need_assets() -> Path:
    """As `assets`; without them the test is skipped, or fails where they are required."""
    return _need(assets(), NO_ASSETS)


def kubectl() -> Path | None:
    """kubectl of the same release as the API server."""
    folder = assets()
    return folder / "kubectl" if folder and os.access(folder / "kubectl", os.X_OK) else None


def kubectl_120() -> Path | None:
    """Debian's kubectl 1.20."""
    named = os.environ.get("METALFOUNDRY_KUBECTL_120", "")
    return Path(named) if named and os.access(named, os.X_OK) else None


@contextmanager
def need_node() -> Iterator[Node]:
    """A Kubernetes whose pods run; without what it takes the test is skipped, or fails where it is required."""
    programs, give_up = SHARED / "kube", pytest.fail if required() else pytest.skip
    if why := missing(programs):
        give_up(why)
    with ExitStack() as stack:
        try:
            node = stack.enter_context(running(programs))
        except NodeError as error:
            give_up(str(error))
        yield node


def need_kubectl(version: str) -> Path:
    """kubectl "1.33" or "1.20"; without it the test is skipped, or fails where it is required."""
    return _need(kubectl_120(), NO_OLD_KUBECTL) if version == "1.20" else _need(kubectl(), NO_ASSETS)


def need_crds(release: str) -> Path:
    """The folder with the CRDs of Tinkerbell "v0.21" or "v0.25"; without it the test is skipped, or fails."""
    folder = SHARED / "data" / "crds" / release
    return _need(folder if folder.is_dir() else None, f"no CRDs of Tinkerbell {release} in {folder}")


def _need(path: Path | None, why: str) -> Path:
    if path is None:
        (pytest.fail if required() else pytest.skip)(why)
    return path


@pytest.fixture(scope="session")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """One real API server for the whole session, with Tinkerbell's CRDs and a user "lab" without rights."""
    with Kube(need_assets(), tmp_path_factory.mktemp("kube"), users=["lab"]) as server:
        server.apply_crds(need_crds("v0.21"))
        yield server

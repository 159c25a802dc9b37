"""One guard and one cluster per test, under each shell; whatever is left is killed at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guard.harness import Client, Cluster, client


@pytest.fixture(params=["dash", "busybox ash", "bash"])
def shell(request: pytest.FixtureRequest) -> str:
    words = str(request.param)
    if not shutil.which(words.split()[0]):
        pytest.skip(f"no {words} here")
    return words


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    one = Cluster(tmp_path / "bin")
    yield one
    one.door.stop()


@pytest.fixture
def guard(shell: str, tmp_path: Path, cluster: Cluster) -> Iterator[Client]:
    one = client(shell, tmp_path, str(cluster.kubectl))
    yield one
    for pid in one.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

"""One guard and one cluster per test, under each shell; whatever is left is killed at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guard.harness import Client, FakeCluster, client


@pytest.fixture(params=["dash", "busybox ash", "bash"])
def shell(request: pytest.FixtureRequest) -> str:
    words = str(request.param)
    if not shutil.which(words.split()[0]):
        pytest.skip(f"no {words} here")
    return words


@pytest.fixture
def cluster(tmp_path: Path) -> FakeCluster:
    return FakeCluster(tmp_path / "cluster")


@pytest.fixture
def guard(shell: str, tmp_path: Path, cluster: FakeCluster) -> Iterator[Client]:
    one = client(shell, tmp_path, cluster.folder)
    yield one
    for pid in one.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

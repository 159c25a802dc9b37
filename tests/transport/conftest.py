from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metalfoundry.transport.clock import SystemClock
from metalfoundry.transport.connection import SshTimeouts
from metalfoundry.transport.ssh import SshTransport
from tests.transport.servers import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World.make(tmp_path / "home")
    yield world
    world.close()


@pytest.fixture
def connect(world: World) -> Iterator[Callable[..., SshTransport]]:
    """A new transport of this user; keyword arguments are SshTimeouts's."""
    made: list[SshTransport] = []

    def make(**patience: float) -> SshTransport:
        made.append(SshTransport(SystemClock(), files=world.files, timeouts=SshTimeouts(**patience)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for transport in made:
        transport.close()

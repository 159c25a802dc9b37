"""What a machine keeps of each of its boots, and what it shares with the others of its lab."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import asyncssh

from metalfoundry.lab.clock import MachineClock
from metalfoundry.lab.ssh.event_loop import LoopThread
from metalfoundry.lab.tinkerbell.log import ControlPlaneLog
from metalfoundry.lab.tinkerbell.smee import Smee
from metalfoundry.lab.tinkerbell.tink_server import TinkServer


@dataclass(frozen=True, slots=True)
class BootRecord:
    """One boot that came up: what, when (monotonic seconds and UTC), and its boot id."""

    what: str
    mono: float
    at: datetime
    boot_id: str


@dataclass(frozen=True, slots=True)
class SharedParts:
    """What every machine of a lab shares."""

    loop: LoopThread
    pace: MachineClock
    journal: ControlPlaneLog
    server: TinkServer
    smee: Smee
    client: asyncssh.SSHKey

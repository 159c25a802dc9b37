"""A fleet through one OpenSSH sshd with stock limits: one connection, no session refused, nothing lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from metalfoundry import Foundry
from metalfoundry.lab.lab import Lab
from metalfoundry.model.events import Retried
from metalfoundry.runs.fleet import Policy
from metalfoundry.transport.connection import SshTimeouts
from tests.lab.bench import Ran, clean, hardware, tune
from tests.real.sshd import SshdJump

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
SPEED = 5.0  # no installation is over before a busy computer, which has sixteen of them, has closed netboot
NAMES = [f"colo-{number:02d}" for number in range(16)]
SESSION = re.compile(r"channel (\d+): (new session \[server-session\]|rcvd close)")


class StockSshd(SshdJump):
    """Debian's limits, spelt out; a packager's may differ."""

    limits = "MaxSessions 10\nMaxStartups 10:30:100\n"
    level = "DEBUG2"


def most_sessions(log: str) -> int:
    """How many sessions we held at a time, in the order in which sshd heard of it: one that we have closed, and that it
    still counts while it is busy, is not ours.
    """
    held: set[str] = set()
    most = 0
    for channel, what in SESSION.findall(log):
        (held.discard if what == "rcvd close" else held.add)(channel)
        most = max(most, len(held))
    return most


def test_a_fleet_within_the_limits_of_a_stock_sshd(tmp_path: Path) -> None:
    with Lab(tmp_path, speed=SPEED, servers=NAMES, jump=StockSshd) as lab:
        tune(lab, timeouts=dict.fromkeys(("netboot", "install", "boot", "verify"), "90s"), name=NAMES[0])
        before = {name: hardware(lab, name) for name in NAMES}
        ran = Ran()
        with Foundry.load(lab.inventory, sinks=[ran]) as foundry:
            fleet = foundry.provision_many(foundry.servers("all"), policy=Policy(parallel=len(NAMES), canary=0))
            ends = {report.server: (report.verdict, report.closed, str(report.error)) for report in fleet}
        assert ends == dict.fromkeys(NAMES, ("provisioned", True, "None"))
        assert all(clean(lab, before[name], name) for name in NAMES)
        assert lab.jump.accepted == 1
        retried = [each for each in ran.events if isinstance(each, Retried)]
        assert [each for each in retried if each.host not in NAMES] == []  # a server may go down while it is asked
        log = (tmp_path / "sshd" / "log").read_text()
        assert "no more sessions" not in log
        assert 0 < most_sessions(log) <= SshTimeouts().sessions + 1  # with the one that asks a silent line

"""A machine whose sshd answers, and which does not say what it is in time: nothing is begun on a guess."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

import pytest

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.model.errors import MachineSlow
from metalfoundry.model.events import Notice
from metalfoundry.runs.options import Options
from metalfoundry.runs.phases import preflight
from metalfoundry.transport.clock import Deadline
from tests.runs.scene import Scene

SLOW = MachineSlow("anvil answers SSH, but has not said what it is within 30 s", next="raise timeouts.facts", sent=True)


def looked() -> Future[MachineFacts]:
    looking: Future[MachineFacts] = Future()
    looking.set_exception(SLOW)
    return looking


def test_before_a_reboot_of_ours_a_slow_machine_ends_the_run() -> None:
    scene = Scene(before=None)
    with pytest.raises(MachineSlow) as caught:
        preflight._take_facts(scene.run, looked(), Deadline.after(scene.clock, 10.0))
    assert "timeouts.facts" in caught.value.next
    assert caught.value.exit_code == 10


def test_where_somebody_else_reboots_a_slow_machine_is_noted() -> None:
    scene = Scene(before=None)
    scene.run.options = replace(Options(), reboot=False)
    preflight._take_facts(scene.run, looked(), Deadline.after(scene.clock, 10.0))
    assert scene.run.target.ssh_error and not scene.run.target.listens
    assert any(isinstance(event, Notice) and "has not said what it is" in event.text for event in scene.events)

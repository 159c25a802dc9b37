"""A machine whose sshd answers, and which does not say what it is in time: nothing is begun on a guess."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace

import pytest

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.model.errors import AuthError, HostKeyError, MachineSlow, TransportError
from metalfoundry.model.events import Notice
from metalfoundry.model.inventory_fields import Rung
from metalfoundry.model.resources import Hardware
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


BMC = Hardware.of({"metadata": {"name": "anvil"}, "spec": {"bmcRef": {"kind": "Machine", "name": "bmc-anvil"}}})


@pytest.mark.parametrize("error", [AuthError("anvil refuses every key"), HostKeyError("anvil shows another key")])
@pytest.mark.parametrize("rungs", [("ssh",), ("ssh", "bmc"), ("bmc",), ("bmc", "person")])
def test_who_lets_nobody_in_is_power_cycled_where_nobody_asks_its_ssh_and_who_may_be_another_is_not(
    error: TransportError, rungs: tuple[Rung, ...]
) -> None:
    scene, looking = Scene(before=None), Future[MachineFacts]()
    looking.set_exception(error)
    scene.target(hardware=BMC)
    scene.run.server = scene.run.server.model_copy(update={"reboot": rungs})
    goes_on = "ssh" not in rungs and isinstance(error, AuthError)
    with nullcontext() if goes_on else pytest.raises(type(error)):
        preflight._take_facts(scene.run, looking, Deadline.after(scene.clock, 10.0))
    assert scene.run.target.ssh_error == (str(error) if goes_on else "")

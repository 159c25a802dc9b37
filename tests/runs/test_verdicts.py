"""Who is it that answers? Every verdict over a machine, as pure functions over what it said."""

from __future__ import annotations

from typing import Any

import pytest

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.model.errors import (
    ConnectError,
    NeverInstalled,
    TransportError,
    VerificationFailed,
    WorkflowFailed,
    WorkflowTimedOut,
)
from metalfoundry.model.events import MachineSeen
from metalfoundry.runs.finish import Verdict, judge
from metalfoundry.runs.install import _judge_boot, _never, _through, raise_if_ended
from tests.runs.scene import HOOK, NEW, OLD, Scene, changed

ASKED: dict[str, Any] = {
    "os": "Ubuntu 24.04",
    "hostname": "anvil",
    "marker": "/done",
    "cloud_init": True,
    "commands": ("test -d /opt",),
}
FULL = changed(NEW, checks=((0, ""),))


def test_the_new_system_as_asked() -> None:
    assert judge(Scene(**ASKED).job, FULL) == Verdict(True, ())


def test_a_host_name_may_be_a_full_one() -> None:
    assert judge(Scene(hostname="anvil").job, changed(NEW, hostname="anvil.colo.example")).problems == ()
    assert judge(Scene(hostname="anvil.colo.example").job, changed(NEW, hostname="anvil.colo.example")).problems == ()


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (changed(FULL, os_name="Ubuntu 22.04.5 LTS"), "it is Ubuntu 22.04.5 LTS, not Ubuntu 24.04"),
        (changed(FULL, os_name=""), "it is an unknown system, not Ubuntu 24.04"),
        (changed(FULL, hostname="ubuntu"), "its host name is ubuntu, not anvil"),
        (changed(FULL, marker=""), "there is no /done"),
        (changed(FULL, marker="installed 1"), "/done is the one of before"),
        (changed(FULL, cloud_init="status: running"), "cloud-init: status: running"),
        (changed(FULL, cloud_init=""), "cloud-init: does not answer"),
        (changed(FULL, checks=((1, "no such folder"),)), "`test -d /opt` ended with 1: no such folder"),
        (changed(FULL, checks=((1, ""),)), "`test -d /opt` ended with 1"),
        (changed(FULL, checks=()), "not all commands could be run"),
    ],
)
def test_what_is_still_wrong_with_the_new_system(seen: MachineFacts, words: str) -> None:
    scene = Scene(before=changed(OLD, marker="installed 1"), **ASKED)
    assert judge(scene.job, seen) == Verdict(True, (words,))


def test_all_problems_are_told() -> None:
    assert len(judge(Scene(**ASKED).job, MachineFacts(boot_id="b", machine_id="m")).problems) == 5


@pytest.mark.parametrize("fact", ["machine_id", "host_key", "os_name", "marker"])
def test_any_one_fact_proves_a_new_system(fact: str) -> None:
    same = changed(OLD, boot_id="boot-2")
    scene = Scene(before=OLD)
    assert judge(scene.job, changed(same, **{fact: "another"})) == Verdict(True, ())


@pytest.mark.parametrize(
    "seen",
    [
        changed(OLD, boot_id="boot-2"),
        changed(OLD, boot_id="boot-2", machine_id="", host_key="", os_name=""),
        changed(OLD, boot_id="boot-2", uptime=5.0, hostname="other", clock=1.0),
    ],
)
def test_the_old_system_with_another_boot_id_is_a_failure(seen: MachineFacts) -> None:
    with pytest.raises(VerificationFailed, match="came back with the old system") as caught:
        judge(Scene().job, seen)
    assert caught.value.exit_code == 33


def test_the_old_system_not_yet_rebooted_is_waited_for() -> None:
    assert judge(Scene().job, changed(OLD, uptime=86401.0)) == Verdict(False, ("the system of before, not rebooted",))


def test_the_installer_is_waited_for_and_a_second_one_is_a_failure() -> None:
    scene = Scene()
    assert judge(scene.job, HOOK) == Verdict(False, ("still in HookOS",))
    assert judge(scene.job, HOOK) == Verdict(False, ("still in HookOS",))
    with pytest.raises(VerificationFailed, match="booted the installer again"):
        judge(scene.job, changed(HOOK, boot_id="boot-hook-2"))


def test_who_sat_in_the_installer_before_needs_only_another_boot() -> None:
    scene = Scene(before=HOOK)
    assert not judge(scene.job, HOOK).new
    assert judge(scene.job, changed(OLD, boot_id="x")) == Verdict(True, ())


def test_who_was_silent_before_is_judged_by_what_was_asked_alone() -> None:
    scene = Scene(before=None, **ASKED)
    assert judge(scene.job, FULL) == Verdict(True, ())
    assert judge(scene.job, changed(OLD, checks=((0, ""),))).problems != ()
    assert not judge(scene.job, HOOK).new


def test_the_boot_that_is_waited_for() -> None:
    scene = Scene()
    _judge_boot(scene.job, OLD)
    assert scene.events == []
    _judge_boot(scene.job, HOOK)
    _judge_boot(scene.job, HOOK)
    assert scene.events == [MachineSeen("HookOS", "boot-hook")]
    assert scene.job.hook_boot_id == "boot-hook"


def test_a_boot_from_the_disk_is_told_at_once() -> None:
    scene = Scene()
    with pytest.raises(NeverInstalled, match="rebooted into Debian") as caught:
        _judge_boot(scene.job, changed(OLD, boot_id="boot-2", uptime=7.0))
    assert caught.value.evidence == "uptime 7 s"
    assert scene.events == [MachineSeen("Debian GNU/Linux 11 (bullseye), from its disk", "boot-2")]


def test_a_system_of_which_nothing_was_known_is_not_judged() -> None:
    scene = Scene(before=None)
    _judge_boot(scene.job, OLD)
    assert scene.events == []


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (None, "nothing was heard of it"),
        (ConnectError("refused", where="anvil"), "nothing was heard of it (refused (anvil))"),
        (OLD, "it has not rebooted: the boot id is the same"),
        (HOOK, "HookOS runs, but no agent has reported"),
    ],
)
def test_why_the_installer_was_never_reached(last: MachineFacts | TransportError | None, words: str) -> None:
    scene = Scene()
    scene.workflow("PENDING", "PENDING", "PENDING")
    error = _never(scene.job, last)
    assert error.exit_code == 30
    assert error.what == f"anvil did not reach the installer within 600 s: {words}"
    assert error.where.endswith("is PENDING")
    assert error.next


@pytest.mark.parametrize(
    ("state", "states", "through"),
    [
        ("PENDING", ("PENDING", "PENDING"), False),
        ("RUNNING", ("RUNNING", "PENDING"), False),
        ("RUNNING", ("SUCCESS", "PENDING"), False),
        ("RUNNING", ("SUCCESS", "RUNNING"), True),
        ("POST", ("SUCCESS", "SUCCESS"), True),
        ("SUCCESS", ("SUCCESS", "SUCCESS"), True),
    ],
)
def test_an_installation_is_through_at_its_end_or_at_its_boot_action(
    state: str, states: tuple[str, ...], through: bool
) -> None:
    scene = Scene()
    scene.workflow(state, *states)
    assert _through(scene.job) is through


def test_a_last_action_that_does_not_boot_is_no_end() -> None:
    scene = Scene()
    scene.workflow("RUNNING", "SUCCESS", "RUNNING", last="write-netplan")
    assert not _through(scene.job)


@pytest.mark.parametrize(("state", "kind"), [("FAILED", WorkflowFailed), ("TIMEOUT", WorkflowTimedOut)])
def test_a_workflow_that_was_given_up(state: str, kind: type[Exception]) -> None:
    scene = Scene()
    scene.workflow(state, "SUCCESS", state)
    with pytest.raises(kind, match="at action reboot-into-os"):
        raise_if_ended(scene.job)


@pytest.mark.parametrize("state", ["", "PREPARING", "PENDING", "RUNNING", "POST", "SUCCESS"])
def test_a_workflow_that_goes_on(state: str) -> None:
    scene = Scene()
    scene.workflow(state, "PENDING")
    raise_if_ended(scene.job)

"""Who is it that answers? Every verdict over a machine, as pure functions over what it said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.diagnosis.verification import System
from metalfoundry.model.errors import (
    ConnectError,
    IdentityError,
    NeverInstalled,
    TransportError,
    VerificationFailed,
    WorkflowFailed,
    WorkflowTimedOut,
)
from metalfoundry.model.events import CommandEnded, CommandStarted, MachineSeen, Notice
from metalfoundry.runs.phases.boot import _judge_boot, _never
from metalfoundry.runs.phases.install import _through
from metalfoundry.runs.verdict import judge
from tests.runs.scene import ELAPSED, HOOK, MAC, NEW, OLD, T0, Scene, changed

ASKED: dict[str, Any] = {
    "os": "Ubuntu 24.04",
    "hostname": "anvil",
    "marker": "/done",
    "cloud_init": True,
    "commands": ("test -d /opt",),
}
FULL = changed(NEW, checks=((0, ""),))


def test_the_new_system_as_asked() -> None:
    answer = judge(Scene(**ASKED).run, FULL)
    assert (answer.system, answer.problems, answer.good) == (System.NEW, (), True)


def test_a_host_name_may_be_a_full_one() -> None:
    assert judge(Scene(hostname="anvil").run, changed(NEW, hostname="anvil.colo.example")).problems == ()
    assert judge(Scene(hostname="anvil.colo.example").run, changed(NEW, hostname="anvil.colo.example")).problems == ()


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (changed(FULL, os_name="Ubuntu 22.04.5 LTS"), "it is Ubuntu 22.04.5 LTS, not Ubuntu 24.04"),
        (changed(FULL, os_name=""), "it is an unknown system, not Ubuntu 24.04"),
        (changed(FULL, hostname="ubuntu"), "its host name is ubuntu, not anvil"),
        (changed(FULL, marker=""), "there is no /done"),
        (changed(FULL, cloud_init="status: running"), "cloud-init: status: running"),
        (changed(FULL, cloud_init=""), "cloud-init: does not answer"),
        (changed(FULL, checks=((1, "no such folder"),)), "`test -d /opt` ended with 1: no such folder"),
        (changed(FULL, checks=((1, ""),)), "`test -d /opt` ended with 1"),
        (changed(FULL, checks=()), "not all commands could be run"),
    ],
)
def test_what_is_still_wrong_with_the_new_system(seen: MachineFacts, words: str) -> None:
    answer = judge(Scene(before=changed(OLD, marker="installed 1"), **ASKED).run, seen)
    assert (answer.system, answer.problems, answer.good) == (System.NEW, (words,), False)


def test_all_problems_are_told() -> None:
    seen = MachineFacts(boot_id="b", machine_id="m", macs=(MAC,))
    assert len(judge(Scene(**ASKED).run, seen).problems) == 5


AGAIN = changed(OLD, boot_id="boot-2", uptime=5.0, clock=T0 + ELAPSED)


@pytest.mark.parametrize("fact", ["machine_id", "root", "os_id"])
def test_what_an_old_system_does_not_change_proves_a_new_one(fact: str) -> None:
    assert judge(Scene().run, changed(AGAIN, **{fact: "another"})).good


@pytest.mark.parametrize(
    "seen",
    [
        changed(AGAIN, os_name="Debian GNU/Linux 11.9 (bullseye)"),
        changed(AGAIN, hostname="other"),
        changed(AGAIN, host_key="SHA256:made-anew"),
        changed(AGAIN, host_key="SHA256:made-anew", born=(("host key", T0 + 150.0),)),
        changed(AGAIN, machine_id="", host_key="", os_name="", os_id="", root=""),
        changed(AGAIN, marker=""),
    ],
)
def test_what_an_old_system_changes_by_itself_proves_nothing(seen: MachineFacts) -> None:
    scene = Scene(before=changed(OLD, marker="installed 1"))
    try:
        assert judge(scene.run, seen).system is System.UNPROVEN
    except VerificationFailed as error:
        assert "came back with the old system" in error.what


@pytest.mark.parametrize("name", ["root", "machine-id", "marker"])
def test_what_was_born_after_the_reboot_proves_a_new_system_of_which_nothing_was_known(name: str) -> None:
    scene = Scene(before=None)
    assert judge(scene.run, changed(AGAIN, marker="x 1", born=((name, T0 + 100.0),))).good


@pytest.mark.parametrize("moment", [T0 - 10.0, T0 - 9e6, T0 + ELAPSED + 3600.0])
def test_what_was_born_earlier_or_is_not_born_yet_proves_nothing(moment: float) -> None:
    scene = Scene(before=None)
    seen = changed(AGAIN, marker="x 1", born=tuple((name, moment) for name in ("root", "machine-id", "marker")))
    assert judge(scene.run, seen).system is System.UNPROVEN


def test_the_machines_own_clock_may_be_years_off() -> None:
    scene = Scene(before=None)
    assert NEW.clock is not None
    born = tuple((name, moment - 3e8) for name, moment in NEW.born)
    assert judge(scene.run, changed(NEW, clock=NEW.clock - 3e8, born=born)).good


@pytest.mark.parametrize("born", [(("marker", T0 - 9e6),), ()])
def test_a_marker_from_the_image_does_not_make_a_good_server_bad(born: tuple[tuple[str, float], ...]) -> None:
    scene = Scene(before=changed(OLD, marker="installed 1"), marker="/done")
    assert judge(scene.run, changed(NEW, marker="installed 1", born=born)).good


def test_a_baked_image_is_proven_by_a_marker_that_is_written_anew() -> None:
    scene = Scene(before=changed(OLD, marker="installed 1"), marker="/done")
    assert judge(scene.run, changed(AGAIN, marker="installed 2", born=(("marker", T0 + 190.0),))).good


def test_a_baked_image_whose_first_boot_goes_on_is_waited_for() -> None:
    asked: dict[str, Any] = {"marker": "/done", "cloud_init": True}
    waiting = changed(AGAIN, cloud_init="status: running")
    assert judge(Scene(**asked).run, waiting).system is System.OLD
    with pytest.raises(VerificationFailed, match="old system"):
        judge(Scene(**asked).run, changed(AGAIN, cloud_init="status: done"))
    with pytest.raises(VerificationFailed, match="old system"):
        judge(Scene(marker="/done").run, changed(AGAIN, uptime=90.0))
    assert judge(Scene(marker="/done").run, AGAIN).system is System.OLD


def test_the_old_system_with_another_boot_id_is_a_failure() -> None:
    with pytest.raises(VerificationFailed, match="came back with the old system") as caught:
        judge(Scene().run, AGAIN)
    assert caught.value.exit_code == 33


@pytest.mark.parametrize("now", [None, HOOK])
def test_an_old_system_that_an_earlier_run_wrote_down_is_known(now: MachineFacts | None) -> None:
    scene = Scene(before=None, **ASKED)
    scene.known(MachineFacts.from_marks(OLD.marks), now=now)
    with pytest.raises(VerificationFailed, match="came back with the old system"):
        judge(scene.run, AGAIN)
    assert judge(scene.run, FULL).good


@pytest.mark.parametrize("now", [None, HOOK])
def test_a_system_of_which_nothing_is_known_is_not_new_because_it_boots(now: MachineFacts | None) -> None:
    scene = Scene(before=now, os="Debian")
    answer = judge(scene.run, AGAIN)
    assert (answer.system, answer.problems) == (System.UNPROVEN, ())
    assert "nothing is known of the system before" in answer.why


def test_every_system_that_ran_since_a_run_ended_well_is_an_old_one() -> None:
    scene = Scene()
    scene.known(OLD, changed(NEW, boot_id="boot-3"))
    with pytest.raises(VerificationFailed, match="old system"):
        judge(scene.run, AGAIN)
    with pytest.raises(VerificationFailed, match="old system"):
        judge(scene.run, changed(NEW, born=()))
    assert judge(scene.run, changed(NEW, machine_id="id-third", born=())).good


def test_the_old_system_not_yet_rebooted_is_waited_for() -> None:
    assert judge(Scene().run, changed(OLD, uptime=86401.0)).system is System.NOT_REBOOTED


def test_the_installer_is_waited_for_and_a_second_one_is_a_failure() -> None:
    scene = Scene()
    assert judge(scene.run, HOOK).system is System.INSTALLER
    assert judge(scene.run, HOOK).system is System.INSTALLER
    with pytest.raises(VerificationFailed, match="booted the installer again"):
        judge(scene.run, changed(HOOK, boot_id="boot-hook-2"))


STRANGERS = {
    "another MAC": changed(FULL, macs=("00:21:9b:00:00:01",)),
    "another serial number": changed(FULL, serial="9XXXXX1"),
    "a recycled address": changed(OLD, boot_id="s", macs=("00:21:9b:00:00:02",), serial="8AAAAA1", machine_id="s"),
    "in its installer": changed(HOOK, macs=("00:21:9b:00:00:03",)),
}


@pytest.mark.parametrize("name", STRANGERS)
@pytest.mark.parametrize("look", [judge, _judge_boot])
def test_another_machine_is_certain_when_it_goes_on_answering(name: str, look: Callable[..., object]) -> None:
    scene = Scene(**ASKED)
    scene.applied()
    look(scene.run, STRANGERS[name])
    scene.clock.advance(5.0)
    look(scene.run, STRANGERS[name])
    assert len([event for event in scene.events if isinstance(event, Notice)]) == 1
    scene.clock.advance(6.0)
    with pytest.raises(IdentityError, match=r"the machine at 192.0.2.87 is not anvil: it has .* this server has"):
        look(scene.run, STRANGERS[name])


def test_a_stranger_that_gives_way_to_the_right_machine_is_forgotten() -> None:
    scene = Scene(**ASKED)
    assert judge(scene.run, STRANGERS["another MAC"]).system is System.STRANGER
    scene.clock.advance(60.0)
    assert judge(scene.run, FULL).good
    assert judge(scene.run, STRANGERS["another MAC"]).system is System.STRANGER


def test_a_machine_that_tells_nothing_of_itself_is_not_proven_to_be_this_one() -> None:
    scene = Scene(**ASKED)
    answer = judge(scene.run, changed(FULL, macs=()))
    assert answer.system is System.UNPROVEN
    assert "which machine it is" in answer.why
    assert judge(scene.run, changed(FULL, macs=(), serial=OLD.serial)).good


def test_the_boot_that_is_waited_for() -> None:
    scene = Scene()
    _judge_boot(scene.run, OLD)
    assert scene.events == []
    _judge_boot(scene.run, HOOK)
    _judge_boot(scene.run, HOOK)
    assert scene.events == [MachineSeen("HookOS", "boot-hook")]
    assert scene.run.hook_boot_id == "boot-hook"


def test_a_boot_from_the_disk_is_told_at_once() -> None:
    scene = Scene()
    scene.applied()
    with pytest.raises(NeverInstalled, match="rebooted into Debian") as caught:
        _judge_boot(scene.run, changed(OLD, boot_id="boot-2", uptime=7.0))
    assert caught.value.evidence == "uptime 7 s"
    told = [event for event in scene.events if not isinstance(event, CommandStarted | CommandEnded)]
    assert told == [MachineSeen("Debian GNU/Linux 11 (bullseye), from its disk", "boot-2")]


def test_a_system_of_which_nothing_was_known_is_not_judged() -> None:
    scene = Scene(before=None)
    _judge_boot(scene.run, OLD)
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
    error = _never(scene.run, last)
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
    assert _through(scene.run) is through


def test_a_last_action_that_does_not_boot_is_no_end() -> None:
    scene = Scene()
    scene.workflow("RUNNING", "SUCCESS", "RUNNING", last="write-netplan")
    assert not _through(scene.run)


@pytest.mark.parametrize(("state", "kind"), [("FAILED", WorkflowFailed), ("TIMEOUT", WorkflowTimedOut)])
def test_a_workflow_that_was_given_up(state: str, kind: type[Exception]) -> None:
    scene = Scene()
    scene.workflow(state, "SUCCESS", state)
    with pytest.raises(kind, match="at action reboot-into-os"):
        scene.run.raise_if_ended()


@pytest.mark.parametrize("state", ["", "PREPARING", "PENDING", "RUNNING", "POST", "SUCCESS"])
def test_a_workflow_that_goes_on(state: str) -> None:
    scene = Scene()
    scene.workflow(state, "PENDING")
    scene.run.raise_if_ended()

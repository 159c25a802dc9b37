"""The window in whole runs: an API server that is away, a claim that is taken away, a Workflow that is deleted."""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from metalfoundry import Options
from metalfoundry.commands.claims import RUN
from metalfoundry.foundry import Foundry
from metalfoundry.lab.kubernetes.api_server import MemoryStore
from metalfoundry.lab.kubernetes.store import NotFound, Object
from metalfoundry.lab.lab import Lab
from metalfoundry.lab.scenarios import SCENARIOS
from metalfoundry.model.bus import Sink
from metalfoundry.model.events import CommandStarted, Notice, PhaseStarted, Record, WindowChanged, WorkflowChanged
from metalfoundry.model.inventory_reader import load
from metalfoundry.runs.provision_run import ProvisionRun
from tests.lab.bench import (
    NAME,
    SPEED,
    WORKFLOW,
    clean,
    hardware,
    is_open,
    need_ssh,
    provision,
    tune,
    version,
    workflow,
)

AFTER_THE_CLAIM = ["Apply", "Open", "Boot", "Close", "Install", "Verify", "Release"]


def at(phase: str, deed: Callable[[], object]) -> Sink:
    """A sink that does something once, when the phase begins."""
    done: list[object] = []

    def sink(record: Record) -> None:
        if isinstance(record.event, PhaseStarted) and record.event.title == phase and not done:
            done.append(deed())

    return sink


@pytest.mark.parametrize("phase", AFTER_THE_CLAIM)
def test_a_run_outlives_an_api_server_that_is_away_for_a_moment(tmp_path: Path, phase: str) -> None:
    with Lab(tmp_path / "lab", speed=SPEED, servers=[NAME]) as lab:
        assert lab.door is not None
        faults, before = lab.door.faults, hardware(lab)

        def away() -> None:
            faults.api_down()
            threading.Timer(1.0, faults.api_up).start()

        tune(lab, timeouts={"netboot": "60s", "install": "60s"})
        ran = provision(lab, at=at(phase, away))
        assert ran.json["exit_code"] == 0, ran.json["error"]
        assert ran.json["netboot"]["closed"] is True
        assert clean(lab, before)


@pytest.mark.parametrize("phase", ["Clean up", "Apply", "Open", "Boot", "Close", "Install", "Verify", "Release"])
def test_a_claim_that_is_taken_away_leaves_no_window(tmp_path: Path, phase: str) -> None:
    with Lab(tmp_path / "lab", "slow", speed=SPEED, servers=[NAME]) as lab:
        if phase == "Clean up":  # there is something to clean up after a run whose Workflow was kept
            provision(lab, options=Options(keep_workflow=True))

        def annotate() -> None:
            def without(obj: Object) -> Object:
                obj["metadata"]["annotations"].pop(RUN)
                return obj

            assert isinstance(lab.store, MemoryStore)
            lab.store.change("hardware", NAME, without)

        ran = provision(lab, at=at(phase, annotate))
        code = 0 if phase == "Release" else 20  # a verified server is provisioned, whatever becomes of the claim
        assert ran.json["exit_code"] == code, ran.json["error"]
        assert ran.phases[phase] != "skipped"
        assert not is_open(lab)
        assert ran.json["netboot"]["closed"] is True


def test_what_opens_after_the_workflow_was_deleted_in_verify_is_closed(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", speed=SPEED, servers=[NAME]) as lab:
        opened: list[str] = []
        machine = lab.machine(NAME)

        def interfere() -> None:
            with suppress(NotFound):
                lab.store.delete("workflows", WORKFLOW)
            # open any earlier, it would boot the installer again
            assert machine.wait(lambda: machine.state in ("booting", "new"))
            path = "/spec/interfaces/0/netboot/allowPXE"
            opened.append(lab.store.patch("hardware", NAME, [{"op": "add", "path": path, "value": True}])["kind"])

        ran = provision(lab, at=at("Verify", interfere))
        assert opened
        assert not is_open(lab)
        assert ran.json["exit_code"] == 0, ran.json["error"]


def test_from_apply_on_the_window_of_a_workflow_that_toggles_is_shown_open(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", speed=SPEED, servers=[NAME]) as lab:
        ran = provision(lab)
        opened = [record.phase for record in ran.records if isinstance(record.event, WindowChanged)]
        assert opened[0] == "Apply"
        states = [event.state for event in ran.each(WindowChanged)]  # type: ignore[attr-defined]
        assert states == ["open", "closed"]


def test_a_machine_that_answers_nothing_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", speed=SPEED, servers=[NAME]) as lab:
        stub = lab.folder / "bin" / "ssh"
        stub.write_text("#!/bin/sh\necho 'ssh: connect to host x port 22: No route to host' >&2\nexit 255\n")
        stub.chmod(0o755)
        lab.machine(NAME).stop()
        before = version(lab)
        ran = provision(lab)
        assert ran.json["exit_code"] == 10, ran.json["error"]
        assert version(lab) == before
        assert workflow(lab) is None


def test_who_is_to_reboot_it_is_told_while_netboot_is_open(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", speed=SPEED, servers=[NAME]) as lab:
        told: list[bool] = []

        def person(record: Record) -> None:
            if isinstance(record.event, Notice) and record.event.text.startswith(f"reboot {NAME} now"):
                told.append(is_open(lab))
                lab.machine(NAME).reboot()

        ran = provision(lab, options=Options(reboot=False), at=person)
        assert told == [True]
        assert ran.json["exit_code"] == 0, ran.json["error"]


def test_the_command_by_hand_works_through_the_jump_host_with_our_own_key(tmp_path: Path) -> None:
    need_ssh()
    with Lab(tmp_path / "lab", speed=SPEED, servers=[NAME]) as lab:
        inventory = load(lab.inventory)
        with Foundry(inventory) as foundry:
            run = ProvisionRun(foundry._site(), inventory.server(NAME), Options(), "run-1")
            run.window.claim.take(None)
            run.window.open()
            assert is_open(lab)
            command = run.window.by_hand()
            environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
            done = subprocess.run(
                ["sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment
            )
            assert done.returncode == 0, (command, done.stderr)
            assert shlex.split(command)[0] == "ssh"
            assert f"hardware.v1alpha1.tinkerbell.org/{NAME}" in command  # a name that looks like an option is none
            assert not is_open(lab)
            run.window.end("the test is over")


@pytest.mark.parametrize(
    ("refusal", "code"), [(Options(template="nosuch"), 10), (Options(), 11)], ids=["a Template", "an agent"]
)
def test_a_run_that_is_refused_says_what_it_read_of_a_window_that_is_not_its_own(
    tmp_path: Path, refusal: Options, code: int
) -> None:
    story = replace(SCENARIOS["stray-window"], right_agent=code != 11)
    with Lab(tmp_path / "lab", story, speed=SPEED) as lab:
        before = hardware(lab)
        assert is_open(lab)
        ran = provision(lab, options=refusal)
        assert ran.json["exit_code"] == code, ran.json["error"]
        assert ran.json["netboot"]["closed"] is False
        assert "allowPXE is still true" in ran.json["netboot"]["proof"]["hardware"]
        assert hardware(lab) == before


def test_a_run_that_is_refused_before_it_has_read_anything_says_nothing_of_netboot(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", "stray-window", speed=SPEED) as lab:
        assert lab.door is not None
        lab.door.faults.api_down()
        ran = provision(lab)
        assert ran.json["exit_code"] == 10, ran.json["error"]
        assert (ran.json["netboot"]["closed"], ran.json["netboot"]["proof"]) == (None, None)


@pytest.mark.parametrize("scenario", ["installs", "no-toggle"])
def test_the_first_command_after_the_installer_is_seen_closes(tmp_path: Path, scenario: str) -> None:
    with Lab(tmp_path / "lab", scenario, speed=SPEED, servers=[NAME]) as lab:
        events = provision(lab).events
        installer = next(
            place
            for place, event in enumerate(events)
            if isinstance(event, WorkflowChanged) and event.state == "RUNNING"
        )
        said = (event for event in events[installer:] if isinstance(event, CommandStarted) and not event.waiting)
        first = next(said)
        assert first.effect == "restore"
        assert "allowPXE" in first.text and "patch" in first.text

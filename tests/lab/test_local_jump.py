"""`jump: local`: the computer with kubectl is the one that we run on, as on a control-plane node or a CI runner."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metalfoundry import Foundry
from metalfoundry.lab.lab import Lab
from metalfoundry.runs.options import Options
from tests.lab.bench import NAME, SPEED, call, clean, guards, hardware, is_open, tune
from tests.lab.test_cancel import Canceller, begins
from tests.lab.test_steering import killed_in
from tests.waiting import until


def here(lab: Lab, patch: pytest.MonkeyPatch) -> Lab:
    """The lab whose jump host is this computer, with its kubectl on our PATH."""
    for name, value in lab.jump.environment.items():
        patch.setenv(name, value)
    tune(lab, site={"jump": "local"})
    return lab


def test_a_server_is_provisioned_with_no_ssh_to_a_jump_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lab(tmp_path, speed=SPEED) as lab:
        here(lab, monkeypatch)
        before = hardware(lab)
        ran = call(lab, "provision", NAME, "--yes", "--json")
        report = json.loads(ran.stdout)
        assert (ran.returncode, report["verdict"]) == (0, "provisioned"), ran.stderr
        assert report["netboot"]["closed"] is True
        assert clean(lab, before)
        assert (lab.machine(NAME).state, lab.jump.accepted) == ("new", 0)


def test_doctor_looks_at_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lab(tmp_path, speed=SPEED) as lab:
        here(lab, monkeypatch)
        ran = call(lab, "doctor", "--json")
        checks = {check["check"]: check for check in json.loads(ran.stdout)["checks"] if not check["server"]}
        assert {check["state"] for check in checks.values()} == {"passed"}, ran.stdout
        assert checks["jump-host"]["what"] == "localhost: it is this computer"
        assert lab.jump.accepted == 0


def test_the_guard_outlives_a_client_that_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lab(tmp_path, speed=1) as lab:
        here(lab, monkeypatch)
        killed_in(lab, "Boot")
        assert guards(lab)
        lab.machine(NAME).reboot()
        until(lambda: not is_open(lab), what="nobody closes")


def test_a_cancel_closes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lab(tmp_path, "dead", speed=SPEED) as lab:
        here(lab, monkeypatch)
        before = hardware(lab)
        report, foundry = Canceller(begins("Boot")).run(lab, Options())
        foundry.close()
        assert report.exit_code == 130
        assert clean(lab, before)


def test_a_first_inventory_is_made_of_what_is_seen_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lab(tmp_path, speed=SPEED) as lab:
        here(lab, monkeypatch)
        keys = {"identity": str(lab.folder / "id_ed25519"), "known_hosts": str(lab.folder / "known_hosts")}
        text = Foundry.new_inventory("local", lambda unknown: None, defaults=keys)
        assert "  jump: local\n" in text and "identity: ~/.ssh" not in text
        lab.inventory.write_text(text)
        assert call(lab, "inventory.check").returncode == 0
        assert NAME in call(lab, "status").stdout

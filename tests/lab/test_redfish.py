"""The Job of a provision on a Redfish service: OpenStack's emulator stands between Rufio and the machine's power."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from metalfoundry.lab import fixtures
from metalfoundry.lab.lab import Lab
from metalfoundry.lab.scenarios import BmcFault, scenario
from metalfoundry.lab.tinkerbell.rufio import Switched
from tests.lab.bench import NAME, SPEED, clean, hardware, provision, tune
from tests.waiting import until

REPOSITORY = Path(__file__).resolve().parents[2]
UUID = "27946b59-9e44-4fa7-8e91-f3527a1ef094"


class Redfish:
    """A machine that is switched through a Redfish service alone, and follows what that says."""

    def __init__(self, url: str, machine: Switched) -> None:
        self._client = httpx.Client(base_url=f"{url}/redfish/v1/Systems/{UUID}")
        self._machine = machine
        self.asked: list[tuple[str, Any]] = []

    def close(self) -> None:
        self._client.close()

    @property
    def powered(self) -> bool:
        return bool(self._system()["PowerState"] == "On")

    @property
    def once(self) -> bool:
        boot = self._system()["Boot"]
        return (boot["BootSourceOverrideTarget"], boot["BootSourceOverrideEnabled"]) == ("Pxe", "Continuous")

    @once.setter
    def once(self, network: bool) -> None:
        target = {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe" if network else "Hdd"}
        self._ask("PATCH", "", {"Boot": target | {"BootSourceOverrideMode": "UEFI"}})

    def power(self, on: bool) -> None:
        self._ask("POST", "/Actions/ComputerSystem.Reset", {"ResetType": "On" if on else "ForceOff"})
        until(lambda: self.powered is on)
        self._machine.once = self.once
        self._machine.power(on)

    def _system(self) -> dict[str, Any]:
        system: dict[str, Any] = self._client.get("").raise_for_status().json()
        return system

    def _ask(self, method: str, path: str, body: dict[str, Any]) -> None:
        self._client.request(method, path, json=body).raise_for_status()
        self.asked.append((method, body))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[str]:
    """The URL of the emulator."""
    words = [sys.executable, "-W", "ignore", "-m", "tests.lab.redfish_service", UUID, str(tmp_path)]
    pipe, none = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=none, text=True, cwd=REPOSITORY) as running:
        assert running.stdout is not None and running.stdin is not None
        yield running.stdout.readline().strip()
        running.stdin.close()


def test_a_server_is_installed_through_redfish(tmp_path: Path, service: str) -> None:
    with Lab(tmp_path / "lab", scenario("installs", bmc=BmcFault.NONE), SPEED, (NAME,)) as lab:
        tune(lab, server={"reboot": ["bmc"]})
        before, machine = hardware(lab), lab.machine(NAME)
        bmc = Redfish(service, machine)
        lab.rufio.attach(fixtures.bmc_name(machine.metal), bmc, BmcFault.NONE)
        ran = provision(lab)
        bmc.close()
        assert ran.json["exit_code"] == 0, ran.json["error"]
        assert [boot.what for boot in machine.boots] == ["old", "hook", "new"]
        assert clean(lab, before)
    assert [method for method, _ in bmc.asked] == ["POST", "PATCH", "POST"]
    assert [body.get("ResetType") for _, body in bmc.asked] == ["ForceOff", None, "On"]

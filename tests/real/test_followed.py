"""What is followed dies with its connection: SIGKILL of the client leaves no watch of ours on the jump host."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.lab.bench import start
from tests.real.kube import Kube
from tests.real.place import real_lab, until

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]
NAME = "anvil"


def test_the_watches_of_a_client_that_is_killed_end_and_the_guard_s_own_stays(kube: Kube, tmp_path: Path) -> None:
    with real_lab(kube, tmp_path, "dead", 20.0, [NAME]) as lab:
        process = start(lab, "provision", NAME, "--yes", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def watches(of_guard: bool) -> list[str]:
            found = lab.processes.alive(" -w ")
            return [one.command for one in found if ("go-template=" in one.command) is of_guard]

        try:
            until(lambda: len([one for one in watches(False) if one.startswith("kubectl")]) == 2, what="it watches")
            assert len(watches(True)) == 1
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(60)
        until(lambda: watches(False) == [], what="no watch of the client is left")
        assert len(watches(True)) == 1

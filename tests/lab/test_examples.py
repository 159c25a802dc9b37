"""The files of examples/, as a reader would run them, against the lab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples import cancel, script, two_at_once
from metalfoundry import Lab
from tests.lab.bench import NAME, SPEED, is_open

EXAMPLES = Path(__file__).parents[2] / "examples"
FAB = Path(sys.executable).with_name("fab")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab"), "installs", SPEED) as lab:
        yield lab


def fab(inventory: Path, state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The task of examples/fabfile.py."""
    env = {**os.environ, "METALFOUNDRY_INVENTORY": str(inventory), "METALFOUNDRY_STATE": str(state)}
    line = [str(FAB), "--search-root", str(EXAMPLES), "reinstall", *words]
    return subprocess.run(line, env=env, capture_output=True, text=True, check=False, timeout=100)


def test_the_script_prints_a_report(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(str(lab.inventory), NAME) == 0
    shown = capsys.readouterr()
    report = json.loads(shown.out)
    assert (report["verdict"], report["netboot"]["closed"]) == ("provisioned", True)
    assert f"{NAME} Verify" in shown.err


def test_the_script_ends_with_the_errors_code(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(str(lab.inventory), "nosuch") == 2
    assert "there is no server 'nosuch'" in capsys.readouterr().err


def test_two_at_once_are_told_as_they_end(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert two_at_once.main(str(lab.inventory), NAME, "anvil") == 0
    told = sorted(capsys.readouterr().out.splitlines())
    assert told == [f"{name}: provisioned, netboot closed" for name in ("anvil", NAME)]
    assert not is_open(lab, NAME) and not is_open(lab, "anvil")


def test_a_run_that_is_cancelled_takes_everything_back(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert cancel.main(str(lab.inventory), NAME, "0.5") == 130
    assert f"{NAME}: interrupted" in capsys.readouterr().out
    assert not is_open(lab)


def test_a_task_of_ones_own_has_our_lines_and_exit_codes(lab: Lab, tmp_path: Path) -> None:
    done = fab(lab.inventory, tmp_path, "anvil")
    assert (done.returncode, done.stderr) == (0, "")
    assert "netboot is closed" in done.stdout and "anvil took" in done.stdout
    unknown = fab(lab.inventory, tmp_path, "nosuch")
    assert unknown.returncode == 2
    assert "error: there is no server 'nosuch'" in unknown.stderr and "Traceback" not in unknown.stderr


def test_a_task_of_ones_own_ends_at_the_first_failure(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", "installs", SPEED, each={NAME: "action-fails"}) as lab:
        done = fab(lab.inventory, tmp_path, f"{NAME},anvil")
        assert done.returncode == 31
        assert "error: " in done.stderr and "Traceback" not in done.stderr
        assert lab.machines["anvil"].wiped == 0

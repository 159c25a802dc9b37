"""Windows and the guard by the command line: each task says what it did, and not what it would have done."""

from __future__ import annotations

from pathlib import Path

from metalfoundry.lab.lab import Lab
from tests.lab.bench import NAME, SPEED, call, is_open


def test_a_window_by_hand_and_its_guard_are_told_of_as_they_are(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", speed=SPEED) as lab:
        assert call(lab, "netboot.open", NAME, "--reason", "a look", "--yes").returncode == 0
        refused = call(lab, "provision", NAME, "--yes")
        assert refused.returncode == 20
        assert "was opened by hand by " in refused.stderr
        assert f"now:   metalfoundry netboot.close {NAME}\n" in refused.stderr
        audit = call(lab, "netboot.audit", "--close")
        assert audit.returncode == 0 and NAME in audit.stdout
        assert "nothing is left to close: a live claim holds each of these" in audit.stderr
        stays = call(lab, "guard.stop")
        assert stays.returncode == 10 and "the guard stays: " in stays.stderr
        assert "or close their windows: metalfoundry guard.stop --force\n" in stays.stderr
        assert call(lab, "guard.stop", "--force").stdout == "the guard on the jump host has ended\n"
        assert not is_open(lab)
        assert call(lab, "guard.stop").stdout == "no guard runs on the jump host\n"


def test_a_lab_that_does_not_run_is_not_said_to_have_been_ended(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", speed=SPEED) as lab:
        down = call(lab, "lab.down", "--dir", "nope")
    assert (down.returncode, down.stdout) == (0, "no lab runs in nope\n")

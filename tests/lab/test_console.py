"""The program as it is typed: words, exit codes, what stands on stdout and on stderr."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metalfoundry.lab.lab import Lab
from tests.lab.bench import NAME, SPEED, call, clean, hardware, is_open, netboots, start, version, workflow

FAB = Path(sys.executable).with_name("fab")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    each = {"anvil": "action-fails", "third": "wrong-host-key", "fourth": "no-netboot-block"}
    with Lab(tmp_path_factory.mktemp("lab"), speed=SPEED, servers=(NAME, *each), each=each) as lab:
        yield lab


def fab(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(FAB), *words], capture_output=True, text=True, cwd=folder, stdin=subprocess.DEVNULL, timeout=60
    )


def test_a_good_run_is_one_report_on_stdout_and_lines_on_stderr(lab: Lab) -> None:
    before = hardware(lab)
    done = call(lab, "provision", NAME, "--yes", "--json", "--reason", "new disk")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["server"], report["verdict"], report["netboot"]["closed"]) == (NAME, "provisioned", True)
    assert report["netboot"]["proof"]["smee"]
    for phase in ("Preflight", "Claim", "Apply", "Open", "Boot", "Close", "Install", "Verify", "Release"):
        assert f"✓ {phase}" in done.stderr
    assert "action 1/3 stream-ubuntu-image" in done.stderr
    assert clean(lab, before)


def test_a_failed_workflow_is_31_and_kept(lab: Lab) -> None:
    before = hardware(lab, "anvil")
    done = call(lab, "provision", "anvil", "--yes", "--json")
    assert done.returncode == 31, done.stderr
    report = json.loads(done.stdout)
    assert (report["exit_code"], report["netboot"]["closed"]) == (31, True)
    assert "error: the Workflow failed at action write-netplan" in done.stderr
    assert workflow(lab, "anvil-ubuntu") is not None
    assert clean(lab, before, "anvil")


def test_a_wrong_host_key_is_10_and_nothing_was_written(lab: Lab) -> None:
    before = version(lab)
    done = call(lab, "provision", "third", "--yes")
    assert done.returncode == 10
    assert "the host key has changed" in done.stderr
    assert f"{lab.folder}/known_hosts:" in done.stderr
    assert version(lab) == before


def test_nobody_there_to_confirm_is_12(lab: Lab) -> None:
    before = version(lab)
    done = call(lab, "provision", NAME)
    assert done.returncode == 12
    assert "00:00:5e:00:53:4b" in done.stderr
    assert "this needs a confirmation" in done.stderr
    assert f"provision {NAME} --yes" in done.stderr
    assert version(lab) == before


@pytest.mark.parametrize("typed", ["anvil\n", "y\n", "\n", "\x04"])
def test_another_name_typed_is_12(lab: Lab, typed: str) -> None:
    before = version(lab)
    ours, theirs = pty.openpty()
    process = start(lab, "provision", NAME, stdin=theirs)
    os.close(theirs)
    os.write(ours, typed.encode())
    _, err = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 12, err
    assert f"Type its name to go on: error: the answer was not {NAME}" in err
    assert version(lab) == before


def test_the_name_typed_goes_on(lab: Lab) -> None:
    ours, theirs = pty.openpty()
    process = start(lab, "netboot.open", "fourth", "--minutes", "5", stdin=theirs)
    os.close(theirs)
    os.write(ours, b"fourth\n")
    out, err = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 0, err
    assert "netboot is open" in out
    assert is_open(lab, "fourth")
    shown = json.loads(call(lab, "netboot.status", "--server", "fourth", "--json").stdout)["servers"]
    (row,) = shown
    assert (row["server"], row["netboot"], row["expired"]) == ("fourth", "open", False)
    assert row["run"]
    again = call(lab, "netboot.open", "fourth", "--yes")
    assert again.returncode == 20
    assert row["run"] in again.stderr
    closed = call(lab, "netboot.close", "fourth")
    assert closed.returncode == 0, closed.stderr
    assert "netboot is closed" in closed.stdout
    assert not is_open(lab, "fourth")
    assert not hardware(lab, "fourth")["metadata"].get("annotations")


def test_init_makes_a_closed_block_once(lab: Lab) -> None:
    def bare() -> None:
        lab.store.patch("hardware", "fourth", [{"op": "remove", "path": "/spec/interfaces/0/netboot"}])

    if netboots(lab, "fourth") != [None]:
        bare()
    first = call(lab, "init", "fourth")
    assert (first.returncode, first.stdout) == (0, "fourth: added a closed netboot block\n")
    assert netboots(lab, "fourth") == [{"allowPXE": False, "allowWorkflow": False}]
    before = version(lab)
    second = call(lab, "init", "fourth")
    assert (second.returncode, second.stdout) == (0, "fourth: already has its netboot block\n")
    assert version(lab) == before


def test_status_shows_every_server(lab: Lab) -> None:
    done = call(lab, "status", "--json")
    rows = {row["server"]: row for row in json.loads(done.stdout)["servers"]}
    assert set(rows) == {NAME, "anvil", "third", "fourth"}
    assert rows[NAME]["netboot"] == "closed"
    for words in (["--server", f"{NAME},third"], [f"{NAME},third"]):
        table = call(lab, "status", *words)
        assert table.returncode == 0
        assert NAME in table.stdout
        assert "fourth" not in table.stdout


def test_a_plan_changes_nothing(lab: Lab) -> None:
    before = version(lab)
    done = call(lab, "provision", NAME, "--plan")
    assert done.returncode == 0, done.stderr
    assert "[Claim]" in done.stdout
    assert "[Open]" in done.stdout
    assert "Nothing was changed." in done.stderr
    assert version(lab) == before


def test_an_unknown_server_names_the_nearest(lab: Lab) -> None:
    done = call(lab, "provision", "colo-server-1", "--yes")
    assert done.returncode == 2
    assert "did you mean colo-server-01?" in done.stderr


def both(lab: Lab, *words: str) -> list[subprocess.CompletedProcess[str]]:
    """The same words to `metalfoundry` and to `fab`."""
    return [call(lab, *words), fab(ROOT, *words)]


@pytest.mark.parametrize("words", [["provision", "--help"], ["provision", "-h"], ["--help", "provision"]])
def test_the_help_of_a_task(lab: Lab, words: list[str]) -> None:
    for done in both(lab, *words):
        assert done.returncode == 0, done.stderr
        assert "provision NAME[,NAME…] [OPTIONS]\n" in done.stdout
        assert "--keep-workflow   " in done.stdout


@pytest.mark.parametrize(
    ("words", "now"),
    [
        (["provision"], "provision NAME[,NAME…]"),
        (["provision", NAME, "--no-such-flag"], "--help provision"),
        (["provision", "--bogus"], "--help provision"),
        (["no-such-task"], "--list"),
        (["--help", "no-such-task"], "--list"),
        (["--list", "no-such-group"], "--list"),
        (["netboot.open", NAME, "--minutes", "ten"], "netboot.open NAME[,NAME…] --minutes 10"),
        (["provision", NAME, "--workflow", "a.yaml", "--template", "b"], f"provision {NAME}, with one of the two"),
        (["-H", "somewhere", "provision", NAME, "--yes"], "name them after the task"),
        (["-i", "key", "status"], "set `identity` in the inventory"),
        (["status", "-t", "5"], "set `timeouts` in the inventory"),
        (["-e", "status"], "use --plan before a run, --events - during one"),
    ],
)
def test_words_that_do_not_fit_are_2_and_show_the_right_line(lab: Lab, words: list[str], now: str) -> None:
    for program, done in zip(("metalfoundry", "fab"), both(lab, *words), strict=True):
        assert done.returncode == 2, (done.stdout, done.stderr)
        step = f"{program} {now}" if now.split()[0] in ("provision", "--help", "--list", "netboot.open") else now
        assert done.stderr.endswith(f"  now:   {step}\n")
        assert "Traceback" not in done.stderr


def test_a_wrong_number_for_fabric_itself_is_2(lab: Lab) -> None:
    done = call(lab, "-t", "soon", "status")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["provision"], ["status", "nobody"], ["report", "nothing"], ["attach", "nobody"]])
def test_an_error_before_a_run_is_json_too(lab: Lab, words: list[str]) -> None:
    done = call(lab, *words, "--json")
    told = json.loads(done.stdout)
    assert done.returncode == told["exit_code"] == 2
    assert f"error: {told['error']['what']}\n" in done.stderr


def test_breaking_a_claim_is_asked_for(lab: Lab) -> None:
    opened = call(lab, "netboot.open", "fourth", "--yes")
    assert opened.returncode == 0, opened.stderr
    run = json.loads(call(lab, "netboot.status", "fourth", "--json").stdout)["servers"][0]["run"]
    asked = call(lab, "netboot.break", "fourth", "--run", run)
    assert asked.returncode == 12
    assert f"metalfoundry netboot.break fourth --run {run} --yes" in asked.stderr
    assert is_open(lab, "fourth")
    assert call(lab, "netboot.break", "fourth", "--run", run, "--yes").returncode == 0
    assert not is_open(lab, "fourth")


def test_no_inventory_shows_how_to_write_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(FAB.with_name("metalfoundry")), "status"], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 2
    assert "there is no inventory" in done.stderr
    assert "metalfoundry inventory.new --jump USER@HOST writes one, --inventory FILE names another" in done.stderr
    assert "jump: {host:" in done.stderr
    assert [line for line in done.stderr.splitlines() if line != line.rstrip()] == []


def test_an_inventory_that_does_not_parse_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text("site:\n  jump: {host: a\nservers: {}\n")
    done = subprocess.run(
        [str(FAB.with_name("metalfoundry")), "status"], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 2
    assert "inventory.yaml:3" in done.stderr

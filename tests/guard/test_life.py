"""How guard.sh is armed, spoken to, and ended."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from tests.guard.harness import RUN, SCRIPT, Client, FakeCluster, facts, until
from tests.processes import session_of


def test_arm_returns_and_leaves_the_session(guard: Client, cluster: FakeCluster) -> None:
    words = [*guard.shell.split(), "-s"]
    env = os.environ | guard.env
    pipe = subprocess.PIPE
    with subprocess.Popen(
        words, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=env, start_new_session=True
    ) as ssh:
        out, err = ssh.communicate(guard.text("arm"), timeout=10)  # returns only when every copy of its pipes is closed
    assert err == ""
    pid = int(facts(out)["pid"])
    assert os.getsid(pid) == pid != ssh.pid
    with pytest.raises(ProcessLookupError):
        os.killpg(ssh.pid, signal.SIGHUP)
    assert guard.send("alive")["pid"] == str(pid)
    assert str(Path(f"/proc/{pid}/fd/1").readlink()) == "/dev/null"


def test_what_arm_and_alive_say(guard: Client, cluster: FakeCluster) -> None:
    armed = guard.send("arm", EXPIRES="+100", HARD_CAP="+1000")
    assert armed["method"] == "setsid"
    assert int(armed["expires"]) - int(armed["now"]) in (99, 100)
    told = guard.send("alive")
    expected = {"state": "guarding", "run": RUN, "hardware": "anvil", "workflow": "anvil", "claim": "ours", "api": "ok"}
    expected |= {"window": "open", "shut": "", "closed": "no", "expires": armed["expires"], "pid": armed["pid"]}
    assert {key: told[key] for key in expected} == expected


def test_everything_it_leaves_is_private(guard: Client, cluster: FakeCluster) -> None:
    guard.armed()
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (guard.root, guard.folder, *guard.folder.iterdir())}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if not path.is_dir()} == {0o600}
    assert (guard.folder / "guard.sh").read_text() == SCRIPT


def test_a_second_guard_for_the_run_is_refused(guard: Client, cluster: FakeCluster) -> None:
    pid = guard.armed()
    guard.send("arm", 3)
    assert guard.send("alive")["pid"] == str(pid)


def test_of_two_that_arm_at_once_one_wins(guard: Client, cluster: FakeCluster) -> None:
    ends: list[int] = []
    arms = [threading.Thread(target=lambda: ends.append(guard.raw(guard.text("arm")).returncode)) for _ in range(3)]
    for arm in arms:
        arm.start()
    for arm in arms:
        arm.join()
    assert sorted(ends) == [0, 3, 3]
    leaders = {pid for pid in guard.processes() if session_of(pid) == pid}
    assert leaders == {int(guard.send("alive")["pid"])}


def test_a_dead_guard_makes_room_and_its_log_is_kept(guard: Client, cluster: FakeCluster) -> None:
    os.kill(guard.armed(), signal.SIGKILL)
    guard.logged("killed last-close=0")
    until(lambda: not guard.processes(), "no process left")
    assert guard.send("alive", 4)["state"] == "dead"
    guard.armed()
    assert [line.split()[0] for line in guard.log()].count("armed") == 2


@pytest.mark.parametrize("name", ["RUN", "NONCE", "NAMESPACE", "HARDWARE", "EXPIRES", "HARD_CAP", "UNTIL"])
def test_odd_values_are_refused(guard: Client, cluster: FakeCluster, name: str) -> None:
    for value in ("../x", "a'b", "a|b", '"', "x\ny", *([] if name == "UNTIL" else [""])):
        guard.values[name] = value
        guard.send("arm", 2)
    assert not guard.root.exists() or not list(guard.root.iterdir())


def test_a_text_that_arrived_in_part_does_nothing(guard: Client, cluster: FakeCluster) -> None:
    whole = guard.text("arm")
    for part in (0.2, 0.5, 0.9, 0.999):
        guard.raw(whole[: int(len(whole) * part)])
    assert not guard.root.exists()


def test_nobody_else_nonce_is_answered(guard: Client, cluster: FakeCluster) -> None:
    guard.armed()
    for action in ("alive", "extend", "disarm"):
        guard.send(action, 5, NONCE="other")
    assert guard.send("alive", NONCE="")["state"] == "guarding"


def test_unknown_run(guard: Client, cluster: FakeCluster) -> None:
    for action in ("alive", "extend", "disarm"):
        assert guard.send(action, 4) == {"state": "none"}


def test_alive_is_about_the_loop_not_the_pid(guard: Client, cluster: FakeCluster) -> None:
    pid = guard.armed()
    os.kill(pid, signal.SIGSTOP)
    guard.send("alive", 4)
    guard.send("arm", 3)
    assert guard.raw(guard.text("list")).stdout.split("\t")[2] == "stuck"
    assert guard.send("disarm", 7) == {"state": "stuck"}
    os.kill(pid, signal.SIGCONT)
    assert guard.send("alive")["state"] == "guarding"


def test_extend_never_goes_beyond_the_hard_cap(guard: Client, cluster: FakeCluster) -> None:
    cap = guard.send("arm", HARD_CAP="+500")["hard_cap"]
    guard.send("extend", EXPIRES="+9000")
    until(lambda: guard.send("alive")["expires"] == cap, "the cap holds")
    assert cluster.open


def test_disarm_after_the_client_closed(guard: Client, cluster: FakeCluster) -> None:
    guard.armed()
    cluster.put_hardware((False, False, None))
    until(lambda: guard.send("alive")["window"] == "closed", "it sees that")
    told = guard.send("disarm")
    assert (told["end"], told["closed"]) == ("disarmed", "no")
    assert cluster.writes == []
    assert not guard.folder.exists()
    until(lambda: not guard.processes(), "no process left")


def test_disarm_with_an_open_window_closes_it_first(guard: Client, cluster: FakeCluster) -> None:
    guard.armed()
    assert guard.send("disarm", KEEP_LOG="yes")["closed"] == "yes"
    assert not cluster.open
    assert guard.log()[-2:] == ["closed reason=disarmed interfaces=1", "ended reason=disarmed window=closed"]


def test_disarm_does_not_end_a_guard_that_cannot_close(guard: Client, cluster: FakeCluster) -> None:
    guard.armed()
    cluster.flag("away")
    guard.logged("api-away")
    assert guard.send("disarm", 7, WAIT="1")["ending"] == "disarmed"
    cluster.flag("away", False)
    guard.ended("disarmed window=closed")
    assert not cluster.open


def test_sigterm_closes_first_and_leaves_nobody(guard: Client, cluster: FakeCluster) -> None:
    os.kill(guard.armed(), signal.SIGTERM)
    guard.ended("term window=closed")
    assert not cluster.open


def test_sigterm_with_the_api_away_ends_all_the_same(guard: Client, cluster: FakeCluster) -> None:
    pid = guard.armed()
    cluster.flag("away")
    guard.logged("api-away")
    os.kill(pid, signal.SIGTERM)
    guard.ended("term window=open")


def test_sigkill_closes_and_leaves_nobody(guard: Client, cluster: FakeCluster) -> None:
    os.kill(guard.armed(), signal.SIGKILL)
    until(lambda: not guard.processes(), "no process left")
    assert not cluster.open


def test_a_guard_whose_folder_is_gone_closes_and_goes(guard: Client, cluster: FakeCluster) -> None:
    guard.armed()
    shutil.rmtree(guard.folder)
    guard.ended("folder-gone window=closed")
    assert not cluster.open


def test_list_log_and_reap(guard: Client, cluster: FakeCluster) -> None:
    pid = guard.armed()
    row = guard.raw(guard.text("list")).stdout.rstrip("\n").split("\t")
    assert row[:4] == [RUN, "anvil", "guarding", str(pid)]
    assert int(row[4]) > 0
    assert "watching claim=ours" in row[5]
    assert "armed hardware=anvil" in guard.raw(guard.text("log")).stdout
    assert guard.raw(guard.text("reap")).stdout == ""
    cluster.put_hardware(run=None)
    guard.ended("claim-gone")
    assert guard.raw(guard.text("list")).stdout.split("\t")[2] == "ended"
    assert guard.raw(guard.text("reap", HARDWARE="anvi")).stdout == ""  # of another server
    assert guard.raw(guard.text("reap", HARDWARE="anvil")).stdout == f"{RUN}\n"
    assert list(guard.root.iterdir()) == []


def test_reap_without_a_hardware_is_for_all(guard: Client, cluster: FakeCluster) -> None:
    guard.armed()
    cluster.put_hardware(run=None)
    guard.ended("claim-gone")
    del guard.values["HARDWARE"]
    assert guard.raw(guard.text("reap")).stdout == f"{RUN}\n"


def tools(folder: Path, *without: str, **instead: str) -> str:
    """A PATH of this host's tools, less some, with scripts instead of others."""
    folder.mkdir()
    for place in ("/bin", "/usr/bin"):
        for tool in Path(place).iterdir():
            if tool.name not in without and not (folder / tool.name).is_symlink():
                (folder / tool.name).symlink_to(tool)
    for name, text in instead.items():
        path = folder / name.replace("_", "-")
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    return str(folder)


def test_without_setsid_nohup_does(guard: Client, cluster: FakeCluster, tmp_path: Path) -> None:
    guard.env["PATH"] = tools(tmp_path / "bin", "setsid")
    assert guard.send("arm")["method"] == "nohup"
    guard.send("alive")
    os.kill(int(guard.send("alive")["pid"]), signal.SIGHUP)
    cluster.put_workflow("RUNNING")
    guard.logged("closed reason=running")
    guard.send("disarm")
    until(lambda: not guard.processes(), "no process left")


LOGIND = 'case "$*" in *KillUserProcesses*) echo yes ;; *Linger*) echo %s ;; esac'


def test_where_logind_kills_linger_is_asked_for(guard: Client, cluster: FakeCluster, tmp_path: Path) -> None:
    user = 'if [ "$1" = -un ]; then echo kevin; else echo 1000; fi'
    guard.env["PATH"] = tools(tmp_path / "bin", loginctl=LOGIND % "no", id=user)
    done = guard.raw(guard.text("arm"))
    assert done.returncode == 6
    assert "sudo loginctl enable-linger kevin" in done.stderr
    assert not guard.root.exists()


def test_where_logind_kills_systemd_run_is_used(guard: Client, cluster: FakeCluster, tmp_path: Path) -> None:
    said = tmp_path / "said"
    run = f'printf "%s\\n" "$*" >{said}; while [ "$1" != {guard.shell.split()[0]} ]; do shift; done; setsid "$@" &'
    guard.env["PATH"] = tools(tmp_path / "bin", loginctl=LOGIND % "yes", id="echo 1000", systemd_run=run)
    assert guard.send("arm")["method"] == "systemd-run"
    assert "--user --quiet --collect" in said.read_text()
    cluster.put_workflow("RUNNING")
    guard.logged("closed reason=running")


@pytest.mark.parametrize(
    ("state", "action"), [("SUCCESS", ""), ("FAILED", ""), ("STATE_TIMEOUT", ""), ("RUNNING", "reboot")]
)
def test_ends_by_itself_when_the_workflow_is_over(guard: Client, cluster: FakeCluster, state: str, action: str) -> None:
    guard.armed(BOOT_ACTION="reboot", LINGER="0")
    cluster.put_workflow("RUNNING", "stream")
    guard.logged("closed reason=running")
    assert guard.send("alive")["proved"] == "yes"
    cluster.put_workflow(state, action)
    guard.ended("over window=closed")
    assert guard.send("disarm")["end"] == "over"


def test_stays_while_the_window_of_a_workflow_that_is_over_cannot_be_closed(
    guard: Client, cluster: FakeCluster
) -> None:
    guard.armed(LINGER="0")
    cluster.flag("refuse")
    cluster.put_workflow("SUCCESS")
    guard.logged("close-refused")
    assert guard.processes()
    cluster.flag("refuse", on=False)
    guard.ended("over window=closed")
    assert not cluster.open

"""How guard.sh is started, found, replaced and ended."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from tests.guard.harness import RUN, SCRIPT, Client, Cluster, facts, until

NEWER = SCRIPT + "# newer\n"


def test_start_returns_and_leaves_the_session(guard: Client, cluster: Cluster) -> None:
    """The session's descriptors are closed, whatever their number: sshd waits for them."""
    pipe = subprocess.PIPE
    words = ["sh", "-c", f"exec 3>&1 5>&2; exec {guard.shell} -s"]
    with subprocess.Popen(
        words, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=os.environ | guard.env, start_new_session=True
    ) as ssh:
        out, err = ssh.communicate(guard.text("start"), timeout=30)  # returns when every copy of its pipes is closed
    assert err == ""
    pid = int(facts(out)["pid"])
    assert os.getsid(pid) == pid != ssh.pid
    assert {str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in range(3)} == {"/dev/null"}


def test_a_second_start_finds_the_first(guard: Client, cluster: Cluster) -> None:
    pid = guard.start()
    assert guard.start() == pid
    assert guard.guards() == [pid]


def test_of_those_that_start_at_once_one_stays(guard: Client, cluster: Cluster) -> None:
    cluster.hardware()
    ends: list[int] = []
    text = guard.text("start", HARDWARE="anvil", RUN=RUN, RENEWAL="1", WAIT="30", PACE="1")
    starts = [threading.Thread(target=lambda: ends.append(guard.raw(text).returncode)) for _ in range(3)]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert ends == [0, 0, 0]
    until(lambda: len(guard.guards()) == 1, what=str(guard.log()))


def test_an_older_one_gives_way_to_a_newer_without_a_gap(guard: Client, cluster: Cluster) -> None:
    cluster.hardware()
    old = guard.acknowledged(PACE="1")
    cluster.note("renewal", "2")
    new = int(guard.send("start", script=NEWER, VERSION="v2", HARDWARE="anvil", RUN=RUN, RENEWAL="2")["pid"])
    assert new != old
    until(lambda: guard.guards() == [new])
    assert f"ended reason=yielded to={new} claims=1" in guard.log()
    assert not (guard.folder / "guard-v1.sh").exists()
    assert cluster.open()


def test_a_newer_one_goes_on_counting_the_lease(guard: Client, cluster: Cluster) -> None:
    pretended = guard.root.parent / "uptime"
    pretended.write_text("1000.5 1\n")
    cluster.hardware()
    guard.acknowledged(UPTIME=str(pretended), PACE="1")
    until(lambda: (guard.folder / "memory").exists())
    pretended.write_text("1500.5 1\n")
    new = int(guard.send("start", script=NEWER, VERSION="v2")["pid"])
    pretended.write_text("1502.5 1\n")
    until(lambda: guard.guards() == [new])
    pretended.write_text("1601.5 1\n")
    guard.logged(f"closed hardware=anvil run={RUN} reason=expired")


def test_a_memory_of_before_the_hosts_start_counts_for_nothing(guard: Client, cluster: Cluster) -> None:
    guard.folder.mkdir(parents=True)
    (guard.folder / "memory").write_text(f"another-boot\nM|anvil|{RUN}|1|-100000||.\n")
    cluster.hardware()
    guard.acknowledged()
    assert cluster.open()


def test_a_guard_that_is_killed_is_replaced_by_the_next_start(guard: Client, cluster: Cluster) -> None:
    cluster.hardware()
    pid = guard.acknowledged()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not guard.guards())
    assert guard.send("status")["state"] == "none"
    cluster.note("renewal", "2")
    assert guard.acknowledged("2") != pid


def test_one_that_hangs_is_replaced(guard: Client, cluster: Cluster) -> None:
    cluster.hardware()
    pid = guard.acknowledged()
    os.kill(pid, signal.SIGSTOP)
    os.utime(guard.folder / "pass", (0, 0))
    assert guard.send("status")["state"] == "stuck"
    cluster.note("renewal", "2")
    assert guard.acknowledged("2") != pid
    until(lambda: len(guard.guards()) == 1)


def test_a_number_that_is_another_process_by_now_is_no_guard(guard: Client, cluster: Cluster) -> None:
    guard.folder.mkdir(parents=True)
    (guard.folder / "pid").write_text(f"{os.getpid()} v1 1\n")
    (guard.folder / "pass").touch()
    assert guard.send("status")["state"] == "none"
    assert guard.start() != os.getpid()


def test_everything_it_leaves_is_private(guard: Client, cluster: Cluster) -> None:
    cluster.hardware()
    guard.acknowledged()
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (guard.folder, *guard.folder.iterdir())}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if not path.is_dir()} == {0o600}
    assert (guard.folder / "guard-v1.sh").read_text().endswith(SCRIPT)


@pytest.mark.parametrize("name", ["PLACE", "NAMESPACE", "VERSION", "HARDWARE", "RUN", "RENEWAL"])
def test_odd_values_are_refused(guard: Client, cluster: Cluster, name: str) -> None:
    for value in ("../x", "a'b", "a|b", '"', "x\ny"):
        guard.send("start", 2, **{"HARDWARE": "anvil", "RUN": RUN, "RENEWAL": "1", name: value})
    assert not guard.root.exists()


def test_a_text_that_arrived_in_part_does_nothing(guard: Client, cluster: Cluster) -> None:
    whole = guard.text("start")
    for part in (0.2, 0.5, 0.9, 0.999):
        guard.raw(whole[: int(len(whole) * part)])
    assert not guard.root.exists()


def test_sighup_does_not_end_it(guard: Client, cluster: Cluster) -> None:
    cluster.hardware()
    pid = guard.acknowledged()
    os.kill(pid, signal.SIGHUP)
    cluster.note("renewal", "2")
    assert guard.acknowledged("2") == pid


def test_a_folder_that_is_gone_does_not_end_it(guard: Client, cluster: Cluster) -> None:
    """As on a full disk: nothing can be written, and it guards on."""
    cluster.workflow("PENDING")
    cluster.hardware()
    guard.acknowledged(PACE="1")
    shutil.rmtree(guard.folder)
    cluster.workflow("RUNNING")
    until(lambda: not cluster.open())
    assert guard.processes()
    guard.start()  # either gives way to the other: the folder was both's for a moment
    until(lambda: len(guard.guards()) == 1)
    cluster.note("renewal", "2")
    guard.acknowledged("2")


def test_a_full_disk_does_not_end_it(guard: Client, cluster: Cluster) -> None:
    cluster.workflow("PENDING")
    cluster.hardware()
    pid = guard.acknowledged(PACE="1")
    for name in ("log", "memory", "events", "pass"):
        (guard.folder / name).unlink(missing_ok=True)
        (guard.folder / name).symlink_to("/dev/full")
    cluster.workflow("RUNNING")
    until(lambda: not cluster.open())
    cluster.note("renewal", "2")
    until(lambda: f" {RUN} 2 " in cluster.notes()["guard"])
    assert pid in guard.guards()


def test_ends_when_nobody_has_claimed_for_a_while(guard: Client, cluster: Cluster) -> None:
    cluster.hardware()
    guard.acknowledged(LINGER="2", PACE="1")
    assert guard.guards()
    cluster.netboot(False)
    cluster.note("run", None)
    guard.logged("ended reason=idle claims=0")
    guard.gone()


def test_sigterm_closes_what_is_claimed_and_leaves_nobody(guard: Client, cluster: Cluster) -> None:
    cluster.hardware()
    cluster.hardware("bolt", run=None)
    guard.terminate(guard.acknowledged())
    assert not cluster.open()
    assert cluster.open("bolt")
    assert guard.log()[-2:] == [f"closed hardware=anvil run={RUN} reason=term", "ended reason=term claims=1"]


def test_where_it_is_told_to_leave_windows_it_does(guard: Client, cluster: Cluster) -> None:
    """As in the cluster, where another pod follows."""
    cluster.hardware()
    guard.terminate(guard.acknowledged(AT_END="leave"))
    assert cluster.open()


def test_sigterm_with_the_api_away_ends_all_the_same(guard: Client, cluster: Cluster) -> None:
    cluster.hardware()
    pid = guard.acknowledged()
    cluster.faults.api_down()
    guard.terminate(pid)


def test_stop_refuses_while_it_has_claims(guard: Client, cluster: Cluster) -> None:
    cluster.hardware()
    pid = guard.acknowledged()
    until(lambda: guard.send("status")["claims"] == "1")
    guard.send("stop", 7, PATIENCE="1")
    assert guard.guards() == [pid]
    assert guard.send("stop", FORCE="yes") == {"state": "ended"}
    assert not cluster.open()
    assert guard.send("stop") == {"state": "none"}


def test_stop_knows_of_a_claim_that_has_just_ended(guard: Client, cluster: Cluster) -> None:
    cluster.hardware()
    guard.acknowledged(PACE="600")
    until(lambda: guard.send("status")["claims"] == "1")
    cluster.netboot(False)
    cluster.note("run", None)
    assert guard.send("stop") == {"state": "ended"}


def test_stop_ends_one_that_never_had_a_claim(guard: Client) -> None:
    guard.start(PACE="600")
    assert guard.send("stop") == {"state": "ended"}


def test_stop_ends_one_that_has_lost_the_signal(guard: Client) -> None:
    """As bash 5.2 loses it, once in some ten thousand."""
    loses = SCRIPT.replace("trap 'STOP=yes' TERM", """trap 'trap "STOP=yes" TERM' TERM""")
    assert loses != SCRIPT
    guard.send("start", script=loses)
    assert guard.send("stop") == {"state": "ended"}


def test_a_signal_that_comes_as_it_starts_ends_it(guard: Client) -> None:
    traps = "trap 'DUE=yes' USR1\n"
    early = SCRIPT.replace(traps, f"{traps}  kill -TERM $$\n")
    assert early != SCRIPT
    guard.folder.mkdir(parents=True)
    guard.send("run", script=early, DIR=str(guard.folder))
    assert guard.log()[-1].startswith("ended reason=term")


def test_status_and_log(guard: Client, cluster: Cluster) -> None:
    told = guard.send("status")
    assert (told["state"], Path(told["method"]).name) == ("none", "setsid")  # busybox has it without a path
    assert guard.raw(guard.text("log")).stdout == ""
    cluster.workflow("RUNNING")
    cluster.hardware()
    pid = guard.acknowledged()
    guard.logged("closed")
    told = guard.send("status")
    assert (told["state"], told["pid"], told["version"], told["claims"]) == ("guarding", str(pid), "v1", "1")
    assert 0 <= int(told["since"]) < 100
    assert told["closed"].endswith(f"closed hardware=anvil run={RUN} reason=RUNNING")
    assert "started version=v1" in guard.raw(guard.text("log")).stdout


def test_the_log_is_bounded(guard: Client, cluster: Cluster) -> None:
    guard.folder.mkdir(parents=True)
    (guard.folder / "log").write_text("T line\n" * 5000)
    guard.start()
    assert len((guard.folder / "log").read_text().splitlines()) <= 502


@pytest.mark.parametrize("ready", [1, 0])
def test_where_the_deployment_guards_none_is_started(guard: Client, cluster: Cluster, ready: int) -> None:
    cluster.deployment(ready)
    guard.send("start")
    assert bool(guard.guards()) is (ready == 0)


def test_where_the_deployment_acknowledges_none_is_started_and_one_is_where_it_does_not(
    guard: Client, cluster: Cluster
) -> None:
    cluster.deployment(1)
    cluster.hardware()
    cluster.note("guard", f"pod-1 {RUN} 1 holds")
    done = guard.send("start", HARDWARE="anvil", RUN=RUN, RENEWAL="1", PATIENCE="5")
    assert done == {"guard": f"pod-1 {RUN} 1 holds"}
    assert not guard.root.exists()
    guard.send("start", HARDWARE="anvil", RUN=RUN, RENEWAL="2", PATIENCE="1", WAIT="0", status=8)
    assert guard.guards()


def test_what_another_guard_has_acknowledged_it_leaves_at_that(guard: Client, cluster: Cluster) -> None:
    cluster.hardware()
    cluster.hardware("bolt")
    cluster.note("guard", f"pod-1 {RUN} 1 holds")
    guard.send("start", HARDWARE="bolt", RUN=RUN, RENEWAL="1")
    assert cluster.notes()["guard"] == f"pod-1 {RUN} 1 holds"


def test_kubectl_s_time_limit_can_be_left_out(guard: Client, cluster: Cluster) -> None:
    cluster.hardware()
    guard.acknowledged(BOUND="")
    until(lambda: cluster.store.watching == 1)
    assert not any("--request-timeout" in word for call in cluster.door.calls for word in call)


def test_without_uptime_small_steps_of_the_clock_count(guard: Client, cluster: Cluster) -> None:
    cluster.hardware(lease="2")
    guard.acknowledged(UPTIME="/nowhere", PACE="1")
    guard.logged(f"closed hardware=anvil run={RUN} reason=expired")


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


def test_without_setsid_nohup_does(guard: Client, cluster: Cluster, tmp_path: Path) -> None:
    guard.env["PATH"] = tools(tmp_path / "tools", "setsid")
    cluster.hardware()
    pid = guard.acknowledged()
    os.kill(pid, signal.SIGHUP)
    cluster.note("renewal", "2")
    assert guard.acknowledged("2") == pid


LOGIND = 'case "$*" in *KillUserProcesses*) echo yes ;; *Linger*) echo %s ;; esac'


def test_where_logind_kills_linger_is_asked_for(guard: Client, cluster: Cluster, tmp_path: Path) -> None:
    user = 'if [ "$1" = -un ]; then echo kevin; else echo 1000; fi'
    guard.env["PATH"] = tools(tmp_path / "tools", loginctl=LOGIND % "no", id=user)
    done = guard.raw(guard.text("start"))
    assert done.returncode == 6
    assert "remedy: sudo loginctl enable-linger kevin" in done.stderr
    assert guard.send("status")["method"] == done.stderr.strip()
    assert not guard.guards()


def test_where_logind_kills_systemd_run_is_used(guard: Client, cluster: Cluster, tmp_path: Path) -> None:
    said = tmp_path / "said"
    run = f'printf "%s\\n" "$*" >{said}; while [ "$1" != {guard.shell.split()[0]} ]; do shift; done; setsid "$@" &'
    user = 'if [ "$1" = -un ]; then echo kevin; else echo 1000; fi'
    guard.env["PATH"] = tools(tmp_path / "tools", loginctl=LOGIND % "yes", id=user, systemd_run=run)
    cluster.hardware()
    guard.acknowledged()
    assert "--user --quiet --collect" in said.read_text()

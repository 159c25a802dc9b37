"""When guard.sh closes, and when it keeps its hands off."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.guard.harness import FLUX, RUN, Client, Cluster, until

TRIGGERS: dict[str, Callable[[Cluster], object]] = {
    "RUNNING": lambda cluster: cluster.workflow("RUNNING", "stream"),
    "POST": lambda cluster: cluster.workflow("POST"),
    "SUCCESS": lambda cluster: cluster.workflow("STATE_SUCCESS"),
    "FAILED": lambda cluster: cluster.workflow("FAILED"),
    "TIMEOUT": lambda cluster: cluster.workflow("TIMEOUT"),
    "deleted": lambda cluster: cluster.store.delete("workflows", "anvil"),
}
CLAIM = ("run", "renewed", "renewal", "lease", "workflow", "workflow-uid", "until", "boot-action", "flux", "window")


@pytest.mark.parametrize("reason", TRIGGERS)
def test_closes_at_once_and_proves_it(guard: Client, cluster: Cluster, reason: str) -> None:
    cluster.hardware(workflow_uid=cluster.workflow("PENDING", "stream"))
    guard.acknowledged()
    assert cluster.open()
    TRIGGERS[reason](cluster)
    guard.logged(f"closed hardware=anvil run={RUN} reason={reason}")
    assert cluster.pxe() == [False, False, None]
    (patch,) = cluster.closes()
    assert [each["op"] for each in patch] == ["test", "test", "add", "add", "add"]
    assert patch[1]["value"] == RUN
    until(lambda: cluster.notes()["guard"] == f"kevin@jump {RUN} 1 shut-{reason}")


def test_a_workflow_that_was_not_applied_yet_may_be_missing(guard: Client, cluster: Cluster) -> None:
    cluster.hardware()
    guard.acknowledged()
    guard.send("start", HARDWARE="anvil", RUN=RUN, RENEWAL="1")
    assert cluster.open()
    cluster.note("renewal", "2")
    cluster.note("workflow-uid", "another")
    guard.acknowledged("2")
    guard.logged(f"closed hardware=anvil run={RUN} reason=deleted")


def test_until_end_waits_for_the_boot_action(guard: Client, cluster: Cluster) -> None:
    cluster.workflow("RUNNING", "stream")
    cluster.hardware(until="end", boot_action="reboot | now")
    guard.acknowledged()
    assert cluster.open()
    cluster.workflow("RUNNING", "reboot | now")
    guard.logged(f"closed hardware=anvil run={RUN} reason=boot-action")


def test_closes_again_what_somebody_opens(guard: Client, cluster: Cluster) -> None:
    cluster.workflow("RUNNING")
    cluster.hardware()
    guard.acknowledged()
    guard.logged("closed hardware=anvil")
    cluster.netboot(True, 0)
    cluster.netboot(True, 1)
    guard.start()
    until(lambda: cluster.pxe() == [False, False, None])


def test_a_lease_that_is_not_renewed_ends_with_the_claim(guard: Client, cluster: Cluster) -> None:
    cluster.hardware(lease="2", flux="absent", window="{}", renewed="2026-01-02T03:04:05Z", workflow_uid=None)
    cluster.note(FLUX, "disabled")
    guard.acknowledged(PACE="1")
    guard.logged(f"closed hardware=anvil run={RUN} reason=expired")
    assert cluster.pxe() == [False, False, None]
    assert cluster.notes() == {}


def test_a_renewal_begins_the_lease_anew(guard: Client, cluster: Cluster) -> None:
    cluster.hardware(lease="4")
    guard.acknowledged(PACE="1")
    born = uptime()
    for renewal in range(2, 60):
        cluster.note("renewal", str(renewal))
        guard.acknowledged(str(renewal))
        if uptime() > born + 6:
            break
    assert cluster.open()
    assert cluster.notes()["run"] == RUN


def test_a_lease_ends_no_moment_too_early(guard: Client, cluster: Cluster) -> None:
    pretended = guard.root.parent / "uptime"
    pretended.write_text("1000.9 1\n")
    cluster.hardware(lease="600")
    guard.acknowledged(UPTIME=str(pretended), PACE="1")
    until(lambda: (guard.folder / "memory").exists())
    pretended.write_text("1600.8 1\n")
    cluster.hardware("bolt")
    guard.send("start", HARDWARE="bolt", RUN=RUN, RENEWAL="1", WAIT="30")
    assert cluster.open()
    pretended.write_text("1601.1 1\n")
    guard.logged(f"closed hardware=anvil run={RUN} reason=expired")


def uptime() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def test_the_time_of_day_ends_no_lease(guard: Client, cluster: Cluster) -> None:
    """Renewed years ago by one computer's clock, years ahead by another's."""
    cluster.hardware(renewed="1999-01-01T00:00:00Z")
    cluster.hardware("bolt", renewed="2099-01-01T00:00:00Z", lease="1")
    guard.acknowledged(PACE="1")
    until(lambda: not cluster.open("bolt"), what="it is closed by uptime")
    assert cluster.open("anvil")


@pytest.mark.parametrize(
    ("before", "now", "after"),
    [
        ("absent", "disabled", None),
        ("enabled", "disabled", "enabled"),
        ("disabled", "disabled", "disabled"),
        ("absent", "enabled", "enabled"),
        ("absent", None, None),
        (None, "disabled", "disabled"),
        ('odd "value"\n', "disabled", None),
    ],
)
def test_flux_has_its_switch_back(
    guard: Client, cluster: Cluster, before: str | None, now: str | None, after: str | None
) -> None:
    cluster.hardware(lease="0", flux=before)
    if now:
        cluster.note(FLUX, now)
    guard.start(PACE="1")
    guard.logged("closed hardware=anvil")
    assert cluster.notes().get(FLUX) == after


def test_a_pause_that_was_left_behind_is_taken_back(guard: Client, cluster: Cluster) -> None:
    cluster.hardware(pxe=(False,), run=None)
    for key, value in ((FLUX, "disabled"), ("flux", "absent"), ("other/key", "note")):
        cluster.note(key, value)
    guard.start()
    guard.logged("unpaused hardware=anvil")
    assert cluster.notes() == {"other/key": "note"}


def test_a_window_whose_claim_was_taken_away_is_closed(guard: Client, cluster: Cluster) -> None:
    cluster.hardware()
    guard.acknowledged()
    cluster.note("run", None)
    guard.start()
    guard.logged(f"closed hardware=anvil run={RUN} reason=claim-gone")
    assert cluster.closes()[0][1]["value"] is None


def test_a_window_that_nobody_claimed_is_said_once_and_left(guard: Client, cluster: Cluster) -> None:
    cluster.hardware(run=None)
    cluster.hardware("bolt")
    guard.start()
    guard.logged("stray hardware=anvil interfaces=1")
    for renewal in "23":
        cluster.note("renewal", renewal, "bolt")
        guard.send("start", HARDWARE="bolt", RUN=RUN, RENEWAL=renewal)
    assert cluster.open()
    assert [line for line in guard.log() if line.startswith("stray")] == ["stray hardware=anvil interfaces=1"]


def test_another_runs_claim_has_its_own_lease_and_workflow(guard: Client, cluster: Cluster) -> None:
    cluster.workflow("RUNNING")
    cluster.hardware(pxe=(True,), workflow=None)
    guard.acknowledged()
    cluster.note("run", "run-2")
    cluster.note("renewal", "1")
    guard.send("start", HARDWARE="anvil", RUN="run-2", RENEWAL="1")
    assert cluster.open()


ODD = "r|1\nH|bolt|1|true,|map|x \"'%s$(reboot)"


def test_what_people_write_is_data(guard: Client, cluster: Cluster) -> None:
    """A claim with odd words is nobody's whom we know: not acknowledged, closed when its lease is over."""
    cluster.hardware(run=ODD, lease="1", renewal=ODD, workflow=ODD, until=ODD, boot_action=ODD, workflow_uid=None)
    cluster.hardware("bolt")
    guard.send("start", HARDWARE="bolt", RUN=RUN, RENEWAL="1", PACE="1")
    guard.logged("closed hardware=anvil run=r%7C1%0AH")
    assert cluster.open("bolt")
    assert cluster.notes() == {}
    assert len(guard.log()) == 2


@pytest.mark.parametrize("lease", ["", "-1", "1e9", "99999999999999999999", "x"])
def test_an_odd_lease_is_the_usual_one(guard: Client, cluster: Cluster, lease: str) -> None:
    cluster.hardware(lease=lease)
    guard.acknowledged()
    assert cluster.open()


@pytest.mark.parametrize("before", ["null", '"enabled"'])
def test_a_claim_of_the_first_design_is_closed_said_and_removed(guard: Client, cluster: Cluster, before: str) -> None:
    """Its lease is 600 s from when its note last changed; here the guard has known it for as long."""
    note = f'{{"before": {{"{FLUX}": {before}}}, "expires": "2026-01-02T03:14:05Z", "holder": "kevin"}}'
    cluster.hardware(renewal=None, lease=None, workflow=None, until=None, window=note)
    cluster.note(FLUX, "disabled")
    pretended = guard.root.parent / "uptime"
    pretended.write_text("1000.5 1\n")
    guard.start(UPTIME=str(pretended), PACE="1")
    until(lambda: (guard.folder / "memory").exists())
    assert cluster.open()
    pretended.write_text("1601.5 1\n")
    guard.logged(f"closed hardware=anvil run={RUN} reason=expired")
    assert cluster.notes() == ({} if before == "null" else {FLUX: "enabled"})


def test_a_live_claim_of_the_first_design_renews_by_its_note(guard: Client, cluster: Cluster) -> None:
    cluster.hardware(renewal=None, lease=None, workflow=None, until=None, window='{"expires": "1"}')
    pretended = guard.root.parent / "uptime"
    pretended.write_text("1000.5 1\n")
    guard.start(UPTIME=str(pretended), PACE="1")
    until(lambda: (guard.folder / "memory").exists())
    cluster.note("window", '{"expires": "2"}')
    guard.start()
    until(lambda: "expires%22%3A+%222" in (guard.folder / "memory").read_text())
    pretended.write_text("1599.5 1\n")
    cluster.hardware("bolt")
    guard.send("start", HARDWARE="bolt", RUN=RUN, RENEWAL="1")
    assert cluster.open()


@pytest.mark.parametrize("key", ["run", "renewal"])
def test_a_patch_that_comes_too_late_is_refused_and_read_anew(guard: Client, cluster: Cluster, key: str) -> None:
    """Between read and patch another client takes the server over, or its own renews: the window stays."""
    between, notes = guard.root.parent / "kubectl", "/metadata/annotations/metalfoundry.dev~1"
    patch = [{"op": "add", "path": f"{notes}{word}", "value": value} for word, value in ((key, "r2"), ("lease", "600"))]
    swap = f"{cluster.kubectl} patch hardware.v1alpha1.tinkerbell.org anvil -n tink-system --type=json"
    between.write_text(
        f"""#!/bin/sh
case $*,$(ls {between}.done 2>/dev/null) in
  patch*allowPXE*,) : >{between}.done; {swap} -p '{json.dumps(patch)}' >&2 ;;
esac
exec {cluster.kubectl} "$@"
"""
    )
    between.chmod(0o755)
    cluster.hardware(lease="0", workflow=None)
    guard.start(KUBECTL=str(between), PACE="1")
    until(lambda: "r2" in cluster.notes().get("guard", ""))
    assert cluster.open()


def test_a_patch_that_is_refused_for_good_is_said_once(guard: Client, cluster: Cluster) -> None:
    cluster.faults.denied = {("patch", "hardware")}
    cluster.workflow("RUNNING")
    cluster.hardware()
    guard.start()
    guard.logged("close-refused hardware=anvil reason=RUNNING error=Error from server (Forbidden)")
    sent = len(cluster.closes())
    until(lambda: len(cluster.closes()) > sent + 2)
    assert len([line for line in guard.log() if line.startswith("close-refused")]) == 1
    assert "guard" not in cluster.notes()
    cluster.faults.denied = set()
    until(lambda: not cluster.open())


def test_without_the_right_to_patch_nothing_is_acknowledged(guard: Client, cluster: Cluster) -> None:
    cluster.faults.denied = {("patch", "hardware")}
    cluster.hardware()
    done = guard.raw(guard.text("start", HARDWARE="anvil", RUN=RUN, RENEWAL="1", WAIT="1"))
    assert done.returncode == 8
    assert f"no guard has acknowledged renewal 1 of {RUN} in 1 s" in done.stderr


def test_api_away_and_back(guard: Client, cluster: Cluster) -> None:
    cluster.workflow("PENDING")
    cluster.hardware()
    guard.acknowledged()
    cluster.faults.api_down()
    guard.start()
    guard.logged("api-away error=The connection to the server")
    cluster.workflow("RUNNING")
    cluster.faults.api_up()
    guard.logged(f"closed hardware=anvil run={RUN} reason=RUNNING")
    assert [line.split()[0] for line in guard.log()].count("api-away") == 1
    assert "api-back" in guard.log()


def test_an_ended_watch_is_taken_up_again(guard: Client, cluster: Cluster) -> None:
    cluster.workflow("PENDING")
    cluster.hardware()
    guard.acknowledged(PACE="1")
    until(lambda: cluster.store.watching == 1)
    cluster.faults.end_watches()
    watches = [call for call in cluster.door.calls if "-w" in call]
    until(lambda: len([call for call in cluster.door.calls if "-w" in call]) > len(watches))


def test_without_the_right_to_watch_it_looks_oftener(guard: Client, cluster: Cluster) -> None:
    cluster.faults.denied = {("watch", "workflows")}
    cluster.workflow("PENDING")
    cluster.hardware()
    guard.acknowledged()
    cluster.workflow("RUNNING")
    guard.logged(f"closed hardware=anvil run={RUN} reason=RUNNING")


def test_a_kubectl_that_hangs_is_given_up(guard: Client, cluster: Cluster, tmp_path: Path) -> None:
    """As one that waits for a credential helper; kubectl's own time limit begins after that."""
    slow, hang = tmp_path / "slow", tmp_path / "hang"
    slow.write_text(f'#!/bin/sh\nif [ -e {hang} ]; then exec sleep 600; fi\nexec {cluster.kubectl} "$@"\n')
    slow.chmod(0o755)
    cluster.workflow("PENDING")
    cluster.hardware()
    guard.acknowledged(KUBECTL=str(slow), PACE="1", HANG="2")
    hang.touch()
    guard.logged("api-away")
    cluster.workflow("RUNNING")
    hang.unlink()
    guard.logged(f"closed hardware=anvil run={RUN} reason=RUNNING")


def test_what_is_to_be_closed_does_not_wait_for_acknowledgements(
    guard: Client, cluster: Cluster, tmp_path: Path
) -> None:
    slow, armed, asked, go = (tmp_path / name for name in ("slow", "armed", "asked", "go"))
    slow.write_text(
        f"""#!/bin/sh
case $1,$(ls {armed} 2>/dev/null) in patch,?*) : >{asked}; while [ ! -e {go} ]; do sleep 0.02; done ;; esac
exec {cluster.kubectl} "$@"
"""
    )
    slow.chmod(0o755)
    cluster.workflow("PENDING")
    cluster.hardware()
    guard.acknowledged(KUBECTL=str(slow))
    until(lambda: cluster.store.watching == 1)
    for number in range(5):
        cluster.hardware(f"s{number}", workflow=None)
    armed.touch()
    guard.start()
    until(asked.exists)
    before = len(cluster.writes)
    cluster.workflow("RUNNING")
    until(lambda: "anvil" in (guard.folder / "events").read_text())
    go.touch()
    until(lambda: not cluster.open())
    assert ["allowPXE" in str(patch) for patch in cluster.writes[before:]].index(True) == 1


def test_many_windows_cost_one_list_and_one_watch(guard: Client, cluster: Cluster) -> None:
    for number in range(20):
        cluster.workflow("PENDING", name=f"s{number}")
        cluster.hardware(f"s{number}", pxe=(True,))
    for number in (0, 19):
        guard.send("start", HARDWARE=f"s{number}", RUN=RUN, RENEWAL="1", WAIT="40")
    assert cluster.store.watching == 1
    assert len(guard.guards()) == 1
    cluster.workflow("RUNNING", name="s12")
    until(lambda: not cluster.open("s12"))
    assert sum(cluster.open(f"s{number}") for number in range(20)) == 19

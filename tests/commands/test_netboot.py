"""The patches by their effect: each is applied to a store that refuses and loosens as kube-apiserver does."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from metalfoundry.commands import claims, netboot
from metalfoundry.commands.claims import RUN, WINDOW, ClaimSeen, WindowNote
from metalfoundry.commands.machine import MachineFacts
from metalfoundry.lab.kubernetes.api_server import MemoryStore
from metalfoundry.lab.kubernetes.store import Invalid, Object
from metalfoundry.model.foreign import parse_time
from metalfoundry.model.resources import FLUX_RECONCILE, Hardware

MAC, OTHER = "00:00:5e:00:53:4b", "00:00:5e:00:53:4c"
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
CLOSED = {"allowPXE": False, "allowWorkflow": False}
OPEN = {"allowPXE": True, "allowWorkflow": True}


def note(**more: Any) -> WindowNote:
    return WindowNote("kevin@laptop", "disk", claims.stamp(NOW), claims.stamp(NOW + timedelta(hours=1)), **more)


class Cluster:
    """One Hardware in a store."""

    def __init__(self, *interfaces: Object, annotations: dict[str, str] | None = None) -> None:
        self.store = MemoryStore()
        meta: Object = {"name": "anvil"} | ({"annotations": annotations} if annotations is not None else {})
        self.store.create("hardware", {"metadata": meta, "spec": {"interfaces": list(interfaces)}})

    @property
    def hardware(self) -> Hardware:
        return Hardware.of(self.store.get("hardware", "anvil"))

    @property
    def netboots(self) -> list[Any]:
        return [one.get("netboot") for one in self.hardware.raw["spec"]["interfaces"]]

    def patch(self, operations: list[netboot.Operation]) -> None:
        self.store.patch("hardware", "anvil", operations)

    def refuses(self, operations: list[netboot.Operation]) -> bool:
        before = self.store.get("hardware", "anvil")
        with pytest.raises(Invalid):
            self.patch(operations)
        return self.store.get("hardware", "anvil") == before

    def annotate(self, **annotations: str) -> None:
        def change(obj: Object) -> Object:
            obj["metadata"].setdefault("annotations", {}).update(annotations)
            return obj

        self.store.change("hardware", "anvil", change)


def nic(mac: str = MAC, **more: Any) -> Object:
    return {"dhcp": {"mac": mac}, **more}


def claimed(cluster: Cluster, run: str = "r1", **more: Any) -> WindowNote:
    made = note(**more)
    cluster.patch(netboot.claim(cluster.hardware, run, made))
    return made


@pytest.mark.parametrize("annotations", [None, {}, {"team": "a"}, {WINDOW: "left over"}])
def test_claim_and_release_leave_what_was_there(annotations: dict[str, str] | None) -> None:
    cluster = Cluster(nic(), annotations=annotations)
    made = claimed(cluster)
    assert claims.claim_of(cluster.hardware) == ClaimSeen("r1", made)
    cluster.patch(netboot.release(cluster.hardware, "r1", made))
    kept = {key: value for key, value in (annotations or {}).items() if key != WINDOW}
    assert dict(cluster.hardware.annotations) == kept
    assert claims.claim_of(cluster.hardware) is None


@pytest.mark.parametrize("annotations", [None, {"team": "a"}])
def test_of_two_claims_on_the_same_reading_one_is_refused(annotations: dict[str, str] | None) -> None:
    cluster = Cluster(nic(), annotations=annotations)
    seen = cluster.hardware
    cluster.patch(netboot.claim(seen, "r1", note()))
    assert cluster.refuses(netboot.claim(seen, "r2", note()))


def test_annotations_that_came_in_between_refuse_a_claim_that_would_wipe_them() -> None:
    cluster = Cluster(nic())
    seen = cluster.hardware
    cluster.annotate(team="a")
    assert cluster.refuses(netboot.claim(seen, "r1", note()))
    cluster.patch(netboot.claim(cluster.hardware, "r1", note()))
    assert cluster.hardware.annotations["team"] == "a"


def test_taking_over_needs_the_run_that_was_seen() -> None:
    cluster = Cluster(nic(), annotations={"team": "a"})
    claimed(cluster, "dead")
    takeover = netboot.claim(cluster.hardware, "r2", note())
    cluster.patch(takeover)
    assert cluster.hardware.annotations[RUN] == "r2"
    assert cluster.refuses(takeover)


def test_taking_over_is_refused_when_the_claim_was_given_back_meanwhile() -> None:
    cluster = Cluster(nic())
    made = claimed(cluster, "dead")
    takeover = netboot.claim(cluster.hardware, "r2", note())
    cluster.patch(netboot.release(cluster.hardware, "dead", made))
    assert cluster.refuses(takeover)


def test_the_old_systems_stay_until_a_run_has_ended_well() -> None:
    cluster, old = Cluster(nic()), MachineFacts(machine_id="old", root="r")
    cluster.patch(netboot.claim(cluster.hardware, "r1", note(), [old]))
    cluster.patch(netboot.release(cluster.hardware, "r1", note()))
    assert claims.old_systems(cluster.hardware) == (old,)
    claimed(cluster, "r2")
    cluster.patch(netboot.release(cluster.hardware, "r2", note(), well=True))
    assert claims.old_systems(cluster.hardware) == ()


def test_only_the_holder_opens_rewrites_closes_and_releases() -> None:
    cluster = Cluster(nic(netboot=CLOSED))
    made = claimed(cluster)
    seen = cluster.hardware
    for operations in (
        netboot.open_(seen, "r2", MAC, note()),
        netboot.close(seen, "r2"),
        netboot.rewrite("r2", note()),
        netboot.release(seen, "r2", made),
    ):
        assert cluster.refuses(operations)


def test_open_makes_the_block_only_where_there_is_none() -> None:
    cluster = Cluster(nic())
    claimed(cluster)
    cluster.patch(netboot.open_(cluster.hardware, "r1", None, note()))
    assert cluster.netboots == [OPEN]


def test_open_keeps_what_else_the_block_holds() -> None:
    cluster = Cluster(nic(netboot={"allowPXE": False, "osie": {"baseURL": "http://x/"}}))
    claimed(cluster)
    cluster.patch(netboot.open_(cluster.hardware, "r1", MAC, note()))
    assert cluster.netboots == [{**OPEN, "osie": {"baseURL": "http://x/"}}]


@pytest.mark.parametrize(
    ("mac", "wanted"), [(MAC, [OPEN, CLOSED]), (OTHER, [CLOSED, OPEN]), (OTHER.upper(), [CLOSED, OPEN]), (None, None)]
)
def test_open_touches_the_one_interface(mac: str | None, wanted: list[Any] | None) -> None:
    cluster = Cluster(nic(netboot=CLOSED), nic(OTHER, netboot=CLOSED))
    claimed(cluster)
    cluster.patch(netboot.open_(cluster.hardware, "r1", mac, note()))
    assert cluster.netboots == (wanted or [OPEN, CLOSED])


def test_open_is_refused_when_the_interfaces_changed_places() -> None:
    cluster = Cluster(nic(netboot=CLOSED), nic(OTHER, netboot=CLOSED))
    claimed(cluster)
    operations = netboot.open_(cluster.hardware, "r1", OTHER, note())

    def swap(obj: Object) -> Object:
        obj["spec"]["interfaces"].reverse()
        return obj

    cluster.store.change("hardware", "anvil", swap)
    assert cluster.refuses(operations)


def test_close_shuts_every_interface_that_says_anything() -> None:
    cluster = Cluster(
        nic(netboot={**OPEN, "ipxe": {"url": "http://x/"}}), nic(OTHER), nic("00:00:5e:00:53:4d", netboot=OPEN)
    )
    claimed(cluster)
    cluster.patch(netboot.close(cluster.hardware, "r1"))
    assert cluster.netboots == [{**CLOSED, "ipxe": {"url": "http://x/"}}, None, CLOSED]


def test_close_shuts_what_was_opened_after_the_reading() -> None:
    cluster = Cluster(nic(netboot={"allowPXE": False}))
    claimed(cluster)
    old = cluster.hardware
    cluster.patch(netboot.open_(old, "r1", MAC, note()))
    cluster.patch(netboot.close(old, "r1"))
    assert cluster.netboots == [CLOSED]


def test_a_claim_is_given_back_in_the_patch_that_closes() -> None:
    cluster = Cluster(nic(netboot={"allowPXE": False}))
    made = claimed(cluster)
    old = cluster.hardware
    cluster.patch(netboot.open_(old, "r1", MAC, note()))
    cluster.patch(netboot.release(old, "r1", made))
    assert cluster.netboots == [CLOSED]
    assert RUN not in cluster.hardware.annotations


def test_close_without_a_run_needs_no_claim() -> None:
    cluster = Cluster(nic(netboot=OPEN))
    cluster.patch(netboot.close(cluster.hardware, None))
    assert cluster.netboots == [CLOSED]


@pytest.mark.parametrize("before", [None, "enabled", "disabled"])
def test_flux_is_paused_by_the_claim_and_put_back_by_the_release(before: str | None) -> None:
    annotations = {"team": "a"} | ({FLUX_RECONCILE: before} if before else {})
    cluster = Cluster(nic(), annotations=annotations)
    made = claimed(cluster, before={FLUX_RECONCILE: before})
    assert cluster.hardware.flux_paused
    assert claims.claim_of(cluster.hardware) == ClaimSeen("r1", made)
    cluster.patch(netboot.release(cluster.hardware, "r1", made))
    assert dict(cluster.hardware.annotations) == annotations


def test_release_bears_what_others_took_away_meanwhile() -> None:
    cluster = Cluster(nic(), annotations={"team": "a"})
    made = claimed(cluster, before={FLUX_RECONCILE: None})

    def take(obj: Object) -> Object:
        del obj["metadata"]["annotations"][WINDOW], obj["metadata"]["annotations"][FLUX_RECONCILE]
        return obj

    cluster.store.change("hardware", "anvil", take)
    cluster.patch(netboot.release(cluster.hardware, "r1", made))
    assert dict(cluster.hardware.annotations) == {"team": "a"}


def test_rewrite_changes_the_note_alone() -> None:
    cluster = Cluster(nic(netboot=CLOSED))
    claimed(cluster)
    before = copy.deepcopy(cluster.hardware.raw)
    later = note(phase="install")
    cluster.patch(netboot.rewrite("r1", later))
    assert claims.claim_of(cluster.hardware) == ClaimSeen("r1", later)
    assert cluster.hardware.raw["spec"] == before["spec"]


def test_init_makes_closed_blocks_and_nothing_twice() -> None:
    cluster = Cluster(nic(), nic(OTHER, netboot={"allowPXE": True}))
    cluster.patch(netboot.init(cluster.hardware))
    assert cluster.netboots == [CLOSED, {"allowPXE": True}]
    assert netboot.init(cluster.hardware) == []


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "3", '{"holder": null, "before": 4}', '{"strange": 1}'])
def test_anyones_writing_is_read(text: str) -> None:
    assert WindowNote.from_annotations({WINDOW: text}) == WindowNote("", "", "", "")


def test_a_note_that_somebody_wrote_puts_nothing_but_flux_back() -> None:
    told = {"kubectl.kubernetes.io/x": "y", "metalfoundry.dev/old-system": None, FLUX_RECONCILE: "enabled"}
    written = WindowNote.from_annotations({WINDOW: json.dumps({"holder": "eve", "before": told})})
    assert written.before == {FLUX_RECONCILE: "enabled"}
    assert WindowNote.from_annotations({WINDOW: json.dumps({"before": {FLUX_RECONCILE: {"a": 1}}})}).before == {}
    cluster = Cluster(nic(), annotations={"team": "a", "metalfoundry.dev/old-system": "[]"})
    claimed(cluster)
    cluster.patch(netboot.release(cluster.hardware, "r1", written))
    assert dict(cluster.hardware.annotations) == {
        "team": "a",
        "metalfoundry.dev/old-system": "[]",
        FLUX_RECONCILE: "enabled",
    }


def test_a_note_comes_back_as_it_was_written() -> None:
    whole = replace(note(phase="boot", workflow="w", before={FLUX_RECONCILE: None}), lease=600, uid="u-1", until="end",
                    boot_action="reboot | now").renew(NOW)  # fmt: skip
    assert WindowNote.from_annotations({WINDOW: whole.to_json()} | whole.flat()) == whole


def test_the_flat_annotations_count_before_the_note() -> None:
    told = note(workflow="w", before={FLUX_RECONCILE: "enabled"}).to_json()
    flat = {"metalfoundry.dev/renewed": "2026-01-02T03:04:05Z", "metalfoundry.dev/lease": "60",
            "metalfoundry.dev/flux": "absent", "metalfoundry.dev/workflow": "v"}  # fmt: skip
    seen = WindowNote.from_annotations({WINDOW: told} | flat)
    assert (seen.expires, seen.workflow, seen.before) == ("2026-01-02T03:05:05Z", "v", {FLUX_RECONCILE: None})


@pytest.mark.parametrize("lease", ["9" * 40, "-1", "x", "٣"])
def test_an_odd_lease_breaks_nothing(lease: str) -> None:
    WindowNote.from_annotations({"metalfoundry.dev/lease": lease, "metalfoundry.dev/renewed": "2026-01-02T03:04:05Z"})


@pytest.mark.parametrize(
    ("word", "shut"),
    [("kevin@jump r1 3 holds", ""), ("pod-1 r1 3 shut-deleted", "deleted"), ("kevin@jump r1 2 holds", None),
     ("kevin@jump r2 3 holds", None), ("", None), ("r1 3 holds", None)],
)  # fmt: skip
def test_a_guards_word_counts_for_the_renewal_that_it_names(word: str, shut: str | None) -> None:
    notes = {claims.RUN: "r1", "metalfoundry.dev/renewal": "3", "metalfoundry.dev/lease": "9", claims.GUARD: word}
    found = claims.acknowledgement(Hardware.of({"metadata": {"name": "anvil", "annotations": notes}}))
    assert (found.shut if found else None) == shut


def test_whoever_gives_it_back_leaves_no_word_of_the_claim() -> None:
    cluster = Cluster(nic(), annotations={"team": "a"})
    claimed(cluster)
    cluster.patch([{"op": "add", "path": "/metadata/annotations/metalfoundry.dev~1guard", "value": "late"}])
    cluster.patch(netboot.release(cluster.hardware, "r1", note()))
    assert dict(cluster.hardware.annotations) == {"team": "a"}


def test_a_pause_that_was_left_behind_is_taken_back() -> None:
    notes = {FLUX_RECONCILE: "disabled", "metalfoundry.dev/flux": "enabled", "team": "a"}
    cluster = Cluster(nic(), annotations=notes)
    assert claims.left_paused(cluster.hardware)
    cluster.patch(netboot.unpause(cluster.hardware))
    assert dict(cluster.hardware.annotations) == {FLUX_RECONCILE: "enabled", "team": "a"}


@pytest.mark.parametrize(
    ("expires", "live"),
    [
        ("2026-01-02T03:04:05Z", False),
        ("2026-01-02T03:04:06Z", True),
        ("2026-01-02T04:00:00+02:00", False),
        ("2026-01-02T03:04:07", True),
        ("", True),
        ("tomorrow", True),
    ],
)
def test_a_claim_that_cannot_be_dated_counts_as_live(expires: str, live: bool) -> None:
    assert ClaimSeen("r1", WindowNote("", "", "", expires)).live(NOW) is live


def test_stamps_are_utc_in_whole_seconds() -> None:
    assert claims.stamp(NOW) == "2026-01-02T03:04:05Z"
    assert parse_time(claims.stamp(NOW)) == NOW.replace(microsecond=0)

"""Claim, open and close as JSON patches on one Hardware object.

The claim is a few flat annotations of the Hardware itself, which a shell can read, beside a note in JSON for people: so
one request reads or changes claim and window, and anyone with kubectl can see them. The run id is the nonce: every
patch after the claim begins with `test` on it, so it is applied by its owner or not at all. kube-apiserver's JSON patch
(tried on 1.33): `test` with null passes on an absent key; an operation under an absent parent fails the whole patch; a
refusal is a 422 without a reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from metalfoundry.commands.annotate import pointer as _annotation
from metalfoundry.commands.history import HISTORY, HistoryEntry, with_run
from metalfoundry.commands.machine import MachineFacts
from metalfoundry.commands.reading import whole
from metalfoundry.model.actions import mapping
from metalfoundry.model.foreign import from_json, parse_time
from metalfoundry.model.names import is_object_name
from metalfoundry.model.resources import FLUX_RECONCILE, PROTECTED, Hardware
from metalfoundry.model.states import ClaimPhase

RUN = "metalfoundry.dev/run"
WINDOW = "metalfoundry.dev/window"
GUARD = "metalfoundry.dev/guard"
PAUSED = "metalfoundry.dev/flux"
ABSENT = "absent"
BROKEN = "metalfoundry.dev/broken"
BY_HAND = ClaimPhase.BY_HAND
OLD_SYSTEMS = "metalfoundry.dev/old-system"
MOST_OLD_SYSTEMS = 5
_PREFIX = "metalfoundry.dev/"
_FLAT = ("renewed", "renewal", "lease", "workflow", "workflow-uid", "until", "boot-action", "flux")
_LONGEST = 10 * 365 * 86400  # what a date can bear
_FOR_PEOPLE = ("holder", "reason", "opened", "expires", "phase", "workflow")

Operation = dict[str, Any]


@dataclass(frozen=True, slots=True)
class WindowNote:
    """What a claim says beside its run: who holds it, why, since and until when (RFC 3339, UTC, whole seconds, by the
    jump host's clock).

    `phase`: the last one that was written down, so that another client can take the run up. `before` remembers
    the annotation that the claim changed (Flux's): its old value, or None where there was none. `renewal` is raised and
    `renewed` set at each renewal; `lease` in seconds from then, 0 for a claim of the first design. `uid` is the
    Workflow's, once it was applied; `until` and `boot_action` as docs/guard.md.
    """

    holder: str
    reason: str
    opened: str
    expires: str
    phase: str = ""
    workflow: str = ""
    before: Mapping[str, str | None] = field(default_factory=dict)
    renewed: str = ""
    renewal: int = 0
    lease: int = 0
    uid: str = ""
    until: str = ""
    boot_action: str = ""

    def to_json(self) -> str:
        """The text of the annotation for people."""
        words = {key: getattr(self, key) for key in _FOR_PEOPLE}
        return json.dumps(words | {"before": dict(self.before)}, sort_keys=True)

    def flat(self) -> dict[str, str]:
        """The annotations for the guard; those without a value are left out."""
        words = {"renewed": self.renewed, "renewal": str(self.renewal), "lease": str(self.lease)}
        words |= {"workflow": self.workflow, "workflow-uid": self.uid}
        words |= {"until": self.until, "boot-action": self.boot_action}
        if FLUX_RECONCILE in self.before:
            words["flux"] = self.before[FLUX_RECONCILE] or ABSENT
        return {_PREFIX + key: value for key, value in words.items() if value}

    def renew(self, now: datetime) -> WindowNote:
        """The same, a lease on from `now`."""
        expires = stamp(now + timedelta(seconds=self.lease))
        return replace(self, renewed=stamp(now), renewal=self.renewal + 1, expires=expires)

    @classmethod
    def from_annotations(cls, annotations: Mapping[str, str]) -> WindowNote:
        """Read a claim; what is missing or odd becomes empty, for it may be anyone's writing. The flat annotations
        count before the note."""
        value = mapping(from_json(annotations.get(WINDOW, "")))
        words = {key: str(value.get(key) or "") for key in _FOR_PEOPLE}
        flat = {key: annotations.get(_PREFIX + key, "") for key in _FLAT}
        renewal, lease = whole(flat["renewal"]) or 0, whole(flat["lease"]) or 0
        if flat["lease"]:
            renewed = parse_time(flat["renewed"])
            words["expires"] = stamp(renewed + timedelta(seconds=min(lease, _LONGEST))) if renewed else words["expires"]
            words["workflow"] = flat["workflow"]
        words["workflow"] = words["workflow"] if is_object_name(words["workflow"]) else ""
        before = _changed(value.get("before"))
        if flat["flux"]:
            before = {FLUX_RECONCILE: None if flat["flux"] == ABSENT else flat["flux"]}
        return cls(
            **words,
            before=before,
            renewed=flat["renewed"],
            renewal=renewal,
            lease=lease,
            uid=flat["workflow-uid"],
            until=flat["until"],
            boot_action=flat["boot-action"],
        )


@dataclass(frozen=True, slots=True)
class ClaimSeen:
    """A claim as found on a Hardware object."""

    run: str
    note: WindowNote

    def live(self, now: datetime) -> bool:
        """Whether it has not expired. A claim whose expiry cannot be read counts as live: better ask than break."""
        moment = parse_time(self.note.expires)
        return moment is None or moment > now


def claim_of(hardware: Hardware) -> ClaimSeen | None:
    """The claim on this object, if any."""
    run = hardware.annotations.get(RUN)
    return ClaimSeen(run, WindowNote.from_annotations(hardware.annotations)) if run else None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What a guard says on the object: its name, the claim and the renewal that it has seen.

    `shut`: why it closes what is opened under that claim, "" while it may be open.
    """

    guard: str
    run: str
    renewal: str
    shut: str = ""


def acknowledgement(hardware: Hardware) -> Acknowledged | None:
    """The guard's word about the claim on this object as it stands; None where there is none of this renewal."""
    words = hardware.annotations.get(GUARD, "").split(" ")
    claim = claim_of(hardware)
    if claim is None or len(words) != 4 or words[1:3] != [claim.run, str(claim.note.renewal)]:
        return None
    return Acknowledged(words[0], words[1], words[2], words[3].removeprefix("shut-") if words[3] != "holds" else "")


def left_paused(hardware: Hardware) -> bool:
    """Whether Flux is paused for a claim that is gone."""
    return claim_of(hardware) is None and PAUSED in hardware.annotations


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds: such strings sort by time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def old_systems(hardware: Hardware) -> tuple[MachineFacts, ...]:
    """The systems that ran on this machine since a run last ended well, as far as marks tell them from a new one.

    They stay over failed runs: whatever a run looks for must differ from each of them.
    """
    listed = from_json(hardware.annotations.get(OLD_SYSTEMS, ""))
    marks = [_texts(item) for item in (listed if isinstance(listed, list) else [])]
    return tuple(MachineFacts.from_marks(item) for item in marks if item)


def claim(hardware: Hardware, run: str, note: WindowNote, old: Sequence[MachineFacts] = ()) -> list[Operation]:
    """Take the object as it was read: refused when somebody took it, let go of it, or protected it in between.

    `old` is written down for `old_systems`; where there are none, what stands there stays.
    """
    holder = claim_of(hardware)
    operations: list[Operation] = []
    if not hardware.annotations:
        operations += [_test("/metadata/annotations", None), _add("/metadata/annotations", {})]
    operations += [_test(_annotation(RUN), holder.run if holder else None), *_gone(GUARD), *_written(run, note)]
    operations += [each for key in _FLAT if _PREFIX + key not in note.flat() for each in _gone(_PREFIX + key)]
    operations.append(_test(_annotation(PROTECTED), None))
    if old:
        marks = [dict(system.marks) for system in old[-MOST_OLD_SYSTEMS:]]
        operations.append(_add(_annotation(OLD_SYSTEMS), json.dumps(marks, sort_keys=True)))
    if BROKEN in hardware.annotations:
        operations.append(_remove(_annotation(BROKEN)))
    operations += [_add(_annotation(key), "disabled") for key in note.before if key == FLUX_RECONCILE]
    return operations


def rewrite(run: str, note: WindowNote) -> list[Operation]:
    """Write the note anew (a renewal, a new phase) under our own claim."""
    return [_test(_annotation(RUN), run), *_written(run, note)]


def open_(hardware: Hardware, run: str, mac: str | None, note: WindowNote) -> list[Operation]:
    """Allow netboot on the interface with `mac`, else on the first, and write `note`; nothing else is touched."""
    index = hardware.interface_for(mac)
    base = f"/spec/interfaces/{index}"
    operations = rewrite(run, note)
    if hardware.interfaces[index].mac:
        operations.append(_test(f"{base}/dhcp/mac", hardware.raw["spec"]["interfaces"][index]["dhcp"]["mac"]))
    if not hardware.interfaces[index].has_netboot:
        operations.append(_add(f"{base}/netboot", {}))
    return [*operations, _add(f"{base}/netboot/allowPXE", True), _add(f"{base}/netboot/allowWorkflow", True)]


def close(hardware: Hardware, run: str | None) -> list[Operation]:
    """Forbid netboot on every interface that says anything about it: under the claim `run`, or (None) nobody's.

    Not only on the open ones: what we read may be older than what somebody has opened since.
    """
    annotated = run or hardware.annotations
    operations = [_test(_annotation(RUN), run) if annotated else _test("/metadata/annotations", None)]
    for index, interface in enumerate(hardware.interfaces):
        if interface.allow_pxe is not None:
            base = f"/spec/interfaces/{index}/netboot"
            operations += [_add(f"{base}/allowPXE", False), _add(f"{base}/allowWorkflow", False)]
    return operations


def close_expired(hardware: Hardware) -> list[Operation]:
    """As `close`, under a foreign claim that has run out: refused when its run has renewed it meanwhile."""
    claim = claim_of(hardware)
    known = [_test(_annotation(key), hardware.annotations.get(key)) for key in (WINDOW, f"{_PREFIX}renewal")]
    return [*known, *close(hardware, claim.run if claim else None)]


def release(
    hardware: Hardware,
    run: str,
    note: WindowNote,
    well: bool = False,
    leaves: Mapping[str, str | None] | None = None,
) -> list[Operation]:
    """Close netboot, give the claim back, and put the annotations that it changed back as they were: one patch, so
    that nothing can be opened between the close and the end of the claim. After a run that ended `well`, the old
    systems are forgotten. `leaves`: annotations that stay for all to read, or (None) go.
    """
    operations = [*close(hardware, run), *_given_back()]
    if well and OLD_SYSTEMS in hardware.annotations:
        operations.append(_remove(_annotation(OLD_SYSTEMS)))
    for key, value in {**note.before, **(leaves or {})}.items():
        operations += [_add(_annotation(key), value)] if value is not None else _gone(key)
    return operations


def unpause(hardware: Hardware) -> list[Operation]:
    """Give Flux its switch back where a claim that is gone has left it paused."""
    note = WindowNote.from_annotations(hardware.annotations)
    operations = [_test(_annotation(RUN), None), _test(_annotation(PAUSED), hardware.annotations[PAUSED])]
    for key, value in note.before.items():
        if hardware.annotations.get(key) == "disabled":
            operations += [_add(_annotation(key), value)] if value is not None else _gone(key)
    return [*operations, *_given_back()]


def break_(hardware: Hardware, run: str, note: WindowNote, who: str, why: str, when: datetime) -> list[Operation]:
    """As `release`, for somebody else's claim; who did it, why and when stays on the object until the next claim, and
    that the run was ended stands in the history, for its client may be dead.
    """
    record = json.dumps({"run": run, "by": who, "reason": why, "at": stamp(when)}, sort_keys=True)
    entry = HistoryEntry(
        run, note.holder, note.reason, "broken", None, f"by {who}: {why or 'no reason given'}", note.opened, stamp(when)
    )
    leaves = {} if note.phase == BY_HAND else {HISTORY: with_run(hardware, entry)}
    return [*release(hardware, run, note, leaves=leaves), _add(_annotation(BROKEN), record)]


def broken(hardware: Hardware) -> str:
    """Who broke the last claim, in words; "" where nobody did."""
    record = mapping(from_json(hardware.annotations.get(BROKEN, "")))
    if not {"by", "at", "reason"} <= record.keys():
        return ""
    return f"broken by {record['by']} at {record['at']}: {record['reason'] or 'no reason given'}"


def close_by_hand(hardware: Hardware | None) -> list[Operation]:
    """Forbid netboot on every interface, whoever holds the server; on the first one where no object was read.

    An operation under an absent parent fails the whole patch: where no block was seen, one is made (Tinkerbell's toggle
    makes it on every interface, with nothing else in it).
    """
    if hardware is None or not hardware.interfaces:
        return [_add("/spec/interfaces/0/netboot/allowPXE", False)]
    return [
        _add(f"{base}/allowPXE", False) if interface.has_netboot else _add(base, {"allowPXE": False})
        for interface in hardware.interfaces
        if (base := f"/spec/interfaces/{interface.index}/netboot")
    ]


def init(hardware: Hardware) -> list[Operation]:
    """Make a closed netboot block on every interface that has none; empty where there is nothing to do."""
    return [
        _add(f"/spec/interfaces/{index}/netboot", {"allowPXE": False, "allowWorkflow": False})
        for index, interface in enumerate(hardware.interfaces)
        if not interface.has_netboot
    ]


def _changed(value: object) -> dict[str, str | None]:
    """Of what a note says was changed: the one annotation that a claim does change. Any other key is anybody's."""
    told = value if isinstance(value, dict) else {}
    return {
        key: text for key, text in told.items() if key == FLUX_RECONCILE and (text is None or isinstance(text, str))
    }


def _texts(value: object) -> dict[str, str]:
    return {str(key): str(item) for key, item in value.items()} if isinstance(value, dict) else {}


def _written(run: str, note: WindowNote) -> list[Operation]:
    """The whole claim."""
    words = {RUN: run, WINDOW: note.to_json()} | note.flat()
    return [_add(_annotation(key), value) for key, value in words.items()]


def _given_back() -> list[Operation]:
    """No trace of a claim, nor of the guard's word about it, whatever is there by now."""
    return [each for key in (RUN, WINDOW, GUARD, *(_PREFIX + key for key in _FLAT)) for each in _gone(key)]


def _gone(key: str) -> list[Operation]:
    """An annotation is not there afterwards: `remove` needs what it removes."""
    return [_add(_annotation(key), ""), _remove(_annotation(key))]


def _test(path: str, value: Any) -> Operation:
    return {"op": "test", "path": path, "value": value}


def _add(path: str, value: Any) -> Operation:
    return {"op": "add", "path": path, "value": value}


def _remove(path: str) -> Operation:
    return {"op": "remove", "path": path}

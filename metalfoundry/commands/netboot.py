"""Claim, open and close as JSON patches on one Hardware object.

Claim and window are two annotations of the Hardware itself, so that one request reads or changes both, and anyone
with kubectl can see them. The run id is the nonce: every patch after the claim begins with `test` on it, so it is
applied by its owner or not at all. kube-apiserver's JSON patch (tried on 1.33): `test` with null passes on an absent
key; an operation under an absent parent fails the whole patch; a refusal is a 422 without a reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from metalfoundry.commands.annotate import pointer as _annotation
from metalfoundry.commands.machine import MachineFacts
from metalfoundry.model.actions import mapping
from metalfoundry.model.foreign import from_json, parse_time
from metalfoundry.model.names import is_object_name
from metalfoundry.model.resources import FLUX_RECONCILE, PROTECTED, Hardware
from metalfoundry.model.states import ClaimPhase

RUN = "metalfoundry.dev/run"
WINDOW = "metalfoundry.dev/window"
BROKEN = "metalfoundry.dev/broken"
BY_HAND = ClaimPhase.BY_HAND
OLD_SYSTEMS = "metalfoundry.dev/old-system"
MOST_OLD_SYSTEMS = 5

Operation = dict[str, Any]


@dataclass(frozen=True, slots=True)
class WindowNote:
    """The window annotation: who holds it, why, since and until when (RFC 3339, UTC, whole seconds).

    `phase`: the last one that was written down, so that another client can take the run up. `before` remembers
    the annotation that the claim changed (Flux's): its old value, or None where there was none.
    """

    holder: str
    reason: str
    opened: str
    expires: str
    phase: str = ""
    workflow: str = ""
    before: Mapping[str, str | None] = field(default_factory=dict)

    def to_json(self) -> str:
        """The annotation's text."""
        return json.dumps(asdict(self) | {"before": dict(self.before)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> WindowNote:
        """Read an annotation; what is missing or odd becomes empty, for it may be anyone's writing."""
        value = mapping(from_json(text))
        words = {
            key: str(value.get(key) or "") for key in ("holder", "reason", "opened", "expires", "phase", "workflow")
        }
        words["workflow"] = words["workflow"] if is_object_name(words["workflow"]) else ""
        return cls(**words, before=_changed(value.get("before")))


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
    return ClaimSeen(run, WindowNote.from_json(hardware.annotations.get(WINDOW, ""))) if run else None


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
    operations += [_test(_annotation(RUN), holder.run if holder else None), _add(_annotation(RUN), run)]
    operations.append(_test(_annotation(PROTECTED), None))
    operations.append(_add(_annotation(WINDOW), note.to_json()))
    if old:
        marks = [dict(system.marks) for system in old[-MOST_OLD_SYSTEMS:]]
        operations.append(_add(_annotation(OLD_SYSTEMS), json.dumps(marks, sort_keys=True)))
    if BROKEN in hardware.annotations:
        operations.append(_remove(_annotation(BROKEN)))
    operations += [_add(_annotation(key), "disabled") for key in note.before if key == FLUX_RECONCILE]
    return operations


def rewrite(run: str, note: WindowNote) -> list[Operation]:
    """Change the window's note (a new expiry, a new phase) under our own claim."""
    return [_test(_annotation(RUN), run), _add(_annotation(WINDOW), note.to_json())]


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
    note = _test(_annotation(WINDOW), hardware.annotations.get(WINDOW))
    return [note, *close(hardware, claim.run if claim else None)]


def release(hardware: Hardware, run: str, note: WindowNote, well: bool = False) -> list[Operation]:
    """Close netboot, give the claim back, and put the annotations that it changed back as they were: one patch, so
    that nothing can be opened between the close and the end of the claim. After a run that ended `well`, the old
    systems are forgotten.
    """
    operations = [*close(hardware, run), _remove(_annotation(RUN))]
    if WINDOW in hardware.annotations:
        operations.append(_remove(_annotation(WINDOW)))
    if well and OLD_SYSTEMS in hardware.annotations:
        operations.append(_remove(_annotation(OLD_SYSTEMS)))
    for key, value in note.before.items():
        if value is not None:
            operations.append(_add(_annotation(key), value))
        elif key in hardware.annotations:
            operations.append(_remove(_annotation(key)))
    return operations


def break_(hardware: Hardware, run: str, note: WindowNote, who: str, why: str, when: datetime) -> list[Operation]:
    """As `release`, for somebody else's claim; who did it, why and when stays on the object until the next claim."""
    record = json.dumps({"run": run, "by": who, "reason": why, "at": stamp(when)}, sort_keys=True)
    return [*release(hardware, run, note), _add(_annotation(BROKEN), record)]


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


def _test(path: str, value: Any) -> Operation:
    return {"op": "test", "path": path, "value": value}


def _add(path: str, value: Any) -> Operation:
    return {"op": "add", "path": path, "value": value}


def _remove(path: str) -> Operation:
    return {"op": "remove", "path": path}

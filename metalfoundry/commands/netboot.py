"""Claim, open and close as JSON patches on one Hardware object.

The claim (claims.py) stands on the Hardware itself: so one request reads or changes claim and window, and anyone with
kubectl can see them. The run id is the nonce: every patch after the claim begins with `test` on it, so it is applied by
its owner or not at all. kube-apiserver's JSON patch (tried on 1.33): `test` with null passes on an absent key; an
operation under an absent parent fails the whole patch; a refusal is a 422 without a reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from metalfoundry.commands.annotate import pointer as _annotation
from metalfoundry.commands.claims import (
    BROKEN,
    BY_HAND,
    FLAT,
    GUARD,
    OLD_SYSTEMS,
    PAUSED,
    PREFIX,
    RUN,
    WINDOW,
    WindowNote,
    claim_of,
    stamp,
)
from metalfoundry.commands.history import HISTORY, HistoryEntry, with_run
from metalfoundry.commands.machine import MachineFacts
from metalfoundry.model.resources import FLUX_RECONCILE, PROTECTED, Hardware

MOST_OLD_SYSTEMS = 5
RUN_MARKS = (HISTORY, OLD_SYSTEMS)
"""No run takes a server, or gives it back, and leaves both of these annotations as they were."""

Operation = dict[str, Any]


def claim(hardware: Hardware, run: str, note: WindowNote, old: Sequence[MachineFacts] = ()) -> list[Operation]:
    """Take the object as it was read: refused when somebody took it, let go of it, protected it, or installed the
    server in between.

    `old` is written down for `old_systems`; where there are none, what stands there stays.
    """
    holder = claim_of(hardware)
    operations: list[Operation] = []
    if not hardware.annotations:
        operations += [_test("/metadata/annotations", None), _add("/metadata/annotations", {})]
    operations += [_test(_annotation(RUN), holder.run if holder else None), *_gone(GUARD), *_written(run, note)]
    operations += [each for key in FLAT if PREFIX + key not in note.flat() for each in _gone(PREFIX + key)]
    operations += [_test(_annotation(key), hardware.annotations.get(key)) for key in RUN_MARKS]
    operations.append(_test(_annotation(PROTECTED), None))
    if old:
        marks = [dict(system.marks) for system in old[-MOST_OLD_SYSTEMS:]]
        operations.append(_add(_annotation(OLD_SYSTEMS), json.dumps(marks, sort_keys=True)))
    if BROKEN in hardware.annotations:
        operations.append(_remove(_annotation(BROKEN)))
    operations += [_add(_annotation(key), "disabled") for key in note.before if key == FLUX_RECONCILE]
    return operations


def held(run: str) -> list[Operation]:
    """Nothing but the test that the claim is ours."""
    return [_test(_annotation(RUN), run)]


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
    known = [_test(_annotation(key), hardware.annotations.get(key)) for key in (WINDOW, f"{PREFIX}renewal")]
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


def _written(run: str, note: WindowNote) -> list[Operation]:
    """The whole claim."""
    words = {RUN: run, WINDOW: note.to_json()} | note.flat()
    return [_add(_annotation(key), value) for key, value in words.items()]


def _given_back() -> list[Operation]:
    """No trace of a claim, nor of the guard's word about it, whatever is there by now."""
    return [each for key in (RUN, WINDOW, GUARD, *(PREFIX + key for key in FLAT)) for each in _gone(key)]


def _gone(key: str) -> list[Operation]:
    """An annotation is not there afterwards: `remove` needs what it removes."""
    return [_add(_annotation(key), ""), _remove(_annotation(key))]


def _test(path: str, value: Any) -> Operation:
    return {"op": "test", "path": path, "value": value}


def _add(path: str, value: Any) -> Operation:
    return {"op": "add", "path": path, "value": value}


def _remove(path: str) -> Operation:
    return {"op": "remove", "path": path}

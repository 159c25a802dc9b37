"""What a claim says on its Hardware: flat annotations, which a shell can read, beside a note in JSON for people; and
what the guard says to it. docs/guard.md lists them.

Reading never fails: it may be anyone's writing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.commands.reading import whole
from metalfoundry.model.actions import mapping
from metalfoundry.model.foreign import from_json, parse_time
from metalfoundry.model.names import is_object_name
from metalfoundry.model.resources import FLUX_RECONCILE, Hardware
from metalfoundry.model.states import ClaimPhase

RUN = "metalfoundry.dev/run"
WINDOW = "metalfoundry.dev/window"
GUARD = "metalfoundry.dev/guard"
PAUSED = "metalfoundry.dev/flux"
ABSENT = "absent"
BROKEN = "metalfoundry.dev/broken"
BY_HAND = ClaimPhase.BY_HAND
OLD_SYSTEMS = "metalfoundry.dev/old-system"
PREFIX = "metalfoundry.dev/"
FLAT = ("renewed", "renewal", "lease", "workflow", "workflow-uid", "until", "boot-action", "flux")
_LONGEST = 10 * 365 * 86400  # what a date can bear
_FOR_PEOPLE = ("holder", "reason", "opened", "expires", "phase", "workflow")


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
        return {PREFIX + key: value for key, value in words.items() if value}

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
        flat = {key: annotations.get(PREFIX + key, "") for key in FLAT}
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


def broken(hardware: Hardware) -> str:
    """Who broke the last claim, in words; "" where nobody did."""
    record = mapping(from_json(hardware.annotations.get(BROKEN, "")))
    if not {"by", "at", "reason"} <= record.keys():
        return ""
    return f"broken by {record['by']} at {record['at']}: {record['reason'] or 'no reason given'}"


def _changed(value: object) -> dict[str, str | None]:
    """Of what a note says was changed: the one annotation that a claim does change. Any other key is anybody's."""
    told = value if isinstance(value, dict) else {}
    return {
        key: text for key, text in told.items() if key == FLUX_RECONCILE and (text is None or isinstance(text, str))
    }


def _texts(value: object) -> dict[str, str]:
    return {str(key): str(item) for key, item in value.items()} if isinstance(value, dict) else {}

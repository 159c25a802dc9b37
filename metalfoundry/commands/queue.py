"""Who waits for a server that a run holds: an annotation of its Hardware, the first in line first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from metalfoundry.commands.annotate import change
from metalfoundry.commands.claims import stamp
from metalfoundry.model.actions import mapping, text
from metalfoundry.model.foreign import from_json, parse_time
from metalfoundry.model.resources import Hardware

QUEUE = "metalfoundry.dev/queue"
PLACE_SECONDS = 90.0
MOST = 50


@dataclass(frozen=True, slots=True)
class Waiting:
    """One run that waits, who leads it, and since when; its place is kept `until` then, unless it renews it. Times are
    RFC 3339, by the jump host's clock."""

    run: str
    holder: str
    since: str
    until: str


def waiting(hardware: Hardware, now: datetime) -> tuple[Waiting, ...]:
    """Who waits, in turn; who has not renewed his place is passed over, and so is what is no entry of ours."""
    longest = now + timedelta(seconds=2 * PLACE_SECONDS)
    return tuple(place for place in _places(hardware) if now < (parse_time(place.until) or now) < longest)


def stand(hardware: Hardware, run: str, holder: str, now: datetime) -> list[dict[str, Any]]:
    """Keep the place of `run` for PLACE_SECONDS from now on, at the end of the line where it has none; refused when
    somebody else has changed the line. Who has left it without a word is taken out.
    """
    line = waiting(hardware, now)
    mine = next((place for place in line if place.run == run), None)
    until = stamp(now + timedelta(seconds=PLACE_SECONDS))
    place = Waiting(run, holder, mine.since if mine else stamp(now), until)
    kept = [place if other == mine else other for other in line] + ([] if mine else [place])
    return change(hardware, QUEUE, _text(kept[:MOST]))


def leave(hardware: Hardware, run: str) -> list[dict[str, Any]]:
    """Give the place of `run` up; empty where it has none."""
    line = _places(hardware)
    kept = [place for place in line if place.run != run]
    return change(hardware, QUEUE, _text(kept)) if len(kept) < len(line) else []


def _places(hardware: Hardware) -> list[Waiting]:
    listed = from_json(hardware.annotations.get(QUEUE, ""))
    words = [mapping(entry) for entry in (listed if isinstance(listed, list) else [])[:MOST]]
    told = [[text(entry.get(name)) for name in Waiting.__slots__] for entry in words]
    return [Waiting(*values) for values in told if all(values)]


def _text(places: Sequence[Waiting]) -> str | None:
    return json.dumps([asdict(place) for place in places]) if places else None

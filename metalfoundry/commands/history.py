"""The last runs of a server, whoever led them: an annotation on its Hardware, bounded in number and bytes.

It is written by who gives the claim back, or takes it away, in that very patch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from metalfoundry.model import redact
from metalfoundry.model.foreign import from_json, number
from metalfoundry.model.plain_text import inline
from metalfoundry.model.resources import Hardware

HISTORY = "metalfoundry.dev/history"
MOST_RUNS = 10
MOST_BYTES = 4096
_LONGEST = {"run": 120, "who": 80, "reason": 120, "verdict": 20, "cause": 240, "started": 24, "ended": 24}


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One run as it stands on the Hardware: `who` led it and for what `reason`, what came of it, and why it failed.

    `verdict`: provisioned, failed, interrupted, unsafe, or broken (somebody took the claim away; then `exit_code` is
    None). `started` and `ended` are RFC 3339 in UTC; "" where it is not told.
    """

    run: str
    who: str = ""
    reason: str = ""
    verdict: str = ""
    exit_code: int | None = None
    cause: str = ""
    started: str = ""
    ended: str = ""

    def to_json(self) -> dict[str, Any]:
        """A JSON-able object."""
        return asdict(self)

    @property
    def told(self) -> str:
        """One line for people: what came of it, by whom, why it failed."""
        who = f" by {self.who}" if self.who else ""
        return f"{self.verdict or 'ended'}{who}{f': {self.cause}' if self.cause else ''}"


def past_runs(hardware: Hardware) -> tuple[HistoryEntry, ...]:
    """The runs that stand on the object, the last one first; what cannot be read is passed over, for it may be
    anybody's writing."""
    listed = from_json(hardware.annotations.get(HISTORY, ""))
    found = [_read(item) for item in (listed if isinstance(listed, list) else [])[-MOST_RUNS:]]
    return tuple(run for run in reversed(found) if run)


def with_run(hardware: Hardware, run: HistoryEntry) -> str:
    """The annotation's text with `run` as the last one; the oldest are left out where there are too many."""
    earlier = [past for past in reversed(past_runs(hardware)) if past.run != run.run]
    kept = [*earlier, _bounded(run)][-MOST_RUNS:]
    while len(text := _text(kept)) > MOST_BYTES and len(kept) > 1:
        kept = kept[1:]
    return text


def _text(runs: Sequence[HistoryEntry]) -> str:
    told = [{key: value for key, value in run.to_json().items() if value not in ("", None)} for run in runs]
    return json.dumps(told, separators=(",", ":"))


def _read(item: object) -> HistoryEntry | None:
    if not isinstance(item, dict) or not isinstance(item.get("run"), str) or not item["run"]:
        return None
    words: dict[str, Any] = {key: item[key] for key in _LONGEST if isinstance(item.get(key), str)}
    code = number(item.get("exit_code"))
    return _bounded(HistoryEntry(**words, exit_code=int(code) if code is not None else None))


def _bounded(run: HistoryEntry) -> HistoryEntry:
    """Each word on one line, of bounded length, and without what looks like a secret."""
    words: dict[str, Any] = {key: _short(redact.text(getattr(run, key)), most) for key, most in _LONGEST.items()}
    return replace(run, **words)


def _short(text: str, most: int) -> str:
    """`text` on one line, in no more than `most` bytes of JSON and the dots that say that there was more."""
    line = inline(" ".join(text.split()))
    if len(json.dumps(line)) <= most:
        return line
    line = line[:most]
    while len(json.dumps(line)) > most:
        line = line[:-1]
    return line + "…"

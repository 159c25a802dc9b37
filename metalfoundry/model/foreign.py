"""Values in what clusters, machines and people wrote: what is no JSON, no time or no number is None, and no error."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

FIRST_YEAR, LAST_YEAR = 1970, 9000  # with room to reckon on either side; Go writes the year 1 for no time at all
MOST = 1e10  # three centuries, in seconds


def from_json(text: str) -> Any:
    """The value of `text`; None where it is no JSON, or nested too deep to be read."""
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):
        return None


def parse_time(value: Any) -> datetime | None:
    """RFC 3339 text (without a zone: UTC), or seconds since 1970, as a time in UTC; None for anything else."""
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
            found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
        else:
            seconds = number(value)
            found = datetime.fromtimestamp(math.nan if seconds is None else seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return found if FIRST_YEAR <= found.year < LAST_YEAR else None


def number(value: Any) -> float | None:
    """A number, or a text that is one, from -MOST to MOST; None for anything else."""
    try:
        found = None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found is not None and abs(found) <= MOST else None


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None

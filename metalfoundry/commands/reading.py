"""Numbers in what hosts print: anything else than a plain one is no number, and no error."""

from __future__ import annotations

import math
import re

_WHOLE = re.compile(r"[0-9]{1,15}")
_REAL = re.compile(r"[0-9]{1,15}(?:\.[0-9]{0,15})?")


def whole(text: str) -> int | None:
    """A whole number, not negative; None for anything else."""
    return int(text) if _WHOLE.fullmatch(text) else None


def real(text: str) -> float | None:
    """A finite number, not negative; None for anything else."""
    number = float(text) if _REAL.fullmatch(text) else math.nan
    return number if math.isfinite(number) else None

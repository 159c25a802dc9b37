"""Spans of time as people and Go write them."""

from __future__ import annotations

import re

from metalfoundry.model.foreign import MOST

_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs|μs|ns)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_NUMBER = re.compile(r"\d+(\.\d*)?|\.\d+")


def seconds(text: str) -> float:
    """`10m`, `90s`, `1h30m`, `1.5s`, Go's `1m2s3ms`, or a bare number of seconds; raises ValueError on all else."""
    word = text.strip()
    parts = [(word, "s")] if _NUMBER.fullmatch(word) else _PART.findall(word)
    total = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not parts or "".join(map("".join, parts)) not in (word, f"{word}s") or total > MOST:
        raise ValueError(f"{text!r} is not a span of time")
    return total

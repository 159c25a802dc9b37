"""What is no JSON, no time or no number is None, and no error."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from metalfoundry.model.durations import seconds
from metalfoundry.model.foreign import from_json, number, parse_time


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "1" * 5000, "NaN", "-Infinity", "1e400", "null"])
def test_no_json_is_none(text: str) -> None:
    assert from_json(text) is None


@pytest.mark.parametrize(
    "value",
    ["", "soon", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-10:00", None, True,
     999_999_999_999_999, float("nan"), float("inf"), 10**400, [], -1],
)  # fmt: skip
def test_no_time_is_none(value: Any) -> None:
    assert parse_time(value) is None


@pytest.mark.parametrize(
    "value", ["2026-01-02T03:04:05Z", "2026-01-02T05:04:05+02:00", "2026-01-02T03:04:05", 1767323045, 1767323045.0]
)
def test_times_are_in_utc(value: Any) -> None:
    assert parse_time(value) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("value", [None, "", "x", True, "nan", "1e400", float("inf"), 10**400, 1e300, [], {}])
def test_no_number_is_none(value: Any) -> None:
    assert number(value) is None


def test_numbers_are_numbers_in_text_too() -> None:
    assert [number(value) for value in (3, "2.5", -1)] == [3.0, 2.5, -1.0]


@pytest.mark.parametrize("text", ["9" * 400, f"{'9' * 400}h", "", "h", "1h30", "1h 30m", "-5s"])
def test_a_span_that_none_can_wait_for_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="not a span of time"):
        seconds(text)

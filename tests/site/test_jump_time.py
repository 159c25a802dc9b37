"""Two computers' clocks: what counts for a claim is the jump host's, and a lease is nobody's clock."""

from __future__ import annotations

import pytest

from metalfoundry.commands.script import read_time
from metalfoundry.model.errors import ClaimedError
from metalfoundry.model.events import Notice
from metalfoundry.model.foreign import parse_time
from metalfoundry.site.window import Window
from tests.site.place import SERVER, Bench

HOUR = 3600.0


@pytest.mark.parametrize("skew", [-HOUR, HOUR])
def test_a_claims_times_are_the_jump_hosts(bench: Bench, skew: float) -> None:
    bench.shell.skew = skew
    window = Window(bench.site(), SERVER, "run-1", lease=600)
    window.claim.take(None)
    renewed = parse_time(bench.annotations["metalfoundry.dev/renewed"])
    assert renewed is not None
    assert abs((renewed - bench.clock.now().wall).total_seconds() - skew) < 3
    window.arm()
    window.open()
    assert bench.is_open


def test_a_laptop_that_is_an_hour_ahead_takes_no_live_claim_over(bench: Bench) -> None:
    window = Window(bench.site(), SERVER, "run-1", lease=600)
    window.claim.take(None)
    bench.clock.sleep(HOUR)  # the second client's clock, an hour ahead of the jump host's
    bench.shell.skew = -HOUR
    other = Window(bench.site("ann@desk"), SERVER, "run-2", lease=600)
    with pytest.raises(ClaimedError, match="is held by"):
        other.claim.take(None)


def test_a_skew_is_said_once(bench: Bench) -> None:
    bench.shell.skew = -HOUR
    window = Window(bench.site(), SERVER, "run-1", lease=600)
    window.claim.take(None)
    window.arm()
    told = [event.text for event in bench.events if isinstance(event, Notice)]
    assert told == ["this computer's clock is 60 min ahead of the jump host's, which counts for claims"]


@pytest.mark.parametrize("skew", [0.0, 2.0, 30.0])
def test_less_than_a_minute_is_not_said(bench: Bench, skew: float) -> None:
    bench.shell.skew = skew
    Window(bench.site(), SERVER, "run-1", lease=600).claim.take(None)
    assert not [event for event in bench.events if isinstance(event, Notice)]


@pytest.mark.parametrize(
    ("stdout", "seconds"),
    [("\n@@metalfoundry a1 at 1767323045\nx", 1767323045), ("\n@@metalfoundry a1 at \nx", None), ("", None),
     ("x\n@@metalfoundry a1 at 5\n", None), ("\n@@metalfoundry a1 at 999999999999\n", None)],
)  # fmt: skip
def test_the_time_is_read_at_the_beginning_alone(stdout: str, seconds: int | None) -> None:
    assert read_time(stdout) == seconds

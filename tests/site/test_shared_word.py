"""The guard's word in a fleet: the shared watch shows it, and no program on the jump host waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metalfoundry.commands.claims import GUARD, claim_of
from metalfoundry.commands.kubectl import HARDWARE
from metalfoundry.model.errors import ClaimedError, PreflightError
from metalfoundry.model.resources import Hardware
from metalfoundry.site.claim import LEASE_SECONDS
from metalfoundry.site.guarding import WATCH_SECONDS
from metalfoundry.site.site import Site
from metalfoundry.site.window import GUARD_SURE_SECONDS, Window
from metalfoundry.transport.clock import Deadline
from tests.played_guard import DEAD, asked
from tests.site.place import SERVER, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as bench:
        yield bench


def window(bench: Bench, deed: Callable[[], object]) -> Window:
    """A window of a run whose shared watch shows the Hardware once `deed` is done, and then nothing more."""

    def watches(
        site: Site, wanted: Mapping[str, str], deadline: Deadline
    ) -> Iterator[tuple[str, str, dict[str, Any]] | None]:
        assert wanted == {HARDWARE: "anvil"}
        deed()
        yield HARDWARE, "MODIFIED", bench.hardware
        while not deadline.expired():
            bench.clock.advance(1.0)
            yield None

    return Window(replace(bench.site(), watches=watches), SERVER, "one")


def word(bench: Bench) -> None:
    """As a guard elsewhere acknowledges the claim as it stands."""
    claim = claim_of(Hardware.of(bench.hardware))
    assert claim is not None
    text = f"guard@jump {claim.run} {claim.note.renewal} holds"
    path = f"/metadata/annotations/{GUARD.replace('/', '~1')}"
    bench.store.patch("hardware", "anvil", [{"op": "add", "path": path, "value": text}])


def waited_for(bench: Bench) -> list[bool]:
    """Of each command that goes to the guard, whether it waits for a word."""
    guards = [command.stdin for command in bench.shell.said if "guard_text() {" in command.stdin]
    return ["HARDWARE" in asked(stdin) for stdin in guards]


def test_the_word_is_seen_in_the_watch_and_asked_for_once(bench: Bench) -> None:
    opened = window(bench, lambda: word(bench))
    opened.claim.take(None, opened.guard.ask)
    assert GUARD not in bench.annotations
    opened.arm()
    assert opened.guard.name == "guard@jump"
    assert waited_for(bench) == [False]


def test_a_word_that_the_watch_does_not_show_is_asked_for(bench: Bench) -> None:
    opened = window(bench, lambda: None)
    opened.claim.take(None, opened.guard.ask)
    began = bench.clock.now().mono
    opened.arm()
    assert opened.guard.name == "played@jump"
    assert waited_for(bench) == [False, True]
    assert bench.clock.now().mono - began == pytest.approx(WATCH_SECONDS, abs=2)


def test_without_a_word_nothing_opens(bench: Bench) -> None:
    bench.shell.guard = DEAD
    opened = window(bench, lambda: None)
    opened.claim.take(None, opened.guard.ask)
    with pytest.raises(PreflightError, match="no guard acknowledges this claim"):
        opened.open()
    assert not bench.is_open


def test_a_claim_that_is_lost_meanwhile_is_lost(bench: Bench) -> None:
    def taken_away() -> None:
        path = "/metadata/annotations/metalfoundry.dev~1run"
        bench.store.patch("hardware", "anvil", [{"op": "add", "path": path, "value": "other"}])

    opened = window(bench, taken_away)
    opened.claim.take(None, opened.guard.ask)
    with pytest.raises(ClaimedError):
        opened.arm()


def armed(bench: Bench) -> Window:
    opened = window(bench, lambda: word(bench))
    opened.claim.take(None, opened.guard.ask)
    opened.arm()
    bench.clock.advance(LEASE_SECONDS / 3)
    return opened


def test_a_heartbeat_goes_on_at_once_and_sees_its_word_when_the_run_s_own_watch_shows_it(bench: Bench) -> None:
    opened = armed(bench)
    began = bench.clock.now().mono
    opened.beat()
    assert bench.clock.now().mono - began < 1
    word(bench)
    opened.saw(Hardware.of(bench.hardware))
    opened.beat()
    assert opened.guard.name == "guard@jump"
    assert waited_for(bench) == [False, False]


def test_a_guard_that_dies_is_missed_soon_after_the_heartbeat(bench: Bench) -> None:
    opened = armed(bench)
    opened.open()
    bench.shell.guard = DEAD
    bench.clock.advance(LEASE_SECONDS / 3)
    opened.beat()
    bench.clock.advance(WATCH_SECONDS)
    with pytest.raises(PreflightError, match="no guard acknowledges this claim"):
        opened.beat()
    opened.end("the guard is gone")
    assert not bench.is_open


def test_a_guard_that_died_is_started_again_soon_after_the_heartbeat(bench: Bench) -> None:
    opened = armed(bench)
    opened.beat()
    bench.clock.advance(WATCH_SECONDS)
    opened.beat()
    assert opened.guard.name == "played@jump"


def test_a_word_that_waited_for_us_is_as_old_as_the_renewal(bench: Bench) -> None:
    """As in a laptop that sleeps between the renewal and the look at the watch: nothing opens on such a word."""

    def asleep() -> None:
        word(bench)
        bench.clock.advance(GUARD_SURE_SECONDS + 1)

    opened = window(bench, asleep)
    opened.claim.take(None, opened.guard.ask)
    opened.arm()
    renewal = claim_of(Hardware.of(bench.hardware))
    bench.shell.guard = DEAD
    with pytest.raises(PreflightError, match="could not be renewed, so netboot stays closed"):
        opened.open()
    renewed = claim_of(Hardware.of(bench.hardware))
    assert renewal and renewed and renewed.note.renewal > renewal.note.renewal
    assert not bench.is_open

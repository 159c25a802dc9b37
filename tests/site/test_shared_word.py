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
from metalfoundry.site.guarding import WAIT_SECONDS
from metalfoundry.site.site import Site
from metalfoundry.site.window import Window
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
    assert bench.clock.now().mono - began == pytest.approx(WAIT_SECONDS, abs=2)


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

"""The claim over time: heartbeats, a client that slept, a claim that is taken or broken under it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from metalfoundry.commands.command import Command, Effect
from metalfoundry.commands.netboot import BROKEN, RUN, WINDOW, parse_time
from metalfoundry.model.errors import ClaimedError, LinkLost
from metalfoundry.model.events import ClaimChanged, Notice
from metalfoundry.runs import netboot_by_hand
from metalfoundry.site.window import Window
from metalfoundry.transport.clock import Deadline
from tests.site.place import SERVER, Bench

LEASE = 600.0
WRITE = Command(("touch", "/dev/null"), effect=Effect.WRITE)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as bench:
        yield bench


@pytest.fixture
def window(bench: Bench) -> Window:
    taken = Window(bench.site(), SERVER, "run-1", "new disk", lease=LEASE)
    taken.claim.take(None)
    return taken


def expires_in(bench: Bench) -> float:
    moment = parse_time(json.loads(bench.annotations[WINDOW])["expires"])
    assert moment is not None
    return (moment - bench.clock.now().wall) / timedelta(seconds=1)


def write(bench: Bench, window: Window) -> list[Effect]:
    """Some WRITE of the run; the effects of what was said for it."""
    before = len(bench.shell.said)
    try:
        window.site.transport.run(window.site.jump, WRITE, Deadline.after(bench.clock, 60))
    finally:
        effects = [command.effect for command in bench.shell.said[before:]]
    return effects


def stolen(bench: Bench, by: str = "run-2") -> None:
    """Another run takes the server once the claim has expired."""
    other = Window(bench.site("ann@desk"), SERVER, by, lease=LEASE)
    other.claim.take(None)


def test_the_heartbeat_is_due_at_a_third_of_the_lease(bench: Bench, window: Window) -> None:
    said = len(bench.shell.said)
    bench.clock.advance(LEASE / 3 - 5)
    window.beat()
    assert len(bench.shell.said) == said
    bench.clock.advance(5)
    window.beat()
    assert len(bench.shell.said) > said
    assert LEASE - 2 <= expires_in(bench) <= LEASE
    said = len(bench.shell.said)
    window.beat()
    assert len(bench.shell.said) == said


def test_the_heartbeat_survives_a_link_that_is_down(bench: Bench, window: Window) -> None:
    def cut(command: Command) -> None:
        raise LinkLost("no route", where="jump")

    bench.shell.before = cut
    for _ in range(4):
        bench.clock.advance(LEASE / 3)
        window.beat()
    lost = [event for event in bench.events if isinstance(event, Notice)]
    assert len(lost) >= 3
    assert all("could not be extended" in event.text for event in lost)
    bench.shell.before = lambda command: None
    bench.clock.advance(LEASE / 3)
    window.beat()
    assert expires_in(bench) > LEASE - 2
    window.open()
    assert bench.is_open


def test_a_client_that_slept_reads_before_it_writes(bench: Bench, window: Window) -> None:
    bench.clock.advance(LEASE * 3)
    assert write(bench, window) == [Effect.READ, Effect.WRITE]
    assert write(bench, window) == [Effect.WRITE]


def test_a_client_that_slept_refuses_when_the_server_went_to_another(bench: Bench, window: Window) -> None:
    bench.clock.advance(LEASE * 3)
    stolen(bench)
    said = len(bench.shell.said)
    with pytest.raises(ClaimedError, match=r"lost to run-2 of ann@desk") as caught:
        write(bench, window)
    assert caught.value.exit_code == 20
    assert [command.effect for command in bench.shell.said[said:]] == [Effect.READ]
    said = len(bench.shell.said)
    with pytest.raises(ClaimedError):
        window.open()
    assert len(bench.shell.said) == said  # every later WRITE is refused, without asking again
    window.end("it is over")
    assert bench.annotations[RUN] == "run-2"
    assert not bench.is_open


def test_a_lost_claim_still_lets_the_way_back_be_asked_for(bench: Bench, window: Window) -> None:
    bench.clock.advance(LEASE * 3)
    stolen(bench)
    with pytest.raises(ClaimedError):
        write(bench, window)
    back = Command(("true",), effect=Effect.RESTORE)
    assert window.site.transport.run(window.site.jump, back, Deadline.after(bench.clock, 60)).ok


def test_a_broken_claim_says_by_whom_at_the_next_heartbeat(bench: Bench, window: Window) -> None:
    window.open()
    netboot_by_hand.break_claim(bench.site("ann@desk"), SERVER, "run-1", "rack move")
    assert not bench.is_open
    record = json.loads(bench.annotations[BROKEN])
    assert (record["by"], record["reason"], record["run"]) == ("ann@desk", "rack move", "run-1")
    bench.clock.advance(LEASE / 3)
    with pytest.raises(ClaimedError, match=r"broken by ann@desk at \S+: rack move") as caught:
        window.beat()
    assert caught.value.exit_code == 20
    assert ClaimChanged("lost", "nobody") in bench.events
    with pytest.raises(ClaimedError):
        write(bench, window)
    assert not bench.is_open


def test_the_record_of_the_break_goes_with_the_next_claim(bench: Bench, window: Window) -> None:
    netboot_by_hand.break_claim(bench.site("ann@desk"), SERVER, "run-1", "")
    stolen(bench)
    assert BROKEN not in bench.annotations


def test_breaking_needs_the_run_id(bench: Bench, window: Window) -> None:
    with pytest.raises(ClaimedError, match="is held by run-1") as caught:
        netboot_by_hand.break_claim(bench.site("ann@desk"), SERVER, "run-0", "a guess")
    assert caught.value.next == "fab netboot.break anvil --run run-1"
    assert bench.annotations[RUN] == "run-1"


def test_a_refusal_shows_holder_since_reason_and_expiry(bench: Bench, window: Window) -> None:
    note = json.loads(bench.annotations[WINDOW])
    with pytest.raises(ClaimedError) as caught:
        stolen(bench)
    for words in ("kevin@laptop", note["opened"], "new disk", note["expires"], "run-1"):
        assert words in caught.value.what
    assert "fab netboot.break anvil --run run-1" in caught.value.next

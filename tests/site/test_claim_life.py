"""The claim over time: heartbeats, a client that slept, a claim that is taken or broken under it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from metalfoundry.commands.claims import BROKEN, BY_HAND, RUN, WINDOW
from metalfoundry.commands.command import Command, Effect
from metalfoundry.model.errors import (
    ClaimedError,
    ConnectError,
    LinkLost,
    MetalfoundryError,
    PreflightError,
    UnsafeError,
)
from metalfoundry.model.events import ClaimChanged, Notice
from metalfoundry.model.foreign import parse_time
from metalfoundry.runs import attach, netboot_by_hand
from metalfoundry.runs.protection import set_protection
from metalfoundry.site.site import Site
from metalfoundry.site.window import Window
from metalfoundry.transport.clock import Deadline
from tests.site.place import SERVER, Bench

LEASE = 600.0
WRITE = Command(("touch", "/dev/null"), effect=Effect.WRITE)


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
    for later in (window.open, lambda: write(bench, window)):
        with pytest.raises(ClaimedError):
            later()
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


def test_a_window_by_hand_is_nobodys_run_to_follow_and_is_closed_instead(bench: Bench) -> None:
    netboot_by_hand.open_netboot(bench.site(), SERVER, "a look", 600.0)
    for site in (bench.site(), bench.site("ann@desk")):
        with pytest.raises(ClaimedError, match="netboot of anvil was opened by hand by ") as caught:
            Window(site, SERVER, "run-2", lease=LEASE).claim.take(None)
        assert "(a look)" in caught.value.what
        assert caught.value.next == "fab netboot.close anvil"
    with pytest.raises(ClaimedError, match="was opened by hand"):
        set_protection(bench.site(), SERVER, "keep it")


def test_breaking_needs_the_run_id(bench: Bench, window: Window) -> None:
    with pytest.raises(ClaimedError, match="is held by run-1") as caught:
        netboot_by_hand.break_claim(bench.site("ann@desk"), SERVER, "run-0", "a guess")
    assert caught.value.next == "fab netboot.break anvil --run run-1"
    assert bench.annotations[RUN] == "run-1"


def test_breaking_what_nobody_holds_has_the_code_of_cancelling_it(bench: Bench, window: Window) -> None:
    site = bench.site("ann@desk")
    netboot_by_hand.break_claim(site, SERVER, "run-1", "")
    tries: list[Callable[[], object]] = [
        lambda: netboot_by_hand.break_claim(site, SERVER, "run-1", ""),
        lambda: attach.cancel(site, SERVER, ""),
        lambda: attach.attach(site, SERVER),
    ]
    for attempt in tries:
        with pytest.raises(PreflightError, match="no run holds anvil") as caught:
            attempt()
        assert (caught.value.exit_code, caught.value.next) == (10, "fab status anvil")


def test_a_refusal_shows_holder_since_reason_and_expiry(bench: Bench, window: Window) -> None:
    note = json.loads(bench.annotations[WINDOW])
    with pytest.raises(ClaimedError) as caught:
        stolen(bench)
    for words in ("kevin@laptop", note["opened"], "new disk", note["expires"], "run-1"):
        assert words in caught.value.what
    assert "fab netboot.break anvil --run run-1" in caught.value.next


def cut(bench: Bench, effect: Effect) -> None:
    """The first command of this effect takes effect and its reply is lost; nothing is reached any more from then on."""

    def down(command: Command) -> None:
        raise ConnectError("does not answer", where="jump")

    def lost(command: Command) -> None:
        if command.effect is effect:
            bench.shell.before = down
            raise LinkLost("cut", where="jump", sent=True)

    bench.shell.after = lost


def test_a_claim_of_which_nobody_knows_whether_it_was_taken_counts_as_taken(bench: Bench) -> None:
    window = Window(bench.site(), SERVER, "run-1", lease=LEASE)
    cut(bench, Effect.WRITE)
    with pytest.raises(LinkLost):
        window.claim.take(None)
    assert bench.annotations[RUN] == "run-1"
    assert window.claim.taken
    with pytest.raises(MetalfoundryError, match="could not be given back"):
        window.end("the run failed")


def test_netboot_that_an_earlier_run_left_open_is_unsafe_once_its_claim_may_be_ours(
    bench: Bench, window: Window
) -> None:
    window.open()
    bench.clock.advance(LEASE + 1)
    other = Window(bench.site("ann@desk"), SERVER, "run-2", lease=LEASE)
    cut(bench, Effect.WRITE)
    with pytest.raises(LinkLost):
        other.claim.take(None)
    assert other.closed is False
    with pytest.raises(UnsafeError):
        other.end("the run failed")


def opened_by_hand(bench: Bench) -> None:
    taken = Window(bench.site(), SERVER, "run-1", "a test", BY_HAND, lease=LEASE)
    taken.claim.take(None)
    taken.open()


@pytest.mark.parametrize(
    "close",
    [lambda site: netboot_by_hand.close_netboot(site, SERVER),
     lambda site: netboot_by_hand.break_claim(site, SERVER, "run-1", "dead"),
     lambda site: attach.cancel(site, SERVER, "")],
)  # fmt: skip
def test_who_cannot_look_has_not_closed(bench: Bench, close: Callable[[Site], object]) -> None:
    opened_by_hand(bench)

    def down(command: Command) -> None:
        raise ConnectError("does not answer", where="jump")

    bench.shell.before = down
    with pytest.raises(UnsafeError, match="does not answer") as unsafe:
        close(bench.site())
    assert "allowPXE" in unsafe.value.next


def test_netboot_that_is_proven_closed_stays_so_where_the_claim_cannot_be_given_back(bench: Bench) -> None:
    opened_by_hand(bench)
    closes: list[Command] = []

    def down(command: Command) -> None:
        closes.extend([command] if command.effect is Effect.RESTORE else [])
        if len(closes) > 1:
            raise ConnectError("does not answer", where="jump")

    bench.shell.before = down
    assert netboot_by_hand.close_netboot(bench.site(), SERVER).hardware
    assert not bench.is_open
    assert any(isinstance(event, Notice) and "the claim may stay until" in event.text for event in bench.events)

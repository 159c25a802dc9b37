from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from shlex import split

import pytest

from metalfoundry.commands.claims import RUN, WINDOW
from metalfoundry.commands.command import Command, Effect
from metalfoundry.lab.kubernetes.store import Object
from metalfoundry.model.errors import ClaimedError, LinkLost, UnsafeError
from metalfoundry.model.events import ClaimChanged, WindowChanged
from metalfoundry.model.resources import Hardware
from metalfoundry.site.window import Window
from metalfoundry.transport.clock import Deadline
from tests.site.place import SERVER, Bench


def window(bench: Bench, run: str = "run-1", holder: str = "kevin@laptop") -> Window:
    return Window(bench.site(holder), SERVER, run, "new disk")


@contextmanager
def held(bench: Bench) -> Iterator[Window]:
    """A claimed window, ended however the block is left."""
    mine = window(bench)
    mine.claim.take(None)
    try:
        yield mine
    finally:
        mine.end("the test is over")


def lose_reply(bench: Bench, effect: Effect) -> list[Command]:
    """The next command of that effect is carried out, and its reply is lost."""
    lost: list[Command] = []

    def after(command: Command) -> None:
        if command.effect is effect and not lost:
            lost.append(command)
            raise LinkLost("cut", where="jump", sent=True)

    bench.shell.after = after
    return lost


def test_however_the_block_is_left_the_window_is_closed_and_the_claim_given_back(bench: Bench) -> None:
    before = bench.hardware
    with pytest.raises(ZeroDivisionError), held(bench) as opened:
        opened.open()
        assert bench.is_open
        assert bench.annotations[RUN] == "run-1"
        raise ZeroDivisionError
    assert not bench.is_open
    assert bench.annotations == {}
    assert bench.hardware["spec"]["interfaces"][0]["dhcp"] == before["spec"]["interfaces"][0]["dhcp"]


def test_the_note_says_who_why_and_until_when(bench: Bench) -> None:
    with held(bench):
        note = json.loads(bench.annotations[WINDOW])
    assert (note["holder"], note["reason"]) == ("kevin@laptop", "new disk")
    assert note["opened"] < note["expires"]


def test_of_two_runs_the_second_is_refused_and_told_who_has_it(bench: Bench) -> None:
    with held(bench) as first:
        with pytest.raises(ClaimedError, match=r"held by kevin@laptop since .*new disk.*run run-1"):
            window(bench, "run-2", "eve@desk").claim.take(None)
        assert first.claim.note is not None
    window(bench, "run-2", "eve@desk").claim.take(None)
    assert bench.annotations[RUN] == "run-2"


def test_of_two_that_read_the_same_the_slower_loses(bench: Bench) -> None:
    slow, quick = window(bench, "run-slow"), window(bench, "run-quick", "eve@desk")

    def overtake(command: Command) -> None:
        if command.effect is Effect.WRITE:
            bench.shell.before = lambda command: None
            quick.claim.take(None)

    bench.shell.before = overtake
    with pytest.raises(ClaimedError, match="run-quick"):
        slow.claim.take(None)
    assert bench.annotations[RUN] == "run-quick"


def test_an_expired_claim_is_taken_over(bench: Bench) -> None:
    dead = window(bench, "run-dead", "gone@laptop")
    dead.claim.take(None)
    bench.clock.advance(dead.claim.lease + 1)
    window(bench, "run-2").claim.take(None)
    assert bench.annotations[RUN] == "run-2"
    assert ClaimChanged("taken over", "gone@laptop") in bench.events


@pytest.mark.parametrize("what", ["claim", "open"])
def test_a_lost_reply_is_settled_by_reading(bench: Bench, what: str) -> None:
    mine = window(bench)
    if what == "open":
        mine.claim.take(None)
        mine.arm()
    lost = lose_reply(bench, Effect.WRITE)
    if what == "open":
        mine.open()
    else:
        mine.claim.take(None)
    assert len(lost) == 1
    assert bench.annotations[RUN] == "run-1"
    assert bench.is_open is (what == "open")
    assert len(bench.shell.writes) == (3 if what == "open" else 1)
    mine.end("the test is over")
    assert not bench.is_open


def test_a_lost_reply_to_the_close_is_settled_by_reading(bench: Bench) -> None:
    with held(bench) as mine:
        mine.open()
        lost = lose_reply(bench, Effect.RESTORE)
        proof = mine.close("enough")
        assert lost
        assert proof.hardware.endswith(bench.hardware["metadata"]["resourceVersion"])
    assert bench.annotations == {}


def test_a_patch_that_is_refused_because_the_claim_is_gone_says_so(bench: Bench) -> None:
    mine = window(bench)
    mine.claim.take(None)

    def rob(obj: Object) -> Object:
        obj["metadata"]["annotations"][RUN] = "thief"
        return obj

    bench.store.change("hardware", "anvil", rob)
    with pytest.raises(ClaimedError, match="thief"):
        mine.open()
    assert not bench.is_open
    assert bench.annotations[RUN] == "thief"


def test_a_patch_that_is_refused_for_another_reason_is_tried_on_the_new_object(bench: Bench) -> None:
    mine = window(bench)
    mine.claim.take(None)

    def drop(obj: Object) -> Object:
        del obj["spec"]["interfaces"][0]["netboot"]
        return obj

    bench.store.change("hardware", "anvil", drop)
    mine.open()
    assert bench.is_open


def test_what_somebody_opens_after_our_close_is_seen_and_closed(bench: Bench) -> None:
    with held(bench) as mine:
        mine.open()
        mine.close("the installer runs")
        bench.set_pxe(True)
        assert mine.saw(Hardware.of(bench.hardware))
        mine.close("somebody else opened it")
        assert not bench.is_open
    states = [event.state for event in bench.events if isinstance(event, WindowChanged)]
    assert states[:3] == ["open", "closed", "closed"]


def test_an_object_older_than_ours_is_not_believed(bench: Bench) -> None:
    with held(bench) as mine:
        mine.open()
        old = Hardware.of(bench.hardware)
        mine.close("enough")
        assert not mine.saw(old)


def test_a_close_that_cannot_be_confirmed_is_unsafe_and_names_the_command(bench: Bench) -> None:
    mine = window(bench)
    mine.claim.take(None)
    mine.open()

    def cut(command: Command) -> None:
        bench.clock.advance(1.0)
        raise LinkLost("cut", where="jump", sent=False)

    bench.shell.before = cut
    with pytest.raises(UnsafeError, match="not confirmed closed") as caught:
        mine.close("the run failed")
    error = caught.value
    assert error.exit_code == 40
    assert error.next.startswith("ssh ubuntu@192.0.2.103 'kubectl patch hardware.v1alpha1.tinkerbell.org/anvil")
    assert "allowPXE" in error.next
    assert bench.is_open
    bench.shell.before = lambda command: None
    mine.end("by hand")
    assert not bench.is_open


def test_the_command_by_hand_does_close_it(bench: Bench) -> None:
    mine = window(bench)
    mine.claim.take(None)
    mine.open()
    line = split(mine.by_hand())[-1]
    done = bench.shell.run(mine.site.jump, Command(("sh", "-c", line)), Deadline.after(bench.clock, 5))
    assert done.ok, done.stderr
    assert not bench.is_open


def test_ending_twice_is_ending_once(bench: Bench) -> None:
    mine = window(bench)
    mine.end("nothing was claimed")
    assert bench.shell.said == []
    mine.claim.take(None)
    mine.end("first")
    said = len(bench.shell.said)
    mine.end("second")
    assert len(bench.shell.said) == said

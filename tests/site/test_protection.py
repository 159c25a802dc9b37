"""A protected server: nobody claims it, whenever the protection came; and nobody protects one that is held."""

from __future__ import annotations

import pytest

from metalfoundry.commands.claims import RUN
from metalfoundry.commands.command import Command
from metalfoundry.model.errors import ClaimedError, Declined, PreflightError
from metalfoundry.model.resources import PROTECTED
from metalfoundry.runs import netboot_by_hand
from metalfoundry.runs.protection import TRIES, set_protection
from metalfoundry.site.window import Window
from tests.site.place import SERVER, Bench

WHY = "holds the backups \x1b[31m"


def annotate(bench: Bench, key: str, value: str) -> None:
    """As somebody else's `kubectl annotate`."""
    notes = {**bench.annotations, key: value}
    bench.store.patch("hardware", "anvil", [{"op": "add", "path": "/metadata/annotations", "value": notes}])


def test_it_is_written_once_and_taken_away(bench: Bench) -> None:
    assert set_protection(bench.site(), SERVER, WHY) is True
    assert bench.annotations == {PROTECTED: WHY}
    assert set_protection(bench.site(), SERVER, WHY) is False
    assert set_protection(bench.site(), SERVER, "another reason") is True
    assert bench.annotations == {PROTECTED: "another reason"}
    assert set_protection(bench.site(), SERVER, None) is True
    assert set_protection(bench.site(), SERVER, None) is False
    assert bench.annotations == {}


@pytest.mark.parametrize(("text", "shown"), [(WHY, WHY), ("", "no reason given"), (" ", "no reason given")])
def test_nobody_claims_or_opens_it(bench: Bench, text: str, shown: str) -> None:
    annotate(bench, PROTECTED, text)
    with pytest.raises(Declined, match="anvil is protected") as caught:
        Window(bench.site(), SERVER, "run-1", "new disk").claim.take(None)
    assert (caught.value.exit_code, caught.value.what) == (12, f"anvil is protected: {shown}")
    assert "unprotect anvil" in caught.value.next
    with pytest.raises(Declined):
        netboot_by_hand.open_netboot(bench.site(), SERVER, "by hand", 60.0)
    assert bench.shell.writes == []
    assert not bench.is_open


def test_one_that_comes_after_the_look_is_heeded(bench: Bench) -> None:
    def protected_now(command: Command) -> None:
        if "patch" in command.stdin and PROTECTED not in bench.annotations:
            annotate(bench, PROTECTED, WHY)

    annotate(bench, "team", "a")
    bench.shell.before = protected_now
    with pytest.raises(Declined):
        Window(bench.site(), SERVER, "run-1", "new disk").claim.take(None)
    assert RUN not in bench.annotations


def test_a_server_that_is_held_is_not_protected(bench: Bench) -> None:
    window = Window(bench.site(), SERVER, "run-1", "new disk", lease=600.0)
    window.claim.take(None)
    with pytest.raises(ClaimedError, match="held by kevin@laptop"):
        set_protection(bench.site("ann@desk"), SERVER, WHY)
    bench.clock.advance(601)
    assert set_protection(bench.site("ann@desk"), SERVER, WHY) is True


def test_who_claims_it_at_the_same_time_keeps_it(bench: Bench) -> None:
    def claimed_now(command: Command) -> None:
        if "patch" in command.stdin and RUN not in bench.annotations:
            annotate(bench, RUN, "run-2")

    annotate(bench, "team", "a")
    bench.shell.before = claimed_now
    with pytest.raises(ClaimedError):
        set_protection(bench.site(), SERVER, WHY)
    assert bench.annotations == {RUN: "run-2", "team": "a"}


def test_it_does_not_go_on_for_ever(bench: Bench) -> None:
    bench.door.faults.denied.add(("patch", "hardware"))
    with pytest.raises(PreflightError, match="could not be changed") as caught:
        set_protection(bench.site(), SERVER, WHY)
    assert "cannot patch" in caught.value.evidence
    assert len(bench.shell.writes) == TRIES

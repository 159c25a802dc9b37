"""Netboot under hands that are not ours: an API server that is away, a claim that is taken away, a toggle, a sleep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from shlex import split

import pytest

from metalfoundry.commands.claims import RUN
from metalfoundry.commands.command import Command, Effect
from metalfoundry.lab.kubernetes.store import Object
from metalfoundry.model.errors import ApiAway, ClaimedError, MetalfoundryError, UnsafeError
from metalfoundry.model.events import Notice, WindowChanged
from metalfoundry.model.resources import Hardware
from metalfoundry.site.cluster import Cluster
from metalfoundry.site.window import Window
from metalfoundry.transport.clock import Deadline
from tests.played_guard import ALIVE
from tests.site.place import MAC, SERVER, Bench
from tests.site.test_claim_life import expires_in


@pytest.fixture
def window(bench: Bench) -> Window:
    taken = Window(bench.site(), SERVER, "run-1", "new disk")
    taken.claim.take(None)
    return taken


def api_away(bench: Bench, commands: int) -> None:
    """The API server is away from now on, and answers again after so many commands."""
    bench.door.faults.api_down()
    left = [commands]

    def after(command: Command) -> None:
        left[0] -= 1
        if left[0] == 0:
            bench.door.faults.api_up()

    bench.shell.after = after


def just_before(bench: Bench, effect: Effect, deed: Callable[[], object]) -> None:
    """`deed` is done once, between our decision for a command of that effect and the command itself."""

    def before(command: Command) -> None:
        if command.effect is effect:
            bench.shell.before = lambda command: None
            deed()

    bench.shell.before = before


def take_claim_away(bench: Bench) -> None:
    def without(obj: Object) -> Object:
        del obj["metadata"]["annotations"][RUN]
        return obj

    bench.store.change("hardware", "anvil", without)


def give_claim_to(bench: Bench, run: str) -> None:
    def other(obj: Object) -> Object:
        obj["metadata"]["annotations"][RUN] = run
        return obj

    bench.store.change("hardware", "anvil", other)


def states(bench: Bench) -> list[str]:
    return [event.state for event in bench.events if isinstance(event, WindowChanged)]


# ---- an API server that does not answer ----------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["take", "open", "close", "release"])
def test_an_api_server_that_is_away_for_a_while_is_waited_for(bench: Bench, verb: str) -> None:
    window = Window(bench.site(), SERVER, "run-1")
    hardware = Hardware.of(bench.hardware)
    if verb != "take":
        window.claim.take(hardware)
    if verb == "close":
        window.open()
    api_away(bench, 4)
    verbs: dict[str, Callable[[], object]] = {
        "take": lambda: window.claim.take(hardware),
        "open": window.open,
        "close": lambda: window.close("a test"),
        "release": window.release,
    }
    verbs[verb]()
    assert bench.is_open is (verb == "open")
    assert (RUN in bench.annotations) is (verb != "release")


def test_who_cannot_reach_the_api_server_to_claim_has_changed_nothing(bench: Bench) -> None:
    window = Window(bench.site(), SERVER, "run-1")
    bench.door.faults.api_down()
    with pytest.raises(ApiAway) as caught:
        window.claim.take(Hardware.of(bench.hardware))
    assert (caught.value.exit_code, caught.value.sent) == (10, False)
    assert (window.claim.note, window.claim.taken) == (None, False)


def test_a_heartbeat_is_not_held_up_by_an_api_server_that_is_away(bench: Bench, window: Window) -> None:
    bench.door.faults.api_down()
    bench.clock.advance(window.claim.lease / 3)
    said = len(bench.shell.said)
    window.beat()
    assert len(bench.shell.said) == said + 1
    assert any("could not be extended" in event.text for event in bench.events if isinstance(event, Notice))
    bench.door.faults.api_up()
    bench.clock.advance(window.claim.lease / 10)
    window.beat()
    assert expires_in(bench) > window.claim.lease - 5


def test_a_close_waits_as_long_as_it_is_told_to_while_nobody_answers(bench: Bench, window: Window) -> None:
    window.open()
    bench.door.faults.api_down()
    begun = bench.clock.now().mono
    bench.shell.before = lambda command: bench.clock.advance(60)
    with pytest.raises(UnsafeError, match="API server"):
        window.close("a test", patience=900.0)
    assert 900.0 <= bench.clock.now().mono - begun < 1000.0
    assert window.at_risk


def test_a_refused_close_is_not_waited_for_any_longer(bench: Bench, window: Window) -> None:
    window.open()
    bench.door.faults.denied.add(("patch", "hardware"))
    begun = bench.clock.now().mono
    bench.shell.before = lambda command: bench.clock.advance(30)
    with pytest.raises(UnsafeError):
        window.close("a test", patience=900.0)
    assert bench.clock.now().mono - begun < 200.0


def test_a_workflow_is_applied_and_deleted_over_an_api_server_that_is_away_for_a_while(bench: Bench) -> None:
    cluster = Cluster(bench.site())
    text = (
        "apiVersion: tinkerbell.org/v1alpha1\nkind: Workflow\n"
        "metadata: {name: w, namespace: tink-system}\nspec: {hardwareRef: anvil, templateRef: t}\n"
    )
    api_away(bench, 3)
    assert cluster.apply("w", text, Deadline.after(bench.clock, 60)).name == "w"
    api_away(bench, 3)
    cluster.delete_workflows(["w"], Deadline.after(bench.clock, 60))
    assert bench.store.list("workflows") == []


# ---- the end ---------------------------------------------------------------------------------------------------------


def test_what_is_opened_just_before_the_claim_is_given_back_is_closed_with_it(bench: Bench, window: Window) -> None:
    just_before(bench, Effect.RESTORE, lambda: bench.set_pxe(True))
    window.release()
    assert not bench.is_open
    assert bench.annotations == {}


def test_what_is_seen_open_after_the_claim_was_given_back_is_closed(bench: Bench, window: Window) -> None:
    def add(obj: Object) -> Object:  # an interface that the closing patch does not know
        obj["spec"]["interfaces"].append({"dhcp": {"mac": "00:00:5e:00:53:02"}, "netboot": {"allowPXE": True}})
        return obj

    just_before(bench, Effect.RESTORE, lambda: bench.store.change("hardware", "anvil", add))
    window.release()
    assert not bench.is_open
    assert window.proof is not None and window.closed


@pytest.mark.parametrize("delay", [0.0, 0.5, 1.9])
def test_a_toggle_in_flight_leaves_no_window(bench: Bench, window: Window, delay: float) -> None:
    window.expect_toggle("anvil-ubuntu")
    assert states(bench) == ["open"]
    writes_at = bench.clock.now().mono + delay

    def controller(command: Command) -> None:
        if bench.clock.now().mono >= writes_at:
            bench.shell.before = lambda command: None
            bench.set_pxe(True)

    bench.shell.before = controller
    window.end("interrupted")
    assert bench.clock.now().mono > writes_at
    bench.shell.before(Command(("true",)))
    assert not bench.is_open
    assert bench.annotations == {}
    state = (window.at_risk, window.closed)
    assert state == (False, True)


def test_a_workflow_that_may_open_it_yet_and_cannot_be_deleted_is_unsafe(bench: Bench, window: Window) -> None:
    bench.store.create("workflows", {"metadata": {"name": "anvil-ubuntu"}, "spec": {}})
    window.expect_toggle("anvil-ubuntu")
    bench.door.faults.denied.add(("delete", "workflows"))
    with pytest.raises(UnsafeError, match="may open it yet"):
        window.end("interrupted")
    assert bench.annotations[RUN] == "run-1"  # the guard holds what is claimed


# ---- a claim that is taken away --------------------------------------------------------------------------------------


def test_what_is_open_under_nobodys_claim_is_closed(bench: Bench, window: Window) -> None:
    window.open()
    take_claim_away(bench)
    with pytest.raises(ClaimedError, match="removed"):
        window.claim.notice(Hardware.of(bench.hardware))
    assert window.closed is False
    window.end("the run failed")
    assert not bench.is_open
    assert window.proof is not None
    said = len(bench.shell.said)
    window.end("again")
    assert len(bench.shell.said) == said


def test_what_another_live_run_holds_is_left_to_it(bench: Bench, window: Window) -> None:
    window.open()
    window.close("a test")
    window.open()
    give_claim_to(bench, "run-2")
    with pytest.raises(ClaimedError, match="run-2"):
        window.claim.notice(Hardware.of(bench.hardware))
    window.end("the run failed")
    assert bench.is_open
    assert bench.annotations[RUN] == "run-2"
    assert (window.theirs, window.at_risk, window.closed, window.proof) == (True, False, False, None)


def test_what_another_live_run_was_seen_to_hold_is_not_closed_under_its_name(bench: Bench, window: Window) -> None:
    window.open()
    give_claim_to(bench, "run-2")
    window.claim.sighted(Hardware.of(bench.hardware))
    with pytest.raises(ClaimedError, match="run-2"):
        window.close("a test")
    assert bench.is_open


def test_what_another_live_run_has_closed_is_its_own_even_while_tinkerbell_may_open_it_for_us(
    bench: Bench, window: Window
) -> None:
    window.expect_toggle("anvil-ubuntu")
    give_claim_to(bench, "run-2")
    bench.set_pxe(False)
    window.end("the run failed")
    assert (window.theirs, window.at_risk, window.closed, window.proof) == (True, False, True, None)


def test_a_claim_that_is_taken_between_our_look_and_our_close_is_respected(bench: Bench) -> None:
    window = Window(bench.site(), SERVER, "run-1")
    bench.set_pxe(True)
    window.adopt(Hardware.of(bench.hardware), None)
    other = Window(bench.site("ann@desk"), SERVER, "run-2")
    just_before(bench, Effect.RESTORE, lambda: other.claim.take(None))
    with pytest.raises(ClaimedError):
        window.close("a test")
    assert bench.is_open


def test_a_dead_runs_window_is_closed_unless_it_turns_out_to_live(bench: Bench, window: Window) -> None:
    window.open()
    give_claim_to(bench, "run-2")
    bench.clock.advance(window.claim.lease + 1)
    window.end("the run failed")
    assert not bench.is_open


def test_a_proof_is_younger_than_the_last_time_it_was_open(bench: Bench, window: Window) -> None:
    window.open()
    window.close("a test")
    assert window.closed
    bench.set_pxe(True)
    assert window.saw(Hardware.of(bench.hardware))
    assert (window.proof, window.at_risk, window.closed) == (None, True, False)


def test_what_stood_open_before_we_held_the_server_is_told_and_not_ours(bench: Bench) -> None:
    bench.set_pxe(True)
    window = Window(bench.site(), SERVER, "run-1")
    unknown = window.closed
    assert unknown is None
    assert window.saw(Hardware.of(bench.hardware))
    state = (window.at_risk, window.closed)
    assert state == (False, False)
    window.claim.take(None)
    assert window.at_risk


# ---- a sleep --------------------------------------------------------------------------------------------------------


def test_a_window_that_was_just_opened_is_not_looked_at_again(bench: Bench, window: Window) -> None:
    window.open()
    said = len(bench.shell.said)
    window.ensure_open()
    assert len(bench.shell.said) == said


def test_a_window_that_was_shut_during_a_sleep_is_opened_again(bench: Bench, window: Window) -> None:
    window.open()
    bench.clock.advance(30)
    bench.set_pxe(False)
    window.ensure_open()
    assert bench.is_open
    assert window.at_risk


def test_a_claim_that_was_lost_during_a_sleep_ends_before_the_reboot(bench: Bench, window: Window) -> None:
    window.open()
    bench.clock.advance(30)
    take_claim_away(bench)
    with pytest.raises(ClaimedError):
        window.ensure_open()


def test_the_heartbeat_is_due_when_the_wall_clock_says_so(bench: Bench, window: Window) -> None:
    bench.clock.sleep(window.claim.lease / 2)
    window.beat()
    assert expires_in(bench) > window.claim.lease - 5


@pytest.mark.parametrize("verb", ["open", "ensure_open"])
def test_a_guard_that_has_shut_the_window_during_a_sleep_is_asked_before_it_is_opened_again(
    bench: Bench, window: Window, verb: str
) -> None:
    window.arm()
    if verb == "ensure_open":
        window.open()
        bench.set_pxe(False)
    bench.shell.guard = ALIVE.replace("holds", "shut-deleted")
    bench.clock.sleep(300)
    with pytest.raises(MetalfoundryError, match="the guard has shut the window of anvil already"):
        getattr(window, verb)()
    assert not bench.is_open


# ---- by hand --------------------------------------------------------------------------------------------------------


def test_the_command_by_hand_closes_every_interface(tmp_path: Path) -> None:
    interfaces = [
        {"dhcp": {"mac": "00:00:5e:00:53:01"}, "netboot": {"allowPXE": False, "ipxe": {"url": "http://x"}}},
        {"dhcp": {"mac": "00:00:5e:00:53:02"}},
        {"dhcp": {"mac": MAC}, "netboot": {"allowPXE": False}},
    ]
    with Bench(tmp_path, {"metadata": {"name": "anvil"}, "spec": {"interfaces": interfaces}}) as bench:
        window = Window(bench.site(), SERVER, "run-1")
        window.claim.take(None)

        def toggle(obj: Object) -> Object:
            for interface in obj["spec"]["interfaces"]:
                interface.setdefault("netboot", {})["allowPXE"] = True
            return obj

        bench.store.change("hardware", "anvil", toggle)
        line = split(window.by_hand())[-1]
        done = bench.shell.run(window.site.jump, Command(("sh", "-c", line)), Deadline.after(bench.clock, 5))
        assert done.ok, done.stderr
        blocks = [interface["netboot"] for interface in bench.hardware["spec"]["interfaces"]]
        assert [block["allowPXE"] for block in blocks] == [False] * 3
        assert blocks[0]["ipxe"] == {"url": "http://x"}

"""Claim and window under two clients, their guards, a sweeper, Flux, Tinkerbell's toggle and a person with kubectl."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from metalfoundry.commands.claims import RUN, WINDOW
from metalfoundry.lab.kubernetes.api_server import MemoryStore
from metalfoundry.lab.kubernetes.store import Object
from metalfoundry.model.bus import Bus
from metalfoundry.model.errors import ClaimedError, MetalfoundryError
from metalfoundry.model.inventory import Inventory, Server
from metalfoundry.model.site_config import JumpConfig, SiteConfig
from metalfoundry.runs import netboot_by_hand
from metalfoundry.site.site import Site, inline
from metalfoundry.site.window import Window
from metalfoundry.transport.clock import FakeClock
from metalfoundry.transport.gates import Gated
from tests.properties.cluster import OnStore
from tests.properties.guard import PlayedGuard
from tests.sweeping import FLUX, sweep

pytestmark = pytest.mark.timeout(400)  # half a minute, on a computer that does nothing else
LEASE = 600.0
SERVER = Server(name="anvil", hardware="anvil", mac="00:00:5e:00:53:c0")
SITE = SiteConfig(jump=JumpConfig(host="192.0.2.103", user="ubuntu"))
CLIENTS = st.integers(0, 1)


def opened(obj: Object) -> bool:
    return bool(obj["spec"]["interfaces"][0].get("netboot", {}).get("allowPXE"))


class Netboot(RuleBasedStateMachine):
    """The server is one Hardware object; whoever writes to it is checked at the moment of the write."""

    @initialize(flux=st.sampled_from([None, "absent", "enabled", "disabled"]))
    def begin(self, flux: str | None) -> None:
        self.store, self.clock = MemoryStore(), FakeClock()
        meta: Object = {"name": "anvil"}
        if flux:
            meta["labels"] = {"kustomize.toolkit.fluxcd.io/name": "apps"}
            meta |= {"annotations": {FLUX: flux}} if flux != "absent" else {}
        self.flux = flux if flux != "absent" else None
        interface = {"dhcp": {"mac": SERVER.mac}, "netboot": {"allowPXE": False}}
        self.store.create("hardware", {"metadata": meta, "spec": {"interfaces": [interface]}})
        self.transports = [OnStore(self.store, f"client{number}", self.wrote) for number in range(2)]
        self.windows: list[Window | None] = [None, None]
        for transport in self.transports:
            transport.before = self.the_controller_writes
            transport.guards = self.the_guards_pass
        self.guards: list[PlayedGuard] = []
        self.ran = ""  # the run whose installer runs
        self.toggle_at: float | None = None
        self.robbed = False
        self.stray = False  # a foreign hand opened it since it was last closed
        self.managed = flux is not None
        self.runs = 0

    # ---- what is always true -----------------------------------------------------------------------------------

    def wrote(self, actor: str, operations: list[Object], before: Object, after: Object) -> None:
        """Every write of ours is under our own claim, or takes a free or dead one, or closes what is nobody's."""
        if before == after:
            return
        had, has = (obj["metadata"].get("annotations", {}).get(RUN) for obj in (before, after))
        if has is not None and has != had:
            assert had is None or not self.live(before), f"{actor} took a live claim"
            return
        if had is None:
            assert not opened(after), f"{actor} opened without a claim"
            return
        window = self.windows[int(actor[-1])]
        mine = window.claim.run if window else None
        if not self.live(before) and not opened(after):
            return  # a dead run's window is a trap: it may be closed
        assert had in (mine, self.breaking), f"{actor} wrote under the claim of {had}"

    breaking: str | None = None

    def live(self, obj: Object) -> bool:
        notes = obj["metadata"].get("annotations", {})
        if RUN not in notes:
            return False
        expires: datetime = datetime.fromisoformat(json.loads(notes[WINDOW])["expires"])
        return expires > self.clock.now().wall

    @property
    def hardware(self) -> Object:
        return self.store.get("hardware", "anvil")

    @invariant()
    def an_open_window_has_a_live_claim_or_was_opened_by_a_foreign_hand(self) -> None:
        if hasattr(self, "store") and opened(self.hardware):
            assert self.live(self.hardware) or self.stray

    @invariant()
    def only_one_client_believes_that_it_may_write(self) -> None:
        if hasattr(self, "store"):
            run = self.hardware["metadata"].get("annotations", {}).get(RUN)
            for window in self.windows:
                if window and window.claim.note and not window.claim.lost and window.claim.ours(window.hardware):  # type: ignore[arg-type]
                    assert run == window.claim.run or not self.fresh(window)

    def fresh(self, window: Window) -> bool:
        """Whether it has seen the object as it is now."""
        assert window.hardware is not None
        return bool(window.hardware.resource_version == self.hardware["metadata"]["resourceVersion"])

    # ---- the clients -------------------------------------------------------------------------------------------

    def site(self, number: int) -> Site:
        inventory = Inventory(site=SITE, servers={"anvil": SERVER}, path=Path("/inventory.yaml"))
        gated = Gated(self.transports[number], [], self.clock)
        return Site(inventory, gated, gated, self.clock, Bus(lambda: self.clock.now().wall), background=inline,
                    holder=f"client{number}")  # fmt: skip

    @rule(number=CLIENTS)
    def take_over_and_open(self, number: int) -> None:
        """The other client sleeps longer than its lease."""
        self.time_passes(601)
        self.take(number)
        self.open(number)

    @rule(number=CLIENTS)
    def take(self, number: int) -> None:
        window = self.windows[number]
        if window is not None and window.claim.note is not None and window.claim.lost is None:
            return
        self.runs += 1
        window = self.windows[number] = Window(self.site(number), SERVER, f"run-{self.runs}", lease=LEASE)
        window.claim.workflow = "anvil-ubuntu"
        was_live = self.live(self.hardware)
        try:
            window.claim.take(None)
        except ClaimedError:
            assert was_live
            self.windows[number] = None
            return
        assert not was_live
        self.robbed = False

    def held(self, number: int) -> Window | None:
        window = self.windows[number]
        return window if window is not None and window.claim.note is not None else None

    @rule(number=CLIENTS)
    def open(self, number: int) -> None:
        window = self.held(number)
        if window is None:
            return
        before, lost = self.hardware, window.claim.lost is not None
        try:
            window.open()
        except ClaimedError:
            assert self.of_clients(before) == self.of_clients(self.hardware)
            assert before["metadata"].get("annotations", {}).get(RUN) != window.claim.run
            return
        except MetalfoundryError as error:
            assert "has shut the window" in str(error)
            assert self.ran == window.claim.run
            return
        assert not lost, "a lost claim gates every WRITE"
        assert opened(self.hardware)

    @rule(number=CLIENTS)
    def close(self, number: int) -> None:
        window = self.held(number)
        if window is None:
            return
        try:
            window.close("a test")
        except ClaimedError:
            assert self.hardware["metadata"].get("annotations", {}).get(RUN) != window.claim.run
            return
        assert not opened(self.hardware)
        self.stray = False

    @rule(number=CLIENTS)
    def beat(self, number: int) -> None:
        window = self.held(number)
        if window is None:
            return
        try:
            window.beat()
        except ClaimedError:
            return

    @rule(number=CLIENTS)
    def end(self, number: int) -> None:
        window = self.windows[number]
        if window is None:
            return
        lost = window.claim.lost is not None
        mine = self.hardware["metadata"].get("annotations", {}).get(RUN) == window.claim.run
        try:
            window.end("it is over")
        except ClaimedError:
            assert not mine
        if self.hardware["metadata"].get("annotations", {}).get(RUN) is None and window.claim.taken:
            assert not opened(self.hardware)
            self.stray = False
        if mine and not lost:
            self.given_back()
        assert window.theirs or window.closed is not False
        self.windows[number] = None

    @rule(number=CLIENTS)
    def break_(self, number: int) -> None:
        run = self.hardware["metadata"].get("annotations", {}).get(RUN)
        if run is None:
            return
        self.breaking = run
        try:
            netboot_by_hand.break_claim(self.site(number), SERVER, run, "a test")
        finally:
            self.breaking = None
        assert not opened(self.hardware)
        self.stray = False
        self.given_back()

    @rule(
        number=CLIENTS,
        verb=st.sampled_from(["take", "open", "close", "beat", "end", "break_"]),
        commands=st.integers(1, 4),
    )
    def the_api_is_away_for_a_moment(self, number: int, verb: str, commands: int) -> None:
        """Nothing fails for that, except what tries again by itself."""
        self.transports[number].away = commands
        if verb == "break_" and self.hardware["metadata"].get("annotations", {}).get(RUN) is None:
            verb = "end"
        getattr(self, verb)(number)
        self.transports[number].away = 0

    @rule(number=CLIENTS, delay=st.sampled_from([0.0, 0.3, 1.0, 1.9]))
    def end_with_the_toggle_in_flight(self, number: int, delay: float) -> None:
        """The controller has begun with a Workflow that is deleted, and writes up to two seconds later."""
        window = self.held(number)
        if window is None or window.claim.lost is not None:
            return
        window.expect_toggle("anvil-ubuntu")
        self.toggle_at = self.clock.now().mono + delay
        self.end(number)
        self.clock.advance(2)
        self.the_controller_writes()
        assert not opened(self.hardware) or self.hardware["metadata"]["annotations"][RUN] != window.claim.run

    @rule(number=CLIENTS, replies=st.integers(1, 2))
    def lose_replies(self, number: int, replies: int) -> None:
        if self.windows[number] is not None:
            self.transports[number].lose = replies
            try:
                self.close(number)
            except MetalfoundryError:
                raise AssertionError("a close outlives lost replies") from None
            self.transports[number].lose = 0

    def of_clients(self, obj: Object) -> Object:
        """What a client writes there; the guards have their word, and give Flux its switch back."""
        return {"run": obj["metadata"].get("annotations", {}).get(RUN), "spec": obj["spec"]}

    def given_back(self) -> None:
        notes = self.hardware["metadata"].get("annotations", {})
        assert RUN not in notes
        assert WINDOW not in notes or self.robbed
        assert notes.get(FLUX) == self.flux

    # ---- everybody else ----------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 60, 250, 601, 2000]))
    def time_passes(self, seconds: int) -> None:
        """Clients may sleep; a guard looks every few seconds; where there is none the sweeper comes within a minute."""
        for guard in self.guards:
            guard.passes()
        self.clock.advance(seconds)
        if self.guards:
            self.the_guards_pass()
        else:
            self.the_sweeper_passes()

    def the_guards_pass(self) -> None:
        """As often as it takes; who asks for one starts it where there is none."""
        if not self.guards:
            self.guards.append(PlayedGuard(self.store, self.clock, self.the_workflow, self.a_guard_wrote))
        for guard in self.guards:
            guard.passes()

    def the_workflow(self, run: str) -> tuple[str, str]:
        return "w-1", "RUNNING" if run == self.ran else "PENDING"

    def a_guard_wrote(self, verdict: str, run: str, age: float, before: Object, after: Object) -> None:
        """Nobody's window is closed that a live claim of another run holds; a lease ends after its time alone."""
        had = before["metadata"].get("annotations", {}).get(RUN, "")
        assert had == run, f"for {run} under the claim of {had}"
        if opened(before) and not opened(after):
            self.stray = False
        if verdict == "end-expired":
            assert age >= LEASE
            self.given_back()
        if opened(before) and not opened(after) and verdict.startswith("shut-"):
            assert run == self.ran

    @rule()
    def a_second_guard_begins(self) -> None:
        """As in the cluster, or while a newer one takes over."""
        if len(self.guards) < 3:
            self.guards.append(PlayedGuard(self.store, self.clock, self.the_workflow, self.a_guard_wrote))

    @rule(number=st.integers(0, 2), end=st.sampled_from(["killed before it patches", "killed after", "hangs"]))
    def a_guard_ends_in_its_pass(self, number: int, end: str) -> None:
        if number >= len(self.guards):
            return
        guard = self.guards[number]
        guard.look()
        if end == "killed after":
            guard.patch()
        if end != "hangs":
            self.guards.remove(guard)

    @rule(number=st.integers(0, 2))
    def a_guard_that_hung_goes_on(self, number: int) -> None:
        """With what it had read before it hung."""
        if number < len(self.guards):
            self.guards[number].patch()

    @rule()
    def the_sweeper_passes(self) -> None:
        if sweep(self.store, self.clock.now().wall):
            self.stray = False
            self.given_back()

    @rule()
    def the_jump_host_reboots(self) -> None:
        self.guards.clear()

    @rule()
    def the_installer_runs(self) -> None:
        self.ran = self.hardware["metadata"].get("annotations", {}).get(RUN, "")
        if self.guards:
            self.the_guards_pass()
            assert not self.ran or not opened(self.hardware)

    @rule(value=st.booleans())
    def a_person_patches(self, value: bool) -> None:
        if self.hardware["spec"]["interfaces"][0].get("netboot") is None:
            return
        path = "/spec/interfaces/0/netboot/allowPXE"
        self.store.patch("hardware", "anvil", [{"op": "add", "path": path, "value": value}])
        self.stray = value

    @rule()
    def tinkerbell_toggles(self) -> None:
        """A Workflow's PREPARING; we declare one only under a claim, so without one it is a foreign hand's."""
        path = "/spec/interfaces/0/netboot"
        self.store.patch("hardware", "anvil", [{"op": "add", "path": path, "value": {"allowPXE": True}}])
        self.stray = self.stray or not self.live(self.hardware)

    def the_controller_writes(self) -> None:
        if self.toggle_at is not None and self.clock.now().mono >= self.toggle_at:
            self.toggle_at = None
            self.tinkerbell_toggles()

    @rule(note=st.booleans())
    def a_person_takes_the_claim_away(self, note: bool) -> None:
        """`kubectl annotate … run-`: a guard that has watched it closes, and so does the client that held it."""
        notes = self.hardware["metadata"].get("annotations", {})
        keys = [RUN, WINDOW] if note else [RUN]
        if RUN not in notes:
            return
        paths = ["/metadata/annotations/" + key.replace("/", "~1") for key in keys]
        self.store.patch("hardware", "anvil", [{"op": "remove", "path": path} for path in paths])
        self.robbed = not note
        watched = any(guard.known[0] == notes[RUN] for guard in self.guards)
        self.stray = opened(self.hardware)
        if watched:
            self.the_guards_pass()
            assert not opened(self.hardware), "the guard has watched it"

    @precondition(lambda self: self.managed)
    @rule()
    def flux_reconciles(self) -> None:
        """Git knows no netboot: unless paused, the block goes; a claim pauses it."""
        notes = self.hardware["metadata"].get("annotations", {})
        if notes.get(FLUX) != "disabled" and self.hardware["spec"]["interfaces"][0].get("netboot") is not None:
            assert RUN not in notes, "a claim keeps Flux away"
            self.store.patch("hardware", "anvil", [{"op": "remove", "path": "/spec/interfaces/0/netboot"}])
            self.stray = False

    def teardown(self) -> None:
        """Everybody goes home: after expiry and one sweep, nothing of ours is left."""
        if not hasattr(self, "store"):
            return
        for _ in range(2):
            self.the_guards_pass()
            self.clock.advance(LEASE + 1)
        self.the_guards_pass()
        self.given_back()
        assert not opened(self.hardware) or self.stray


TestNetboot = Netboot.TestCase
TestNetboot.settings = settings(
    max_examples=400,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)

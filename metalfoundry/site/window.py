"""The netboot window of one server: claim, guard, open, close, release.

    window = Window(site, server, run="...", reason="...")
    window.claim.take(None, window.guard.ask)
    window.arm()                                 # the guard's word, before anything can open it
    window.open()
    ...
    window.close("the installer runs")
    window.end("the run is over")                # in every case

`end` closes what may be open, reads it back and gives the claim back; where that cannot be confirmed, UnsafeError says
so and names the command that closes it by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metalfoundry.commands import claims, netboot, smee
from metalfoundry.commands.claims import ClaimSeen
from metalfoundry.commands.command import Effect
from metalfoundry.commands.kubectl import HARDWARE
from metalfoundry.model.errors import ClaimedError, MetalfoundryError, PreflightError, TransportError, UnsafeError
from metalfoundry.model.events import Notice, WindowChanged
from metalfoundry.model.inventory import Server
from metalfoundry.model.program import ours
from metalfoundry.model.resources import Hardware
from metalfoundry.model.states import ClaimPhase, WindowState
from metalfoundry.site.claim import AGAIN_SECONDS, LEASE_SECONDS, REFUSALS, WRITE_SECONDS, Claim
from metalfoundry.site.cluster import Cluster, Patched
from metalfoundry.site.exposure import Exposure
from metalfoundry.site.guarding import Guarding
from metalfoundry.site.proof import Proof, smee_words, still_open
from metalfoundry.site.scripts import settle
from metalfoundry.site.site import Site
from metalfoundry.transport.clock import Cancel, Deadline

CLOSE_SECONDS = 120.0
ATTEMPT_SECONDS = 30.0
GUARD_SURE_SECONDS = 60.0  # as long as the guard's word is believed before something is opened
TOGGLE_SECONDS = 3.0
LONGEST_PAUSE = 2.0


class Window(Exposure):
    """One server's window under one run id: the verbs."""

    def __init__(
        self,
        site: Site,
        server: Server,
        run: str,
        reason: str = "",
        phase: str = ClaimPhase.CLAIM,
        lease: float = LEASE_SECONDS,
    ) -> None:
        """`lease`: seconds for which claim and guard hold without a word from us."""
        claim = Claim(site, server, run, reason, phase, lease)
        gated = site.gated(claim)
        super().__init__(gated, server, claim, Guarding(gated, server, claim))
        self._cluster = Cluster(self.site)
        self._settling: Deadline | None = None

    def arm(self) -> None:
        """See the guard's word about our claim, that it closes the window without us. Raises PreflightError when it
        stays away, ClaimedError when our claim is gone.
        """
        self.guard.ensure()

    def beat(self, force: bool = False) -> None:
        """Renew the claim, and see the guard's word about that; cheap when nothing is due. Raises ClaimedError when the
        claim is lost, PreflightError when the guard's word stays away.
        """
        renewed = self.claim.beat(self.guard.ask, force)
        if renewed is not None:
            self.guard.expect()
        if not (self.guard.due or (force and renewed)):
            return
        try:
            self.guard.ensure([renewed.outcomes["guard"]] if renewed and "guard" in renewed.outcomes else [])
        except TransportError as error:
            self.site.bus.emit(Notice(f"the guard could not be asked: {error}", "warning"))

    def open(self) -> None:
        """Allow netboot on the server's interface and read it back, under a guard that was seen lately. Raises
        ClaimedError when the claim is lost.
        """
        self._sure_of_guard()
        self._refuse_shut()
        deadline = Deadline.after(self.site.clock, WRITE_SECONDS)
        self._let_open()
        refused = 0
        while refused < REFUSALS:
            operations = netboot.open_(self._held(), self.claim.run, self.mac, self.claim.entered(ClaimPhase.BOOT))
            seen = self._patch(operations, deadline, Effect.WRITE)
            self.claim.refuse_lost(seen.hardware)
            if self._allowed():
                self._show_open("", smee_words(seen.smee))
                return
            if seen.applied is None:
                self.site.clock.wait(AGAIN_SECONDS, Cancel())
            refused += seen.applied is not None
        raise MetalfoundryError(
            f"netboot of {self._server.name} could not be opened: the patch is refused, without a reason",
            where=f"Hardware {self._server.hardware}",
            next=self.site.kubectl_hint("get", f"{HARDWARE}/{self._server.hardware}", "-o", "yaml"),
            evidence=seen.stderr,
        )

    def ensure_open(self) -> None:
        """See that netboot is open and ours just before a reboot relies on it: looked at again unless that was done in
        the last seconds, and opened again if somebody has closed it. Raises as `open`.
        """
        if self.stale:
            self.beat()
            self.claim.sighted(self._read_now())
            self.claim.refuse_lost(self._held())
            self._refuse_shut()
        if not self._allowed():
            self._refuse_shut()
            self.site.bus.emit(WindowChanged(WindowState.CLOSED_BY_OTHER, why="it is opened again"))
            self._shown = False
            self.open()

    def close(self, why: str, patience: float = CLOSE_SECONDS) -> Proof:
        """Forbid netboot, read it back, ask Smee. Raises UnsafeError when that is not confirmed in two minutes; a jump
        host or an API server that does not answer is waited for during `patience` seconds.

        Under our claim, under nobody's, or under one that has expired; a live run's window is its own, and raises
        ClaimedError.
        """
        deadline = Deadline.after(self.site.clock, CLOSE_SECONDS)
        silence = Deadline.after(self.site.clock, max(patience, CLOSE_SECONDS))
        problem, pause = "not tried", AGAIN_SECONDS
        while True:
            limit = deadline
            try:
                seen = self._patch(self._closing(self._held()), silence.within(ATTEMPT_SECONDS), Effect.RESTORE)
                if self.theirs:
                    self.claim.refuse_lost(seen.hardware)
                problem = still_open(seen)
                if not problem:
                    return self._proven(why, seen)
            except ClaimedError:
                raise
            except (MetalfoundryError, OSError) as error:
                problem = str(error)
                limit = silence if isinstance(error, TransportError) else deadline
            if limit.expired():
                raise self.unsafe(problem)
            if pause == AGAIN_SECONDS:
                self.site.bus.emit(Notice(f"netboot is not confirmed closed yet: {problem}", "warning"))
            self.site.clock.wait(pause, Cancel())
            pause = min(2 * pause, LONGEST_PAUSE)

    def shut(self, why: str) -> None:
        """Close it if it is `at_risk`. Raises as `close`."""
        if self.at_risk:
            self.close(why)

    def release(self, workflows: Sequence[str] = (), *, well: bool = False) -> None:
        """Give the claim back and remove finished `workflows`, with the window closed in the same patch; what is read
        afterwards is closed again if need be. Does nothing without a claim. `well` as in Claim.release. Raises
        UnsafeError as `close`.
        """
        if self.claim.note is not None and (self.at_risk or self._held().open_interfaces()):
            self.close("the run ended")
        after = self.claim.release(workflows, well)
        if after is None:
            return
        if after.open_interfaces() and not self._is_theirs(after):
            self._let_open()
            self.close("somebody else opened it meanwhile")

    def end(self, why: str) -> None:
        """Leave the server safe: close whatever is open, then give the claim back. Safe to call twice.

        Where the claim is gone, what is open under nobody's is closed all the same, and a live run's window is left to
        that run. Raises UnsafeError when it is `at_risk` afterwards, another error when only the claim could not be
        given back.
        """
        if self.claim.note is None:
            return
        try:
            self.close(why)
            self.settle()
            self._outwait_toggle()
        except ClaimedError:
            pass
        except UnsafeError as error:
            if self.at_risk:
                raise
            raise MetalfoundryError(
                f"the claim on {self._server.name} could not be given back; it expires at {self.claim.note.expires}",
                where=error.where,
                next=ours("netboot.break", self._server.name, "--run", self.claim.run),
                evidence=error.what,
            ) from error
        if self.claim.lost is None:
            self.release()
        self.claim.note = None

    def settle(self) -> None:
        """Wait, with netboot closed, until nothing that was left on its way to the jump host can take effect any more:
        a Workflow that is applied after the claim was given back opens netboot under nobody's. Where that is not seen
        within a minute the claim stays, for the guard: raises UnsafeError when it is `at_risk`, else MetalfoundryError.
        """
        if not self.site.left.tickets or self.theirs:
            return
        self.shut("what was sent is waited for")
        self.site.bus.emit(Notice("waiting until what was sent has ended on the jump host"))
        self._settling = self._settling or Deadline.after(self.site.clock, WRITE_SECONDS)
        try:
            settle(self.site, self._settling)
            self.claim.sighted(self._read_now())
        except MetalfoundryError as error:
            if self.at_risk:
                raise self.unsafe(str(error)) from error
            raise MetalfoundryError(
                f"the claim on {self._server.name} is kept: {error.what}", where=error.where, next=error.next
            ) from error
        if self._held().open_interfaces():
            self.close("it was opened by what was sent before")

    def adopt(self, hardware: Hardware, claim: ClaimSeen | None) -> None:
        """Take over what a claim under our run id, or nobody, has left on `hardware`, in order to end it."""
        self.claim.hardware = hardware
        self.claim.note = claim.note if claim else None

    def _outwait_toggle(self) -> None:
        """Take the Workflow away that makes Tinkerbell open netboot, and look until what its controller may be writing
        at this moment must have come. Raises UnsafeError when the Workflow stays, or what it opened.
        """
        if not self.toggling or self.theirs:
            return
        try:
            deadline = Deadline.after(self.site.clock, WRITE_SECONDS)
            self._cluster.delete_workflows([self.toggling], deadline, Effect.RESTORE)
            deadline = Deadline.after(self.site.clock, TOGGLE_SECONDS)
            while not deadline.expired():
                self.site.clock.wait(AGAIN_SECONDS, Cancel())
                self.claim.sighted(self._read_now())
                if self._held().open_interfaces():
                    self.close(f"Tinkerbell opened it for {self.toggling}, which is gone")
        except (UnsafeError, ClaimedError):
            raise
        except MetalfoundryError as error:
            raise self.unsafe(f"Tinkerbell may open it yet for {self.toggling}: {error}") from error
        self.toggling = ""

    def _read_now(self) -> Hardware:
        return self._cluster.hardware(self._server.hardware, Deadline.after(self.site.clock, WRITE_SECONDS)).hardware

    def _sure_of_guard(self) -> None:
        """Have a word of the guard that is fresh: nothing is opened on the word of one that may have died since."""
        if self.claim.lost is not None:
            raise self.claim.lost
        if self.guard.seen is None:
            self.arm()
        for _ in range(REFUSALS):
            if not self.guard.fresh(GUARD_SURE_SECONDS):
                self.beat(force=True)
        if not self.guard.fresh(GUARD_SURE_SECONDS):
            raise PreflightError(
                f"the claim on {self._server.name} could not be renewed, so netboot stays closed",
                where=f"Hardware {self._server.hardware}",
                next=ours("status", self._server.name),
            )

    def _refuse_shut(self) -> None:
        """Raise where the guard says that it has shut the window: it would close again what is opened after that. It is
        asked anew, for it may have meant an earlier Workflow of that name.
        """
        if self.guard.shut:
            self.beat(force=True)
        if self.guard.shut:
            raise MetalfoundryError(
                f"the guard has shut the window of {self._server.name} already ({self.guard.shut})",
                where=f"guard {self.guard.name}",
                next=f"{ours('status', self._server.name)}; then run again",
            )

    def _closing(self, hardware: Hardware) -> list[dict[str, Any]]:
        """Nothing to say where nothing was opened and nothing is open (reading is proof enough), or where it is not
        ours to close."""
        if self._is_theirs(hardware) or not (self.at_risk or hardware.open_interfaces()):
            return []
        if claims.claim_of(hardware) is None:
            return netboot.close(hardware, None)
        return netboot.close(hardware, self.claim.run) if self.claim.ours(hardware) else netboot.close_expired(hardware)

    def _proven(self, why: str, seen: Patched) -> Proof:
        now = claims.stamp(self.site.now())
        proof = Proof(now, f"allowPXE false at resourceVersion {seen.hardware.resource_version}", seen.smee)
        if seen.smee is not None and smee.says_open(seen.smee) is None:
            unheard = "Smee did not answer; the Hardware alone proves that netboot is closed"
            self.site.bus.emit(Notice(unheard, "warning"))
        self._shut(why, proof, f"{proof.hardware}; {smee_words(seen.smee)}")
        return proof

    def _patch(self, operations: list[dict[str, Any]], deadline: Deadline, effect: Effect) -> Patched:
        seen = self._cluster.patch(self._server.hardware, operations, deadline, effect=effect, ask_smee_for=self.mac)
        self.claim.sighted(seen.hardware)
        return seen

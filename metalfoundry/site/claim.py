"""The claim on one server: taken, kept alive, checked before every write, given back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from metalfoundry.commands import claims, netboot, queue
from metalfoundry.commands.claims import ClaimSeen, WindowNote
from metalfoundry.commands.command import Command, Effect
from metalfoundry.commands.kubectl import HARDWARE
from metalfoundry.commands.machine import MachineFacts
from metalfoundry.commands.script import Part
from metalfoundry.model.errors import ApiAway, ClaimedError, MetalfoundryError, PreflightError, TransportError
from metalfoundry.model.events import ClaimChanged, LeaseExtended, Notice
from metalfoundry.model.hosts import Host
from metalfoundry.model.inventory import Server
from metalfoundry.model.program import ours
from metalfoundry.model.resources import FLUX_RECONCILE, Hardware
from metalfoundry.model.states import ClaimState
from metalfoundry.site.cluster import Cluster, Patched
from metalfoundry.site.held import awaited, claimed
from metalfoundry.site.protection import refuse_protected
from metalfoundry.site.site import Site
from metalfoundry.transport.clock import Cancel, Deadline, Instant

LEASE_SECONDS = 600.0
WRITE_SECONDS = 60.0
BEAT_SECONDS = 20.0
RELEASE_SECONDS = 20.0
FRESH_SECONDS = 10.0
REFUSALS = 3
AGAIN_SECONDS = 0.2


class Claim:
    """One run's hold on one server. `note` is None while it holds nothing; `hardware` is the object as last read;
    `on_sight` is told of each reading. `taken`: whether it ever held, or may have held, the server. `leaves` says which
    annotations are to stand on the object when the claim is given back (None: no longer).

    What is set before `take` is written with it: `workflow`, its `boot_action`, and `old` (the systems that are to be
    replaced). `uid` of the Workflow is written with the next renewal.

    It is a gate of transport/gates.py, too: see `check`.
    """

    def __init__(self, site: Site, server: Server, run: str, reason: str, phase: str, lease: float) -> None:
        """`lease`: seconds for which the claim holds without a word from us."""
        self._site = site
        self._cluster = Cluster(site)
        self._server = server
        self._reason = reason
        self._phase = phase
        self._beaten: Instant | None = None
        self._pause = 0.0
        self._trusted_until = site.clock.now().wall
        self.run = run
        self.lease = lease
        self.hardware: Hardware | None = None
        self.note: WindowNote | None = None
        self.lost: ClaimedError | None = None
        self.taken = False
        self.on_sight: Callable[[Hardware], None] = lambda hardware: None
        self.leaves: Callable[[Hardware], Mapping[str, str | None]] = lambda hardware: {}
        self.old: Sequence[MachineFacts] = ()
        self.workflow = ""
        self.boot_action = ""
        self.uid = ""
        self.resumes = ""

    def take(self, hardware: Hardware | None, ask: Callable[[int], Sequence[Part]] = lambda renewal: ()) -> None:
        """Take the server, and `ask` for the guard's word about that in the same exec. Raises ClaimedError when a live
        run holds it, or another has had it since `hardware` was read; an expired claim is taken over, and so is that of
        the run `resumes`, whose client then loses it.
        """
        deadline = Deadline.after(self._site.clock, WRITE_SECONDS)
        self.hardware = hardware or self._cluster.hardware(self._server.hardware, deadline).hardware
        marks = _marks(self.hardware)
        refused = 0
        while refused < REFUSALS:
            self.refuse_out_of_turn(self.hardware)
            if _marks(self.hardware) != marks:
                raise ClaimedError(
                    f"another run has had {self._server.name} since it was looked at: another system may be on it now",
                    where=f"Hardware {self._server.hardware}",
                    next=f"{ours('history', self._server.name)}; then run again",
                )
            refuse_protected({self._server.name: self.hardware})
            previous = claims.claim_of(self.hardware)
            self.note = self.new_note(self.hardware)
            operations = netboot.claim(self.hardware, self.run, self.note, self.old)
            operations, then = [*operations, *queue.leave(self.hardware, self.run)], ask(self.note.renewal)
            try:
                seen = self._cluster.patch(self._server.hardware, operations, deadline, then=then, tested=False)
            except TransportError as error:
                self.note, self.taken = (self.note, True) if error.sent else (None, self.taken)
                raise
            if self.ours(seen.hardware):
                self.taken = True
                self.sighted(seen.hardware)
                self._beat_next(self.lease / 3)
                state = ClaimState.TAKEN_OVER if previous else ClaimState.TAKEN
                self._site.bus.emit(ClaimChanged(state, previous.note.holder if previous else self._site.holder))
                return
            self.note = None
            self.sighted(seen.hardware)
            refused += self._was_refused(seen.applied)
        raise ClaimedError(
            f"the claim on {self._server.name} was refused {REFUSALS} times though nobody holds it",
            where=f"Hardware {self._server.hardware}",
            next=self._site.kubectl_hint("auth", "can-i", "patch", HARDWARE),
            evidence=seen.stderr,
        )

    def beat(self, ask: Callable[[int], Sequence[Part]], force: bool = False) -> Patched | None:
        """Renew the claim when a third of the lease has passed on either clock (one stands still while the computer
        sleeps), or by `force`, and `ask` for the guard's word about that renewal in the same exec: what was seen then.

        None where it was not renewed: what keeps it from that, such as a link or an API server that is down, is no
        error: until the lease ends the guard holds, after it the guard closes. Raises ClaimedError when it is lost.
        """
        if self.note is None or self.lost or not (force or self._due()):
            return None
        self._beat_next(self.lease / 10)
        note = self._renewed(self.note)
        deadline = Deadline.after(self._site.clock, WRITE_SECONDS if force else BEAT_SECONDS)
        try:
            operations, then = netboot.rewrite(self.run, note), ask(note.renewal)
            seen = self._cluster.patch(self._server.hardware, operations, deadline, then=then, patient=force)
        except PreflightError as error:
            self._site.bus.emit(Notice(f"the claim could not be extended: {error}", "warning"))
            return None
        self.sighted(seen.hardware)
        self.refuse_lost(seen.hardware)
        if claims.claim_of(seen.hardware) != ClaimSeen(self.run, note):
            return None
        self.note = note
        self._beat_next(self.lease / 3)
        self._site.bus.emit(LeaseExtended(note.expires))
        return seen

    def _lose(self, hardware: Hardware) -> ClaimedError:
        """Take in that `hardware` is another run's, or nobody's; the error that says so."""
        seen = claims.claim_of(hardware)
        if self.lost is None:
            self._site.bus.emit(ClaimChanged(ClaimState.LOST, seen.note.holder if seen else "nobody"))
        how = f"lost to {seen.run} of {seen.note.holder}" if seen else claims.broken(hardware) or "removed"
        self.lost = ClaimedError(
            f"the claim on {self._server.name} was {how}",
            where=f"Hardware {self._server.hardware}",
            next=ours("status", self._server.name),
        )
        return self.lost

    def _renewed(self, note: WindowNote) -> WindowNote:
        return replace(note, uid=self.uid or note.uid).renew(self._site.now())

    def _beat_next(self, pause: float) -> None:
        self._beaten, self._pause = self._site.clock.now(), pause

    def _due(self) -> bool:
        return self._beaten is None or elapsed(self._beaten, self._site.clock.now()) >= self._pause

    def _was_refused(self, applied: bool | None) -> bool:
        """Whether a patch that did not take effect was refused; one whose reply was lost is said again a little
        later."""
        if applied is None:
            self._site.clock.wait(AGAIN_SECONDS, Cancel())
        return applied is not None

    def check(self, host: Host, command: Command) -> None:
        """Refuse a WRITE once the claim is lost; where it was not seen for FRESH_SECONDS, as after a sleep, it is read
        first: only a patch carries its own test of it."""
        if command.effect is not Effect.WRITE or self.note is None:
            return
        if self.lost is None and self._site.clock.now().wall > self._trusted_until:
            deadline = Deadline.after(self._site.clock, WRITE_SECONDS)
            seen = self._cluster.hardware(self._server.hardware, deadline).hardware
            self.sighted(seen)
            self.refuse_lost(seen)
        if self.lost is not None:
            raise self.lost

    def release(self, workflows: Sequence[str], well: bool = False) -> Hardware | None:
        """Give it back with netboot closed in the same patch, and `workflows` deleted before; return what was read
        afterwards. Does nothing without a claim. Where another run has it, nothing is deleted, and it is `lost`.

        `well`: the run was a success, and nobody needs to know the old systems any longer.
        """
        deadline = Deadline.after(self._site.clock, WRITE_SECONDS)
        kubectl = self._site.kubectl
        held = [kubectl.test(self._server.hardware, netboot.held(self.run))] if workflows else []
        before = [*held, *(kubectl.delete_workflow(name, after=held[0].name) for name in workflows)]
        note = self.note
        if note is None or self.hardware is None:
            return None
        refused, unheard = 0, False
        while refused < REFUSALS:
            operations = netboot.release(self.hardware, self.run, note, well, self.leaves(self.hardware))
            try:
                seen = self._cluster.patch(
                    self._server.hardware,
                    operations,
                    deadline.within(RELEASE_SECONDS),
                    effect=Effect.RESTORE,
                    also=before,
                )
            except TransportError as error:
                unheard = True
                refused += not isinstance(error, ApiAway)
                if deadline.expired() or refused == REFUSALS:
                    raise
                continue
            if not self.ours(seen.hardware):
                self.note = None
                self.sighted(seen.hardware)
                if seen.applied is False and not (unheard and claims.claim_of(seen.hardware) is None):
                    self._lose(seen.hardware)
                else:
                    self._site.bus.emit(ClaimChanged(ClaimState.GIVEN_BACK, self._site.holder))
                return seen.hardware
            self.sighted(seen.hardware)
            refused += self._was_refused(seen.applied)
        raise MetalfoundryError(
            f"the claim on {self._server.name} could not be given back; it expires at {note.expires}",
            where=f"Hardware {self._server.hardware}",
            next=ours("netboot.break", self._server.name, "--run", self.run),
            evidence=seen.stderr,
        )

    def ours(self, hardware: Hardware) -> bool:
        """Whether `hardware` carries our run id."""
        seen = claims.claim_of(hardware)
        return seen is not None and seen.run == self.run

    def new_note(self, hardware: Hardware) -> WindowNote:
        """The note that a claim on `hardware`, taken now, would carry."""
        now = self._site.now()
        before: dict[str, str | None] = {}
        if self._site.inventory.site.flux == "auto" and hardware.flux_managed:
            before[FLUX_RECONCILE] = hardware.annotations.get(FLUX_RECONCILE)
        # A dead run's claim, or what somebody has left of it: what it changed is still changed.
        before |= WindowNote.from_annotations(hardware.annotations).before
        note = WindowNote(
            holder=self._site.holder,
            reason=self._reason,
            opened=claims.stamp(now),
            expires="",
            phase=self._phase,
            workflow=self.workflow,
            before=before,
            lease=round(self.lease),
            uid=self.uid,
            until=self._server.netboot_until if self.workflow else "",
            boot_action=self.boot_action,
        )
        return note.renew(now)

    def refuse_live(self, hardware: Hardware) -> None:
        """Raise ClaimedError, with holder, since, reason and expiry, when another live run holds the server."""
        seen = claims.claim_of(hardware)
        if seen and seen.run not in (self.run, self.resumes) and seen.live(self._site.now()):
            raise claimed(self._server.name, seen, seen.note.holder == self._site.holder)

    def refuse_out_of_turn(self, hardware: Hardware) -> None:
        """As `refuse_live`, and when it is the turn of another run, which has waited for the server."""
        self.refuse_live(hardware)
        seen, line = claims.claim_of(hardware), queue.waiting(hardware, self._site.now())
        resumed = seen is not None and seen.run in (self.run, self.resumes)
        if line and line[0].run != self.run and not resumed:
            raise awaited(self._server.name, line[0])

    def notice(self, hardware: Hardware) -> None:
        """Take in the object as a watch shows it: raise ClaimedError when our claim is gone from a newer one."""
        known = self.hardware
        if self.note is None or self.lost or (known and not hardware.newer_than(known)):
            return
        self.refuse_lost(hardware)

    def sighted(self, hardware: Hardware) -> None:
        """Keep the object as it was read just now; for FRESH_SECONDS it is believed that the claim stands."""
        self.hardware = hardware
        if self.ours(hardware):
            self.taken = True
            self._trusted_until = self._site.clock.now().wall + timedelta(seconds=FRESH_SECONDS)
        self.on_sight(hardware)

    def refuse_lost(self, hardware: Hardware) -> None:
        """Raise ClaimedError, now and at every later WRITE, when `hardware` does not carry our run id."""
        if not self.ours(hardware):
            raise self._lose(hardware)

    def entered(self, phase: str) -> WindowNote:
        """Our note with another phase and a whole lease, to be written with the next patch: what opens netboot does it
        under a live claim, even after a sleep. A window by hand stays one.
        """
        if self.note is None:
            raise MetalfoundryError(f"{self._server.name} is not claimed", next="claim it first")
        by_hand = self._phase == claims.BY_HAND
        self.note = self._renewed(replace(self.note, phase=self._phase if by_hand else phase))
        return self.note


def _marks(hardware: Hardware) -> list[str | None]:
    return [hardware.annotations.get(key) for key in netboot.RUN_MARKS]


def elapsed(since: Instant, now: Instant) -> float:
    """Seconds by whichever clock has gone further: the wall goes on while the computer sleeps."""
    return max(now.mono - since.mono, (now.wall - since.wall).total_seconds())

"""Waiting for a server that another run holds, in turn with all others who wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from metalfoundry.commands import claims, queue
from metalfoundry.commands.command import Effect
from metalfoundry.commands.kubectl import HARDWARE
from metalfoundry.model.errors import ClaimedError, MetalfoundryError
from metalfoundry.model.events import Notice
from metalfoundry.model.inventory import Server
from metalfoundry.model.resources import Hardware
from metalfoundry.site.claim import Claim
from metalfoundry.site.cluster import Cluster
from metalfoundry.site.site import Site
from metalfoundry.site.stream import by_name
from metalfoundry.transport.clock import Cancel, Deadline

WRITE_SECONDS = 60.0
ATTEMPTS = 5
RENEW_SECONDS = queue.PLACE_SECONDS / 3


class Queue:
    """The place of one run in the line for a server. It stands on the Hardware, so that clients anywhere agree whose
    turn it is; the claim that is taken when it has come takes it away.
    """

    def __init__(self, site: Site, server: Server, claim: Claim) -> None:
        self._site, self._server, self._claim = site, server, claim
        self._cluster = Cluster(site)
        self._renew_at = 0.0
        self._until: Deadline | None = None

    def wait(self, hardware: Hardware, seconds: float) -> None:
        """Wait until the server may be taken. Raises ClaimedError where it may not `seconds` after the first time that
        this was called.
        """
        deadline = self._until = self._until or Deadline.after(self._site.clock, seconds)
        told = ""
        with closing(self._sights(self._stand(hardware), deadline)) as sights:  # type: ignore[type-var]
            for seen in sights:
                self._claim.hardware = seen
                try:
                    self._claim.refuse_out_of_turn(seen)
                    return
                except ClaimedError as error:
                    if deadline.expired():
                        error.what += f"; this run has waited for {seconds:.0f} s"
                        raise
                before = self._before(seen)
                if before != told:
                    told = before
                    self._site.bus.emit(Notice(f"waits for {self._server.name}: {before}"))

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Go on renewing the place once the turn has come, as while a person is asked. A renewal that comes after the
        claim finds another line, and is refused.
        """
        over = Cancel()

        def renew() -> None:
            while not over.is_set():
                self._site.clock.wait(RENEW_SECONDS, over)
                if not over.is_set():
                    self._renew()

        self._site.background(renew)
        try:
            yield
        finally:
            over.set("the place is not needed any more")

    def leave(self) -> None:
        """Give the place up, where there is one."""
        deadline = Deadline.after(self._site.clock, WRITE_SECONDS)
        hardware = self._cluster.hardware(self._server.hardware, deadline).hardware
        while (operations := queue.leave(hardware, self._claim.run)) and not deadline.expired():
            hardware = self._cluster.patch(self._server.hardware, operations, deadline, effect=Effect.RESTORE).hardware

    def _sights(self, hardware: Hardware, deadline: Deadline) -> Iterator[Hardware]:
        """The Hardware now, again at every change and tick, and after `deadline`; the place is renewed meanwhile."""
        yield hardware
        watches = self._site.watches or by_name
        for told in watches(self._site, {HARDWARE: self._server.hardware}, deadline):
            seen = Hardware.of(told[2]) if told and told[1] != "DELETED" else None
            if seen and seen.newer_than(hardware):
                hardware = seen
            if self._site.clock.now().mono >= self._renew_at or (told and told[1] == "DELETED"):
                hardware = self._stand(hardware)
            yield hardware
        yield hardware

    def _renew(self) -> None:
        deadline = Deadline.after(self._site.clock, WRITE_SECONDS)
        try:
            self._stand(self._cluster.hardware(self._server.hardware, deadline).hardware)
        except MetalfoundryError as error:
            self._site.bus.emit(Notice(f"the place in the queue could not be renewed: {error}", "warning"))

    def _stand(self, hardware: Hardware) -> Hardware:
        """Take the place, or renew it; the Hardware as it is then. What is refused, as where many come at once, is
        tried again with the next renewal. Raises PreflightError where the Hardware does not exist.
        """
        deadline = Deadline.after(self._site.clock, WRITE_SECONDS)
        for _ in range(ATTEMPTS):
            operations = queue.stand(hardware, self._claim.run, self._site.holder, self._site.now())
            hardware = self._cluster.patch(self._server.hardware, operations, deadline).hardware
            if self._place(hardware) is not None:
                break
        self._renew_at = self._site.clock.now().mono + RENEW_SECONDS
        return hardware

    def _place(self, hardware: Hardware) -> int | None:
        line = [place.run for place in queue.waiting(hardware, self._site.now())]
        return line.index(self._claim.run) if self._claim.run in line else None

    def _before(self, hardware: Hardware) -> str:
        """Who is before us, in words that do not change while nothing does."""
        seen, place = claims.claim_of(hardware), self._place(hardware)
        held = f"{seen.note.holder or 'somebody'} holds it as {seen.run}" if seen else "nobody holds it"
        return held if not place else f"{held}, and {place} more {'waits' if place == 1 else 'wait'} before this run"

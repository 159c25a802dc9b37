"""The guard of one claim: it says on the object that it has seen the claim and may patch, or nothing may open."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from metalfoundry.commands import claims, guard
from metalfoundry.commands.guard import REFUSED_BY_LOGIND
from metalfoundry.commands.script import Outcome, Part
from metalfoundry.model.errors import PreflightError
from metalfoundry.model.events import GuardChanged
from metalfoundry.model.inventory import Server
from metalfoundry.model.resources import Hardware
from metalfoundry.model.states import GuardChange
from metalfoundry.site.claim import Claim, elapsed
from metalfoundry.site.cluster import Cluster
from metalfoundry.site.site import Site
from metalfoundry.transport.clock import Deadline, Instant

ASK_SECONDS = 60.0
WAIT_SECONDS = 10
WATCH_SECONDS = 30.0  # for a watch to show it: the guard acknowledges one claim of a fleet after the other


class Guarding:
    """Who closes the window without us, as the object tells. `known`: the last that was seen to, and `seen` when."""

    def __init__(self, site: Site, server: Server, claim: Claim) -> None:
        self._site = site
        self._server = server
        self._claim = claim
        self._awaited: Instant | None = None
        self.known = ""
        self.seen: Instant | None = None

    @property
    def name(self) -> str:
        """The guard that has acknowledged the claim as it stands; "" where none has."""
        found = self._word
        return found.guard if found else ""

    @property
    def shut(self) -> str:
        """Why it closes whatever is opened under this claim; "" as a rule."""
        found = self._word
        return found.shut if found else ""

    @property
    def _word(self) -> claims.Acknowledged | None:
        hardware = self._claim.hardware
        found = claims.acknowledgement(hardware) if hardware else None
        return found if found and found.run == self._claim.run else None

    def ask(self, renewal: int) -> list[Part]:
        """The part that starts a guard where there is none, and waits, after the patch of that renewal, for its word.

        Where runs share a watch, that shows the word to all of them (`ensure`): a hundred that wait there would each
        hold a session, and ask the API server again and again.
        """
        part = self._asked(renewal) if self._site.watches is None else guard.ring(self._site.kubectl)
        return [replace(part, after="patch")]

    def _asked(self, renewal: int) -> Part:
        return guard.ask(self._site.kubectl, self._server.hardware, self._claim.run, renewal, WAIT_SECONDS)

    def expect(self) -> None:
        """Note that the claim was renewed: from now on its word about that is awaited."""
        self._awaited = self._site.clock.now()

    @property
    def due(self) -> bool:
        """Whether it is time to `ensure` what is awaited: at once; where runs share a watch, when that has shown it, or
        should have, so that no run waits for it meanwhile.
        """
        if self._awaited is None:
            return False
        waited = elapsed(self._awaited, self._site.clock.now())
        return self._site.watches is None or bool(self.name) or waited >= WATCH_SECONDS

    def fresh(self, seconds: float) -> bool:
        """Whether its word is at most so old, by either clock."""
        return self.seen is not None and elapsed(self.seen, self._site.clock.now()) <= seconds

    def ensure(self, also: Sequence[Outcome] = ()) -> None:
        """See its word about the claim as it stands, and ask for it where it is not there yet. Raises PreflightError
        when it stays away; `also` is what asking has left before.
        """
        last, note = next(iter(also), None), self._claim.note
        seen, self._awaited = self._awaited or self._site.clock.now(), None  # what a watch shows may have waited for us
        if self._site.watches is not None and note is not None and not self.name:
            self._watch_for_it(seen)
        deadline, answered = Deadline.after(self._site.clock, ASK_SECONDS), False
        while not self.name and note is not None and not answered and not deadline.expired():
            asked = Cluster(self._site).patch(self._server.hardware, [], deadline, then=[self._asked(note.renewal)])
            answered = "guard" in asked.outcomes  # where the answer was lost, or the API server away, it is asked again
            last, seen = asked.outcomes.get("guard") or last, self._site.clock.now()
            self._claim.sighted(asked.hardware)
            self._claim.refuse_lost(asked.hardware)
        if not self.name:
            raise self._missing(last)
        self.seen = seen
        if self.name != self.known:
            self.known = self.name
            self._site.bus.emit(GuardChanged(GuardChange.ARMED, self.name))

    def _watch_for_it(self, since: Instant) -> None:
        """Take in what the watch shows of the Hardware until its word is there, up to WATCH_SECONDS after `since`."""
        left = WATCH_SECONDS - elapsed(since, self._site.clock.now())
        if left <= 0:
            return
        watch = Cluster(self._site).watch("", self._server.hardware, Deadline.after(self._site.clock, left))
        with closing(watch):  # type: ignore[type-var]
            for seen in watch:
                known = self._claim.hardware
                if isinstance(seen, Hardware) and (known is None or seen.newer_than(known)):
                    self._claim.hardware = seen
                    self._claim.refuse_lost(seen)
                if self.name:
                    return

    def _missing(self, last: Outcome | None) -> PreflightError:
        said = last.stderr if last else ""
        step = self._site.kubectl_hint("auth", "can-i", "patch", "hardware.tinkerbell.org")
        if last and last.exit_status == REFUSED_BY_LOGIND and "remedy:" in said:
            step = "on the jump host: " + said.split("remedy:", 1)[1].strip()
        return PreflightError(
            "no guard acknowledges this claim, so netboot stays closed",
            where=f"jump host {self._site.jump.name}, Hardware {self._server.hardware}",
            next=step,
            evidence=said,
        )

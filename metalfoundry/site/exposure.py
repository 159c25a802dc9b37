"""What is known of one server's netboot: open through us, proven closed, or another run's by now.

Every reading of the Hardware comes by here, so that no two places disagree on it.
"""

from __future__ import annotations

import json

from metalfoundry.commands import claims, netboot, ssh
from metalfoundry.commands.kubectl import HARDWARE
from metalfoundry.model.errors import MetalfoundryError, UnsafeError
from metalfoundry.model.events import WindowChanged, WindowUnsafe
from metalfoundry.model.inventory import Server
from metalfoundry.model.resources import Hardware
from metalfoundry.model.states import WindowState
from metalfoundry.site.claim import Claim, elapsed
from metalfoundry.site.guarding import Guarding
from metalfoundry.site.proof import Proof
from metalfoundry.site.site import Site
from metalfoundry.transport.clock import Instant

SURE_SECONDS = 5.0


class Exposure:
    """The state of one server's netboot, as this run knows it.

    `proof`: of the last close; None since netboot was last seen open under our claim, or let open. `opened`: it was
    let open by us, or seen open under our claim, and no close was proven since. `toggling`: the Workflow that was
    applied and makes Tinkerbell open it, while it has not been seen done.
    """

    def __init__(self, site: Site, server: Server, claim: Claim, guard: Guarding) -> None:
        self.site = site
        self.claim = claim
        self.guard = guard
        claim.on_sight = self._read
        self._server = server
        self._seen: Instant | None = None
        self._shown = False
        self.proof: Proof | None = None
        self.opened = False
        self.toggling = ""

    @property
    def hardware(self) -> Hardware | None:
        """The object as last read."""
        return self.claim.hardware

    @property
    def theirs(self) -> bool:
        """Whether another live run holds the server, as last read: it answers for what is open."""
        return self.hardware is not None and self._is_theirs(self.hardware)

    @property
    def at_risk(self) -> bool:
        """Whether netboot may be open through us: let open, or about to be opened by Tinkerbell, and not proven closed
        since; or open, as last read, under a claim that may have become ours. Exit code 40 is for this alone.
        """
        held = self.claim.note is not None and self.claim.lost is None
        inherits = held and self.hardware is not None and bool(self.hardware.open_interfaces())
        return not self.theirs and (self.opened or bool(self.toggling) or inherits)

    @property
    def closed(self) -> bool | None:
        """Whether netboot is closed: by a proof younger than the last time it was open, else as last read. None where
        it was never looked at.
        """
        if self.at_risk:
            return False
        if self.proof is not None and not self.theirs:
            return True
        return None if self.hardware is None else not self.hardware.open_interfaces()

    @property
    def stale(self) -> bool:
        """Whether the object was not read in the last seconds, as after a sleep of this computer. What a watch shows
        does not count: it may have waited for us.
        """
        return self._seen is None or elapsed(self._seen, self.site.clock.now()) > SURE_SECONDS

    @property
    def mac(self) -> str | None:
        """The MAC whose interface netboots: the inventory's, else the Hardware's."""
        if self._server.mac or self.hardware is None or not self.hardware.interfaces:
            return self._server.mac
        return self.hardware.interfaces[0].mac or None

    def saw(self, hardware: Hardware) -> bool:
        """Take in the object as a watch shows it, unless we have read a newer one; say whether netboot is open."""
        if self.hardware is None or hardware.newer_than(self.hardware):
            self.claim.hardware = hardware
            self._notice(hardware)
        return bool(self._held().open_interfaces())

    def expect_toggle(self, workflow: str) -> None:
        """Say, before it is applied, that a Workflow lets Tinkerbell open netboot: from now on it counts as open."""
        self.toggling = workflow
        self._let_open()
        self._show_open("Tinkerbell opens it for this Workflow")

    def toggled(self) -> None:
        """Take in that Tinkerbell has done what `expect_toggle` said, or never will: it does it once."""
        self.toggling = ""

    def unsafe(self, problem: str) -> UnsafeError:
        """The error for a window that may be open, with the command that closes it by hand; it is told at once."""
        command = self.by_hand()
        self.site.bus.emit(WindowUnsafe(problem, command))
        return UnsafeError(
            f"netboot of {self._server.name} is not confirmed closed: {problem}",
            where=f"Hardware {self._server.hardware}, jump host {self.site.jump.name}",
            next=command,
            evidence=f"the guard {self.guard.known} still holds it" if self.guard.known else "",
        )

    def standing(self) -> str:
        """What is left on the server's Hardware, in words."""
        note = self.claim.note
        if not self.claim.taken:
            return "nothing was changed"
        if self.claim.lost is not None:
            return "the claim is lost" if self.theirs else "the claim is lost, netboot is closed"
        if note is not None:
            return f"the claim stays until {note.expires}"
        return "netboot is closed, the claim given back"

    def by_hand(self) -> str:
        """The one command that closes every interface without us, by the way to the jump host that we take."""
        patch = json.dumps(netboot.close_by_hand(self.hardware))
        words = [*self.site.kubectl.words, "patch", f"{HARDWARE}/{self._server.hardware}"]
        words += ["-n", self.site.kubectl.namespace, "--type=json", "-p", patch]
        return ssh.remotely(self.site.jump, words)

    def _read(self, hardware: Hardware) -> None:
        """Take in what was read at our request."""
        self._seen = self.site.clock.now()
        self._notice(hardware)

    def _notice(self, hardware: Hardware) -> None:
        """What is open under our claim, or under nobody's once we had it, is ours to close."""
        if self.claim.note is None or not hardware.open_interfaces():
            return
        if self.claim.ours(hardware) or claims.claim_of(hardware) is None:
            self._let_open()

    def _let_open(self) -> None:
        self.opened, self.proof = True, None

    def _show_open(self, why: str, proof: str = "") -> None:
        if not self._shown:
            expires = self.claim.note.expires if self.claim.note else ""
            self.site.bus.emit(WindowChanged(WindowState.OPEN, why=why, proof=proof, expires=expires))
        self._shown = True

    def _shut(self, why: str, proof: Proof, words: str) -> None:
        known = self.proof is not None and self.proof.hardware == proof.hardware
        self.proof, self.opened, self._shown = proof, False, False
        if not known:
            self.site.bus.emit(WindowChanged(WindowState.CLOSED, why=why, proof=words))

    def _allowed(self) -> bool:
        """Whether the server's own interface may netboot, as last read."""
        hardware = self._held()
        return bool(hardware.interfaces[hardware.interface_for(self.mac)].allow_pxe)

    def _is_theirs(self, hardware: Hardware) -> bool:
        """Whether another run that lives holds it; the one that is taken up answers for nothing any more."""
        found = claims.claim_of(hardware)
        ours = (self.claim.run, self.claim.resumes)
        return found is not None and found.run not in ours and found.live(self.site.now())

    def _held(self) -> Hardware:
        if self.hardware is None:
            raise MetalfoundryError(f"{self._server.name} is not claimed", next="claim it first")
        return self.hardware

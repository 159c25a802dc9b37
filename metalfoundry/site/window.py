"""The netboot window of one server: claim, guard, open, close, release, as one context manager.

    with Window(site, server, run="...", reason="...") as window:    # claims
        window.arm("colo-server-01-ubuntu", None)                    # the guard, before anything can open it
        window.open()
        ...
        window.close("the installer runs")
        window.release()                                             # leaving does it otherwise

However the block is left, the window is closed, read back, and the claim given back; where that cannot be
confirmed, UnsafeError says so and names the command that closes it by hand.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from metalfoundry.commands import netboot, smee
from metalfoundry.commands.base import Effect
from metalfoundry.commands.kubectl import HARDWARE
from metalfoundry.commands.netboot import ClaimSeen
from metalfoundry.model.errors import MetalfoundryError, PreflightError, TransportError, UnsafeError
from metalfoundry.model.events import Notice, WindowChanged, WindowUnsafe
from metalfoundry.model.inventory import Server
from metalfoundry.model.program import ours
from metalfoundry.model.resources import Hardware
from metalfoundry.model.states import ClaimPhase, WindowState
from metalfoundry.site.claim import LEASE_SECONDS, WRITE_SECONDS, Claim
from metalfoundry.site.cluster import Cluster, Patched
from metalfoundry.site.guarding import Guarding
from metalfoundry.site.proof import Proof, smee_words, still_open
from metalfoundry.site.site import Site
from metalfoundry.transport.clock import Cancel, Deadline

CLOSE_SECONDS = 120.0
ATTEMPT_SECONDS = 30.0
AGAIN_SECONDS = 0.2


class Window:
    """One server's window under one run id. `proof` is the last proven close, `opened` whether it may be open now."""

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
        self.claim = Claim(site, server, run, reason, phase, lease)
        self.guard = Guarding(site, server, run)
        self.site = site.gated(self.claim)
        self._cluster = Cluster(self.site)
        self._server = server
        self.proof: Proof | None = None
        self.opened = False

    def __enter__(self) -> Window:
        self.claim.take(self.hardware)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end("the run ended" if error is None else "the run failed")

    @property
    def hardware(self) -> Hardware | None:
        """The object as last read."""
        return self.claim.hardware

    @property
    def at_risk(self) -> bool:
        """Whether netboot may be open for all we know: what opens it was begun, and no close was proven since."""
        return self.opened or (self.guard.armed and self.proof is None)

    @property
    def mac(self) -> str | None:
        """The MAC whose interface netboots: the inventory's, else the Hardware's."""
        if self._server.mac or self.hardware is None or not self.hardware.interfaces:
            return self._server.mac
        return self.hardware.interfaces[0].mac or None

    def arm(self, workflow: str, boot_action: str | None) -> None:
        """Set the guard that closes the window without us. Raises PreflightError when it is not seen alive, and
        ClaimedError when the reason is that our claim is gone: a guard without its claim ends.
        """
        try:
            self.guard.arm(workflow, boot_action, self.claim.lease)
        except TransportError:
            raise
        except PreflightError:
            deadline = Deadline.after(self.site.clock, WRITE_SECONDS)
            self.claim.refuse_lost(self._cluster.hardware(self._server.hardware, deadline).hardware)
            raise

    def beat(self) -> None:
        """Keep claim and guard alive; cheap when nothing is due. Raises ClaimedError when the claim is lost."""
        self.claim.beat(self.guard.extend(self.claim.lease))

    def open(self) -> None:
        """Allow netboot on the server's interface and read it back. Raises ClaimedError when the claim is lost."""
        if self.guard.shut:
            raise MetalfoundryError(
                f"the guard has shut the window of {self._server.name} already ({self.guard.shut})",
                where=f"jump host {self.site.jump.name}",
                next=f"{ours('status', '--server', self._server.name)}; then run again",
            )
        deadline = Deadline.after(self.site.clock, WRITE_SECONDS)
        self.opened = True
        for _ in range(3):
            operations = netboot.open_(self._held(), self.claim.run, self.mac, self.claim.entered(ClaimPhase.BOOT))
            seen = self._patch(operations, deadline, Effect.WRITE)
            if seen.hardware.interfaces[seen.hardware.interface_for(self.mac)].allow_pxe:
                expires = self.claim.note.expires if self.claim.note else ""
                self.site.bus.emit(WindowChanged(WindowState.OPEN, proof=smee_words(seen.smee), expires=expires))
                return
            self.claim.refuse_lost(seen.hardware)
        raise MetalfoundryError(
            f"netboot of {self._server.name} could not be opened: the patch is refused, without a reason",
            where=f"Hardware {self._server.hardware}",
            next=self.site.kubectl_hint("get", f"{HARDWARE}/{self._server.hardware}", "-o", "yaml"),
            evidence=seen.stderr,
        )

    def close(self, why: str) -> Proof:
        """Forbid netboot, read it back, ask Smee. Raises UnsafeError when that is not confirmed in two minutes.

        Under our claim, or under nobody's; another run's window is its own, and raises ClaimedError.
        """
        deadline = Deadline.after(self.site.clock, CLOSE_SECONDS)
        problem = "not tried"
        while True:
            try:
                hardware = self._held()
                seen = self._patch(self._closing(hardware), deadline.within(ATTEMPT_SECONDS), Effect.RESTORE)
                problem = still_open(seen)
                if not problem:
                    return self._proven(why, seen)
                if netboot.claim_of(seen.hardware) and not self.claim.ours(seen.hardware):
                    self.claim.refuse_lost(seen.hardware)
            except (MetalfoundryError, OSError) as error:
                if self.claim.lost is error:
                    raise
                problem = str(error)
            if deadline.expired():
                break
            self.site.clock.wait(AGAIN_SECONDS, Cancel())
        raise self.unsafe(problem)

    def shut(self, why: str) -> None:
        """Close it if it is `at_risk`. Raises as `close`."""
        if self.at_risk:
            self.close(why)

    def release(self, workflows: Sequence[str] = (), *, well: bool = False) -> None:
        """Give the claim back and remove finished `workflows`, with the window closed. Does nothing without a claim.

        `well` as in Claim.release.
        """
        if self.hardware is not None and self.hardware.open_interfaces():
            self.close("the run ended")
        self.claim.release(workflows, self.guard.disarm(), well)
        self.guard.disarmed()

    def end(self, why: str) -> None:
        """Leave the server safe: close whatever is open, then give the claim back. Safe to call twice.

        Raises UnsafeError when it is `at_risk` afterwards, another error when only the claim could not be given back.
        """
        if self.claim.note is None or self.claim.lost is not None:
            return
        try:
            self.close(why)
        except UnsafeError as error:
            if self.at_risk:
                raise
            raise MetalfoundryError(
                f"the claim on {self._server.name} could not be given back; it expires at {self.claim.note.expires}",
                where=error.where,
                next=ours("netboot.break", self._server.name, "--run", self.claim.run),
                evidence=error.what,
            ) from error
        self.release()

    def saw(self, hardware: Hardware) -> bool:
        """Take in the object as a watch shows it, unless we have read a newer one; say whether netboot is open."""
        if self.hardware is None or hardware.newer_than(self.hardware):
            self.claim.hardware = hardware
        self.opened = self.opened or bool(self._held().open_interfaces())
        return bool(self._held().open_interfaces())

    def adopt(self, hardware: Hardware, claim: ClaimSeen | None) -> None:
        """Take over what a claim under our run id, or nobody, has left on `hardware`, in order to end it."""
        self.claim.hardware = hardware
        self.claim.note = claim.note if claim else None

    def unsafe(self, problem: str) -> UnsafeError:
        """The error for a window that may be open, with the command that closes it by hand; it is told at once."""
        command = self.by_hand()
        self.site.bus.emit(WindowUnsafe(problem, command))
        return UnsafeError(
            f"netboot of {self._server.name} is not confirmed closed: {problem}",
            where=f"Hardware {self._server.hardware}, jump host {self.site.jump.name}",
            next=command,
            evidence="a guard on the jump host still holds it" if self.guard.armed else "",
        )

    def standing(self) -> str:
        """What is left on the server's Hardware, in words."""
        note = self.claim.note
        if self.claim.lost is not None:
            return self.claim.lost.what
        if note is not None:
            return f"the claim stays until {note.expires}"
        if self.proof is None:
            return "nothing was changed"
        return "netboot is closed, the guard disarmed, the claim given back"

    def by_hand(self) -> str:
        """The one command that closes this window without us."""
        index = self.hardware.interface_for(self.mac) if self.hardware and self.hardware.interfaces else 0
        patch = json.dumps([{"op": "add", "path": f"/spec/interfaces/{index}/netboot/allowPXE", "value": False}])
        words = [*self.site.kubectl.words, "patch", HARDWARE, self._server.hardware]
        words += ["-n", self.site.kubectl.namespace, "--type=json", "-p", patch]
        jump = self.site.jump
        login = f"{jump.user}@{jump.address}" if jump.user else jump.address
        port = f"-p {jump.port} " if jump.port and jump.port != 22 else ""
        return f"ssh {port}{login} {shlex.quote(shlex.join(words))}"

    def _closing(self, hardware: Hardware) -> list[dict[str, Any]]:
        """Nothing to say where nothing was opened and nothing is open: reading is proof enough."""
        if not self.opened and not hardware.open_interfaces():
            return []
        claim = netboot.claim_of(hardware)
        return netboot.close(hardware, claim.run if claim and claim.run == self.claim.run else None)

    def _proven(self, why: str, seen: Patched) -> Proof:
        now = netboot.stamp(self.site.clock.now().wall)
        proof = Proof(now, f"allowPXE false at resourceVersion {seen.hardware.resource_version}", seen.smee)
        if seen.smee is not None and smee.says_open(seen.smee) is None:
            unheard = "Smee did not answer; the Hardware alone proves that netboot is closed"
            self.site.bus.emit(Notice(unheard, "warning"))
        self.proof, self.opened = proof, False
        self.site.bus.emit(
            WindowChanged(WindowState.CLOSED, why=why, proof=f"{proof.hardware}; {smee_words(seen.smee)}")
        )
        return proof

    def _patch(self, operations: list[dict[str, Any]], deadline: Deadline, effect: Effect) -> Patched:
        seen = self._cluster.patch(self._server.hardware, operations, deadline, effect=effect, ask_smee_for=self.mac)
        self.claim.sighted(seen.hardware)
        return seen

    def _held(self) -> Hardware:
        if self.hardware is None:
            raise MetalfoundryError(f"{self._server.name} is not claimed", next="claim it first")
        return self.hardware

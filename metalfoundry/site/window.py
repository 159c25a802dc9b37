"""The netboot window of one server: claim, open, close, release, as one context manager.

    with Window(site, server, run="...", reason="...") as window:    # claims
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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from types import TracebackType
from typing import Any

from metalfoundry.commands import netboot, smee
from metalfoundry.commands.base import Effect
from metalfoundry.commands.kubectl import HARDWARE
from metalfoundry.commands.netboot import WindowNote
from metalfoundry.model.errors import ClaimedError, MetalfoundryError, UnsafeError
from metalfoundry.model.events import ClaimChanged, Notice, WindowChanged
from metalfoundry.model.inventory import Server
from metalfoundry.model.resources import FLUX_RECONCILE, Hardware
from metalfoundry.site.cluster import Cluster, Patched
from metalfoundry.site.site import Site
from metalfoundry.transport.clock import Deadline

WRITE_SECONDS = 60.0
CLOSE_SECONDS = 120.0
SMEE_LAG_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Proof:
    """Why the window counts as closed: what the Hardware said at which resourceVersion, and what Smee answered.

    `smee` is HTTP status by path (403 and 404 deny); None where Smee is not in the inventory. `at` is UTC, RFC 3339.
    """

    at: str
    hardware: str
    smee: Mapping[str, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """As it stands in the report."""
        return {"hardware": self.hardware, "smee": dict(self.smee) if self.smee is not None else None}


class Window:
    """One server's window under one run id. `hardware` is the object as last read; `proof` the last proven close."""

    def __init__(
        self,
        site: Site,
        server: Server,
        run: str,
        reason: str = "",
        phase: str = "provision",
        lease: float | None = None,
    ) -> None:
        """`lease`: seconds until the claim expires; all timeouts together where it is None."""
        self._site = site
        self._cluster = Cluster(site)
        self._server = server
        self._run = run
        self._reason = reason
        self._phase = phase
        self._lease = lease
        self.hardware: Hardware | None = None
        self.note: WindowNote | None = None
        self.proof: Proof | None = None
        self.opened = False

    def __enter__(self) -> Window:
        self.claim()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end("the run ended" if error is None else "the run failed")

    @property
    def mac(self) -> str | None:
        """The MAC whose interface netboots: the inventory's, else the Hardware's."""
        if self._server.mac or self.hardware is None or not self.hardware.interfaces:
            return self._server.mac
        return self.hardware.interfaces[0].mac

    def claim(self, hardware: Hardware | None = None) -> None:
        """Take the server for this run. Raises ClaimedError when a live run holds it; an expired one is taken over."""
        deadline = Deadline.after(self._site.clock, WRITE_SECONDS)
        self.hardware = hardware or self._cluster.hardware(self._server.hardware, deadline).hardware
        for _ in range(3):
            self.refuse_live_claim(self.hardware)
            previous = netboot.claim_of(self.hardware)
            self.note = self.new_note(self.hardware)
            operations = netboot.claim(self.hardware, self._run, self.note)
            self.hardware = self._cluster.patch(self._server.hardware, operations, deadline).hardware
            if self._ours(self.hardware):
                state = "taken over" if previous else "taken"
                self._site.bus.emit(ClaimChanged(state, previous.note.holder if previous else self._site.holder))
                return
        raise ClaimedError(
            f"the claim on {self._server.name} was refused three times though nobody holds it",
            where=f"Hardware {self._server.hardware}",
            next=f"kubectl auth can-i patch hardware -n {self._site.kubectl.namespace}",
        )

    def adopt(self, hardware: Hardware, claim: netboot.ClaimSeen | None) -> None:
        """Take over what a claim under our run id, or nobody, has left on `hardware`, in order to end it."""
        self.hardware = hardware
        self.note = claim.note if claim else None

    def open(self) -> None:
        """Allow netboot on the server's interface and read it back. Raises ClaimedError when the claim is lost."""
        hardware = self._held()
        deadline = Deadline.after(self._site.clock, WRITE_SECONDS)
        self.opened = True
        for _ in range(3):
            operations = netboot.open_(hardware, self._run, self.mac)
            seen = self._patch(operations, deadline, Effect.WRITE)
            hardware = seen.hardware
            if hardware.interfaces[hardware.interface_for(self.mac)].allow_pxe:
                expires = self.note.expires if self.note else ""
                self._site.bus.emit(WindowChanged("open", proof=_smee_words(seen.smee), expires=expires))
                return
            self._refuse_lost_claim(hardware)
        raise MetalfoundryError(
            f"netboot of {self._server.name} could not be opened: the patch is refused, without a reason",
            where=f"Hardware {self._server.hardware}",
            next=f"kubectl get hardware {self._server.hardware} -n {self._site.kubectl.namespace} -o yaml",
            evidence=seen.stderr,
        )

    def close(self, why: str) -> Proof:
        """Forbid netboot, read it back, ask Smee. Raises UnsafeError when that is not confirmed in two minutes."""
        return self._close(why)

    def release(self, workflows: Sequence[str] = ()) -> None:
        """Give the claim back and remove finished `workflows`, with the window closed. Does nothing without a claim."""
        if self.note is None:
            return
        if self.hardware is not None and self.hardware.open_interfaces():
            self._close("the run ended")
        deadline = Deadline.after(self._site.clock, WRITE_SECONDS)
        also = [self._site.kubectl.delete_workflow(name) for name in workflows]
        for _ in range(3):
            hardware = self._held()
            operations = netboot.release(hardware, self._run, self.note)
            seen = self._cluster.patch(
                self._server.hardware, operations, deadline, effect=Effect.RESTORE, also=also, ask_smee_for=self.mac
            )
            self.hardware = seen.hardware
            if not self._ours(seen.hardware):
                self.note = None
                self._site.bus.emit(ClaimChanged("given back", self._site.holder))
                return
        raise MetalfoundryError(
            f"the claim on {self._server.name} could not be given back",
            where=f"Hardware {self._server.hardware}",
            next=f"kubectl annotate hardware {self._server.hardware} -n {self._site.kubectl.namespace} "
            f"{netboot.RUN}- {netboot.WINDOW}-",
            evidence=seen.stderr,
        )

    def end(self, why: str) -> None:
        """Leave the server safe: close whatever is open, then give the claim back. Safe to call twice."""
        if self.note is None:
            return
        self._close(why)
        self.release()

    def saw(self, hardware: Hardware) -> bool:
        """Take in the object as a watch shows it, unless we have read a newer one; say whether netboot is open."""
        if self.hardware is None or _version(hardware) >= _version(self.hardware):
            self.hardware = hardware
        return bool(self.hardware.open_interfaces())

    def _close(self, why: str) -> Proof:
        deadline = Deadline.after(self._site.clock, CLOSE_SECONDS)
        problem = "not tried"
        while not deadline.expired():
            try:
                seen = self._patch(netboot.close(self._held(), self._run or None), deadline, Effect.RESTORE)
                problem = _still_open(seen)
                if not problem:
                    return self._proven(why, seen)
                if self._run and not self._ours(seen.hardware):
                    problem = "another run holds the claim now, and its window is open"
                    break
            except MetalfoundryError as error:
                problem = f"{error.what} {error.evidence}".strip()
            self._site.clock.wait(SMEE_LAG_SECONDS, type(self._site.cancel)())
        raise UnsafeError(
            f"netboot of {self._server.name} is not confirmed closed: {problem}",
            where=f"Hardware {self._server.hardware}, jump host {self._site.jump.name}",
            next=self.by_hand(),
        )

    def by_hand(self) -> str:
        """The one command that closes this window without us."""
        index = self.hardware.interface_for(self.mac) if self.hardware and self.hardware.interfaces else 0
        patch = json.dumps([{"op": "add", "path": f"/spec/interfaces/{index}/netboot/allowPXE", "value": False}])
        words = [*self._site.kubectl.words, "patch", HARDWARE, self._server.hardware]
        words += ["-n", self._site.kubectl.namespace, "--type=json", "-p", patch]
        jump = self._site.jump
        login = f"{jump.user}@{jump.address}" if jump.user else jump.address
        return f"ssh {login} {shlex.quote(shlex.join(words))}"

    def _proven(self, why: str, seen: Patched) -> Proof:
        now = netboot.stamp(self._site.clock.now().wall)
        proof = Proof(now, f"allowPXE false at resourceVersion {seen.hardware.resource_version}", seen.smee)
        if seen.smee is not None and smee.says_open(seen.smee) is None:
            self._site.bus.emit(
                Notice("Smee did not answer; the Hardware alone proves that netboot is closed", "warning")
            )
        self.proof, self.opened = proof, False
        self._site.bus.emit(WindowChanged("closed", why=why, proof=f"{proof.hardware}; {_smee_words(seen.smee)}"))
        return proof

    def _patch(self, operations: list[dict[str, Any]], deadline: Deadline, effect: Effect) -> Patched:
        seen = self._cluster.patch(self._server.hardware, operations, deadline, effect=effect, ask_smee_for=self.mac)
        self.hardware = seen.hardware
        return seen

    def _held(self) -> Hardware:
        if self.hardware is None:
            raise MetalfoundryError(f"{self._server.name} is not claimed", next="claim it first")
        return self.hardware

    def _ours(self, hardware: Hardware) -> bool:
        seen = netboot.claim_of(hardware)
        return seen is not None and seen.run == self._run

    def new_note(self, hardware: Hardware) -> WindowNote:
        """The note that a claim on `hardware`, taken now, would carry."""
        now = self._site.clock.now().wall
        before: dict[str, str | None] = {}
        if self._site.inventory.site.flux == "auto" and hardware.flux_managed:
            before[FLUX_RECONCILE] = hardware.annotations.get(FLUX_RECONCILE)
        inherited = netboot.claim_of(hardware)
        if inherited:  # a dead run's claim: what it changed is still changed
            before |= inherited.note.before
        limits = self._site.inventory.timeouts
        lease = self._lease or limits.netboot + limits.install + limits.boot + limits.verify
        return WindowNote(
            holder=self._site.holder,
            reason=self._reason,
            opened=netboot.stamp(now),
            expires=netboot.stamp(now + timedelta(seconds=lease)),
            phase=self._phase,
            before=before,
        )

    def refuse_live_claim(self, hardware: Hardware) -> None:
        """Raise ClaimedError, with holder, since, reason and expiry, when another live run holds the server."""
        seen = netboot.claim_of(hardware)
        if seen and seen.run != self._run and seen.live(self._site.clock.now().wall):
            raise claimed(self._server.name, seen)

    def _refuse_lost_claim(self, hardware: Hardware) -> None:
        seen = netboot.claim_of(hardware)
        if seen is None or seen.run != self._run:
            self.note = None
            self._site.bus.emit(ClaimChanged("lost", seen.note.holder if seen else "nobody"))
            raise ClaimedError(
                f"the claim on {self._server.name} was lost to {seen.run if seen else 'nobody: it was removed'}",
                where=f"Hardware {self._server.hardware}",
                next=f"fab status --server {self._server.name}",
            )


def claimed(server: str, seen: netboot.ClaimSeen) -> ClaimedError:
    """The refusal that shows who holds `server`, since when, why and until when."""
    note = replace(seen.note, reason=seen.note.reason or "no reason given")
    return ClaimedError(
        f"{server} is held by {note.holder or 'somebody'} since {note.opened or '?'} ({note.reason}), "
        f"until {note.expires or '?'}; run {seen.run}",
        where=f"annotation {netboot.RUN}",
        next=f"wait, or: fab netboot.break {server} --run {seen.run}",
    )


def _version(hardware: Hardware) -> int:
    """resourceVersion as a number: opaque by Kubernetes' word, but etcd's revision in every cluster there is."""
    text = hardware.resource_version
    return int(text) if text.isdigit() else 0


def _still_open(seen: Patched) -> str:
    if seen.hardware.open_interfaces():
        return f"allowPXE is still true at resourceVersion {seen.hardware.resource_version}"
    if seen.smee is not None and smee.says_open(seen.smee):
        return "the Hardware says closed, but Smee still serves the installer"
    return ""


def _smee_words(answers: Mapping[str, int] | None) -> str:
    if answers is None:
        return "Smee not asked"
    said = {True: "serves the installer", False: "denies", None: "was not heard"}[smee.says_open(answers)]
    return f"Smee {said} ({', '.join(str(status or 'no answer') for status in answers.values())})"

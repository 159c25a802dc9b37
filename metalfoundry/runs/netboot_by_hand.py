"""The window by hand: open, close, break a claim, look at the guard; and the one-time step that makes the block."""

from __future__ import annotations

from metalfoundry.commands import claims, guard, netboot
from metalfoundry.commands.command import Effect
from metalfoundry.commands.guard import GuardSeen, read_status
from metalfoundry.commands.kubectl import HARDWARE
from metalfoundry.commands.script import Outcome, Part, read_script, script
from metalfoundry.model.errors import ClaimedError, MetalfoundryError, PreflightError, TransportError, UnsafeError
from metalfoundry.model.events import ClaimChanged, Notice
from metalfoundry.model.inventory import Server
from metalfoundry.model.program import ours
from metalfoundry.model.resources import Hardware
from metalfoundry.model.states import ClaimState
from metalfoundry.runs.provision import run_id
from metalfoundry.site.cluster import Cluster
from metalfoundry.site.proof import Proof
from metalfoundry.site.refused import script_unrun
from metalfoundry.site.site import Site
from metalfoundry.site.window import Window
from metalfoundry.transport.clock import Deadline

LOOK_SECONDS = 30.0
HAS_CLAIMS = 7  # what guard.sh ends with


def open_netboot(site: Site, server: Server, reason: str, seconds: float) -> str:
    """Claim `server` and open its window for `seconds`; return the run id. Raises ClaimedError."""
    run = run_id(site.clock, server.name)
    here = site.on(site.bus.scoped(run=run, server=server.name))
    window = Window(here, server, run, reason or claims.BY_HAND, claims.BY_HAND, lease=seconds)
    try:
        window.claim.take(None, window.guard.ask)
        window.arm()
        window.open()
    except BaseException as error:
        try:
            window.end("it could not be opened")
        except KeyboardInterrupt:
            raise window.unsafe("left at a second interrupt") from error
        raise
    return run


def close_netboot(site: Site, server: Server) -> Proof:
    """Close the window of `server` and take away a claim that was made by hand or has expired. Raises UnsafeError,
    ClaimedError while a live run holds it.
    """
    here = site.on(site.bus.scoped(server=server.name))
    seen = look(here, server)
    claim = claims.claim_of(seen)
    window = Window(here, server, claim.run if claim else "", phase=claims.BY_HAND)
    if claim and claim.note.phase != claims.BY_HAND:
        Window(here, server, "").claim.refuse_live(seen)
    window.adopt(seen, claim)
    proof = window.close("by hand")
    try:
        window.release()
    except UnsafeError:
        raise
    except MetalfoundryError as error:  # what was asked for is done
        until = claim.note.expires if claim else ""
        here.bus.emit(Notice(f"{error}: netboot is closed; the claim may stay until {until}", "warning"))
    return proof


def look(site: Site, server: Server) -> Hardware:
    """The object, for who is to close its netboot: where it cannot be read, netboot is not confirmed closed, and that
    is an UnsafeError. Raises PreflightError when it does not exist.
    """
    try:
        return Cluster(site).hardware(server.hardware, Deadline.after(site.clock, LOOK_SECONDS)).hardware
    except TransportError as error:
        raise Window(site, server, "").unsafe(str(error)) from error


def break_claim(site: Site, server: Server, run: str, reason: str) -> Proof:
    """Close the window of a foreign claim and take the claim away; who and why stays on the Hardware.

    `run` must be the claim's run id: whoever breaks it has looked at it. Raises ClaimedError when it is not,
    PreflightError when nobody holds the server.
    """
    here = site.on(site.bus.scoped(server=server.name, run=run))
    seen = look(here, server)
    cluster, deadline = Cluster(here), Deadline.after(site.clock, 60.0)
    claim = claims.claim_of(seen)
    if claim is None:
        raise unheld(server)
    if claim.run != run:
        raise ClaimedError(
            f"{server.name} is held by {claim.run}",
            where=f"Hardware {server.hardware}",
            next=ours("netboot.break", server.name, "--run", claim.run),
        )
    window = Window(here, server, run)
    window.adopt(seen, claim)
    proof = window.close(f"the claim is broken: {reason or 'no reason given'}")
    held = window.hardware or seen
    # Its runner may be alive, and open it again this moment: closing and taking away are one patch.
    operations = netboot.break_(held, run, claim.note, site.holder, reason, site.now())
    after = cluster.patch(server.hardware, operations, deadline, effect=Effect.RESTORE)
    if claims.claim_of(after.hardware):
        raise ClaimedError(
            f"the claim on {server.name} could not be broken",
            where=f"Hardware {server.hardware}",
            next=ours("status", server.name),
        )
    here.bus.emit(ClaimChanged(ClaimState.BROKEN, claim.note.holder))
    return settle(site, server, run) or proof


def unheld(server: Server) -> PreflightError:
    """The error where there is no claim to follow, to cancel or to break."""
    where = f"Hardware {server.hardware}"
    return PreflightError(f"no run holds {server.name}", where=where, next=ours("status", server.name))


def settle(site: Site, server: Server, run: str) -> Proof | None:
    """After the end of `run`: what has been opened since is closed.

    None where netboot is closed, or somebody else's by now. Raises UnsafeError.
    """
    here = site.on(site.bus.scoped(server=server.name, run=run))
    deadline = Deadline.after(site.clock, 60.0)
    seen = Cluster(here).patch(server.hardware, [], deadline, effect=Effect.RESTORE).hardware
    if claims.claim_of(seen) is not None or not seen.open_interfaces():
        return None
    window = Window(here, server, run)
    window.adopt(seen, None)
    return window.close("opened by somebody else meanwhile")


def guard_status(site: Site) -> GuardSeen:
    """The guard on the jump host."""
    return read_status(_said(site, guard.status(site.kubectl), Effect.READ).stdout)


def guard_log(site: Site) -> str:
    """The last lines of its log; "" where there is none."""
    return _said(site, guard.log(site.kubectl), Effect.READ).stdout


def stop_guard(site: Site, force: bool) -> None:
    """End it; with claims only by `force`, which closes their windows. Raises PreflightError when it stays."""
    outcome = _said(site, guard.stop(site.kubectl, force), Effect.WRITE)
    if not outcome.ok:
        step = ours("guard.status")
        if outcome.exit_status == HAS_CLAIMS:
            step = f"wait for its runs ({ours('status')}), or close their windows: {ours('guard.stop', '--force')}"
        raise PreflightError(f"the guard stays: {outcome.stderr}", where=site.jump.name, next=step)


def _said(site: Site, part: Part, effect: Effect) -> Outcome:
    result = site.transport.run(site.jump, script([part], effect=effect), Deadline.after(site.clock, 30.0))
    outcome = read_script(result.stdout).get(part.name)
    if outcome is None:
        raise script_unrun(site, result)
    return outcome


def init(site: Site, server: Server) -> bool:
    """Make a closed `netboot` block on every interface that has none; say whether there was one to make."""
    cluster = Cluster(site.on(site.bus.scoped(server=server.name)))
    deadline = Deadline.after(site.clock, 30.0)
    operations = netboot.init(cluster.hardware(server.hardware, deadline).hardware)
    if operations:
        seen = cluster.patch(server.hardware, operations, deadline)
        if netboot.init(seen.hardware):
            raise PreflightError(
                f"the netboot block of {server.hardware} could not be made",
                where=f"namespace {site.kubectl.namespace}",
                next=site.kubectl_hint("auth", "can-i", "patch", HARDWARE),
                evidence=seen.stderr,
            )
    return bool(operations)

"""The window by hand: open, close, and the one-time step that makes the netboot block."""

from __future__ import annotations

from metalfoundry.commands import netboot
from metalfoundry.model.errors import PreflightError
from metalfoundry.model.inventory import Server
from metalfoundry.runs.provision import run_id
from metalfoundry.site.cluster import Cluster
from metalfoundry.site.proof import Proof
from metalfoundry.site.site import Site
from metalfoundry.site.window import Window
from metalfoundry.transport.clock import Deadline

BY_HAND = "by hand"


def open_netboot(site: Site, server: Server, reason: str, seconds: float) -> str:
    """Claim `server` and open its window for `seconds`; return the run id. Raises ClaimedError."""
    run = run_id(site.clock, server.name)
    here = site.on(site.bus.scoped(run=run, server=server.name))
    window = Window(here, server, run, reason or BY_HAND, BY_HAND, lease=seconds)
    try:
        window.claim.take(None)
        window.arm("", None)
        window.open()
    except BaseException:
        window.end("it could not be opened")
        raise
    return run


def close_netboot(site: Site, server: Server) -> Proof:
    """Close the window of `server` and take away a claim that was made by hand or has expired."""
    here = site.on(site.bus.scoped(server=server.name))
    seen = Cluster(here).hardware(server.hardware, Deadline.after(site.clock, 30.0)).hardware
    claim = netboot.claim_of(seen)
    window = Window(here, server, claim.run if claim else "", phase=BY_HAND)
    if claim and claim.note.phase != BY_HAND:
        Window(here, server, "").claim.refuse_live(seen)
    window.adopt(seen, claim)
    proof = window.close("by hand")
    window.release()
    return proof


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
                next=f"kubectl auth can-i patch hardware -n {site.kubectl.namespace}",
                evidence=seen.stderr,
            )
    return bool(operations)

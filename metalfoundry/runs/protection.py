"""The protection of a server: set, and taken away."""

from __future__ import annotations

from metalfoundry.commands.claims import claim_of
from metalfoundry.commands.protection import protect
from metalfoundry.model.errors import PreflightError
from metalfoundry.model.inventory import Server
from metalfoundry.site.cluster import Cluster
from metalfoundry.site.held import claimed
from metalfoundry.site.site import Site
from metalfoundry.transport.clock import Deadline

WRITE_SECONDS = 60.0
TRIES = 3


def set_protection(site: Site, server: Server, reason: str | None) -> bool:
    """Protect one server for `reason`, or (None) no longer; say whether anything was to do.

    Raises ClaimedError while a run holds it, PreflightError where it cannot be written.
    """
    here = site.on(site.bus.scoped(server=server.name))
    cluster, deadline = Cluster(here), Deadline.after(site.clock, WRITE_SECONDS)
    seen = cluster.hardware(server.hardware, deadline).hardware
    tries, stderr = 0, ""
    while operations := protect(seen, reason):
        claim = claim_of(seen)
        if claim is not None and claim.live(site.clock.now().wall):
            raise claimed(server.name, claim, claim.note.holder == site.holder)
        if tries == TRIES:
            raise PreflightError(
                f"the protection of {server.name} could not be changed",
                where=f"Hardware {server.hardware}",
                next="look who changes it at the same time, then run it again",
                evidence=stderr,
            )
        patched = cluster.patch(server.hardware, operations, deadline)
        tries, seen, stderr = tries + 1, patched.hardware, patched.stderr
    return tries > 0

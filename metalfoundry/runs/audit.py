"""Every open window of the site, and whose it is, and every pause of Flux that nobody took back: one request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from metalfoundry.commands import claims, netboot
from metalfoundry.commands.command import Effect
from metalfoundry.model.errors import UnsafeError
from metalfoundry.model.foreign import parse_time
from metalfoundry.model.inventory import Server
from metalfoundry.model.resources import Hardware
from metalfoundry.site.cluster import Cluster
from metalfoundry.site.site import Site
from metalfoundry.site.window import Window
from metalfoundry.transport.clock import Deadline

LIVE, EXPIRED, STRAY, PAUSED = "live", "expired", "stray", "paused"


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """One Hardware whose next boot installs it. `kind`: live (a run holds it), expired, or stray (nobody's). Or one
    that is closed, and on which a claim that is gone has left Flux paused: paused.

    `age` in seconds since the claim, None where there is none; `guard` has acknowledged the claim, "" where none has.
    """

    hardware: str
    server: str
    kind: str
    holder: str
    run: str
    until: str
    reason: str
    age: float | None
    guard: str

    @property
    def trap(self) -> bool:
        """Whether nobody will close it in time."""
        return self.kind in (EXPIRED, STRAY)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able object."""
        return {name: getattr(self, name) for name in self.__slots__} | {"trap": self.trap}


def audit(site: Site, close: bool = False) -> list[OpenWindow]:
    """All open windows; with `close`, traps are closed first and pauses taken back, and those that stay remain.

    Raises UnsafeError when a trap could not be closed.
    """
    windows, hardware = _look(site)
    if not close:
        return windows
    failed: list[UnsafeError] = []
    for window in windows:
        if window.kind == PAUSED:
            _unpause(site, hardware[window.hardware])
        elif window.trap:
            try:
                _close(site, hardware[window.hardware], window)
            except UnsafeError as error:
                failed.append(error)
    if failed:
        raise failed[0]
    return [window for window in windows if not window.trap and window.kind != PAUSED]


def _look(site: Site) -> tuple[list[OpenWindow], dict[str, Hardware]]:
    found = Cluster(site).all_hardware(Deadline.after(site.clock, 30.0))
    now = site.now()
    names = {server.hardware: server.name for server in site.inventory.servers.values()}
    shown = [one for one in found if one.open_interfaces() or claims.left_paused(one)]
    return [_window(one, names.get(one.name, ""), now) for one in shown], {one.name: one for one in found}


def _window(hardware: Hardware, server: str, now: datetime) -> OpenWindow:
    claim, word = claims.claim_of(hardware), claims.acknowledgement(hardware)
    if claim is None:
        kind = STRAY if hardware.open_interfaces() else PAUSED
        return OpenWindow(hardware.name, server, kind, "", "", "", "", None, "")
    since = parse_time(claim.note.opened)
    return OpenWindow(
        hardware=hardware.name,
        server=server,
        kind=LIVE if claim.live(now) else EXPIRED,
        holder=claim.note.holder,
        run=claim.run,
        until=claim.note.expires,
        reason=claim.note.reason,
        age=(now - since).total_seconds() if since else None,
        guard=word.guard if word else "",
    )


def _unpause(site: Site, hardware: Hardware) -> None:
    deadline = Deadline.after(site.clock, 30.0)
    Cluster(site).patch(hardware.name, netboot.unpause(hardware), deadline, effect=Effect.RESTORE)


def _close(site: Site, hardware: Hardware, window: OpenWindow) -> None:
    server = Server(name=window.server or window.hardware, hardware=window.hardware)
    here = site.on(site.bus.scoped(server=server.name, run=window.run))
    claim = claims.claim_of(hardware)
    one = Window(here, server, claim.run if claim else "")
    one.adopt(hardware, claim)
    one.close(f"audit: {window.kind}")
    one.release()

"""Every open window of the site, and whose it is: one request for the whole fleet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from metalfoundry.commands import netboot
from metalfoundry.commands.guard import GuardSeen
from metalfoundry.model.errors import UnsafeError
from metalfoundry.model.foreign import parse_time
from metalfoundry.model.inventory import Server
from metalfoundry.model.resources import Hardware
from metalfoundry.site.cluster import Cluster
from metalfoundry.site.site import Site
from metalfoundry.site.window import Window
from metalfoundry.transport.clock import Deadline

LIVE, EXPIRED, STRAY = "live", "expired", "stray"


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """One Hardware whose next boot installs it. `kind`: live (a run holds it), expired, or stray (nobody's).

    `age` in seconds since the claim, None for a stray one; `guard` is the guard's state, "" where there is none.
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
        return self.kind != LIVE

    def to_json(self) -> dict[str, Any]:
        """A JSON-able object."""
        return {name: getattr(self, name) for name in self.__slots__} | {"trap": self.trap}


def audit(site: Site, close: bool = False) -> list[OpenWindow]:
    """All open windows; with `close`, traps are closed first and those that stay open remain in the list.

    Raises UnsafeError when a trap could not be closed.
    """
    windows, hardware = _look(site)
    if not close:
        return windows
    failed: list[UnsafeError] = []
    for window in windows:
        if window.trap:
            try:
                _close(site, hardware[window.hardware], window)
            except UnsafeError as error:
                failed.append(error)
    if failed:
        raise failed[0]
    return [window for window in windows if not window.trap]


def _look(site: Site) -> tuple[list[OpenWindow], dict[str, Hardware]]:
    found, guards = Cluster(site).all_hardware(Deadline.after(site.clock, 30.0))
    now = site.clock.now().wall
    names = {server.hardware: server.name for server in site.inventory.servers.values()}
    opened = [_window(one, names.get(one.name, ""), guards, now) for one in found if one.open_interfaces()]
    return opened, {one.name: one for one in found}


def _window(hardware: Hardware, server: str, guards: Sequence[GuardSeen], now: datetime) -> OpenWindow:
    claim = netboot.claim_of(hardware)
    if claim is None:
        return OpenWindow(hardware.name, server, STRAY, "", "", "", "", None, "")
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
        guard=next((guard.state for guard in guards if guard.run == claim.run), ""),
    )


def _close(site: Site, hardware: Hardware, window: OpenWindow) -> None:
    server = Server(name=window.server or window.hardware, hardware=window.hardware)
    here = site.on(site.bus.scoped(server=server.name, run=window.run))
    claim = netboot.claim_of(hardware)
    one = Window(here, server, claim.run if claim else "")
    one.adopt(hardware, claim)
    one.close(f"audit: {window.kind}")
    one.release()

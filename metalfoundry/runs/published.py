"""What the Hardware tells everybody of a server: the runs that were, and the host keys of what was installed."""

from __future__ import annotations

from collections.abc import Sequence

from metalfoundry.commands.history import HistoryEntry, past_runs
from metalfoundry.model.host_keys import read_key
from metalfoundry.model.inventory import Server
from metalfoundry.site.cluster import Cluster
from metalfoundry.site.machine import Machine
from metalfoundry.site.site import Site
from metalfoundry.transport.clock import Deadline

READ_SECONDS = 30.0


def history(site: Site, server: Server) -> list[HistoryEntry]:
    """The last runs on `server`, whoever led them, the last one first. Raises PreflightError, TransportError."""
    deadline = Deadline.after(site.clock, READ_SECONDS)
    return list(past_runs(Cluster(site).hardware(server.hardware, deadline).hardware))


def known_hosts(site: Site, servers: Sequence[Server]) -> dict[str, list[str]]:
    """For each server by its name the lines that OpenSSH's known_hosts wants, of a key that is pinned whole, else of
    those that are published; none where there are none. Raises PreflightError, TransportError.
    """
    from metalfoundry.transport.ssh_config import known_as  # here: it brings paramiko, which takes its time

    read = Cluster(site).all_hardware(Deadline.after(site.clock, READ_SECONDS))
    hardware = {one.name: one for one in read}
    lines: dict[str, list[str]] = {}
    for server in servers:
        machine = Machine.of(site, server, hardware.get(server.hardware))
        host = machine.host if machine.address or server.address else None
        pinned = read_key(host.pinned) if host else None
        keys = (pinned,) if pinned else host.published if host and not host.pinned else ()
        lines[server.name] = [f"{known_as(host)} {key.type} {key.base64}" for key in keys] if host else []
    return lines

"""The whole chain from this computer to each server's disk, looked at before anything is begun; nothing is written.

The site is read in one exec, netboot's windows in another, each machine in two of its own, all side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from metalfoundry.commands.boot_order import BOOT_ORDER
from metalfoundry.diagnosis.check import Check
from metalfoundry.model.errors import MetalfoundryError, TransportError
from metalfoundry.model.inventory import Server
from metalfoundry.runs import audit
from metalfoundry.runs.doctor_server import MachineLook, check_server
from metalfoundry.runs.doctor_site import check_site
from metalfoundry.site.machine import Machine
from metalfoundry.site.site import Site
from metalfoundry.site.snapshot import examine_site
from metalfoundry.site.survey import Survey
from metalfoundry.transport.clock import Deadline

SITE_SECONDS = 15.0
MACHINE_SECONDS = 10.0
MACHINES_AT_ONCE = 8


def doctor(site: Site, servers: Sequence[Server]) -> list[Check]:
    """Every check of the site, then of each server, whatever fails."""
    names = [server.hardware for server in servers]
    windows = site.background(lambda: audit.audit(site))
    looking = site.background(lambda: examine_site(site, names, Deadline.after(site.clock, SITE_SECONDS)))
    checks, seen = check_site(site, servers, looking, windows)
    looks = _machines(site, seen.survey if seen else None, servers)
    for server in servers:
        checks += check_server(site, server, seen, looks[server.name])
    return checks


def _machines(site: Site, survey: Survey | None, servers: Sequence[Server]) -> dict[str, MachineLook]:
    """What each machine says; of those without an address, and behind a jump host that is not reached, nothing."""
    if survey is None:
        return {server.name: MachineLook(why="the jump host was not reached") for server in servers}
    with ThreadPoolExecutor(MACHINES_AT_ONCE, thread_name_prefix="probe") as pool:
        looks = pool.map(lambda server: _look(site, survey, server), servers)
        return dict(zip((server.name for server in servers), looks, strict=True))


def _look(site: Site, survey: Survey, server: Server) -> MachineLook:
    hardware = survey.hardware.get(server.hardware)
    here = site.on(site.bus.scoped(server=server.name))
    machine = Machine.of(here, server, hardware)
    deadline = Deadline.after(site.clock, MACHINE_SECONDS)
    try:
        facts = machine.facts(deadline)
    except MetalfoundryError as error:
        return MachineLook(error=error)
    at = site.clock.now().wall
    try:
        order = here.transport.run(machine.host, BOOT_ORDER, deadline)
    except TransportError:
        return MachineLook(facts, at=at)
    return MachineLook(facts, order, at)

"""Which servers are meant by names, patterns, labels, or a record of what failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from fnmatch import filter as matching

from metalfoundry.model.errors import PreflightError, UsageError
from metalfoundry.model.inventory import Server
from metalfoundry.model.names import is_object_name
from metalfoundry.model.resources import Hardware
from metalfoundry.records.run_store import find, home
from metalfoundry.site.cluster import Cluster
from metalfoundry.site.protection import refuse_protected
from metalfoundry.site.site import Site
from metalfoundry.transport.clock import Deadline

READ_SECONDS = 60.0


def everyone(site: Site) -> Mapping[str, Server]:
    """All that may be named; the cluster is read where the inventory leaves that to the namespace. Raises
    PreflightError, TransportError.
    """
    if site.inventory.rest is None:
        return site.inventory.servers
    hardware = Cluster(site).all_hardware(Deadline.after(site.clock, READ_SECONDS))
    return site.inventory.everyone(one.name for one in hardware)


def named(
    site: Site, names: str | None, but: str | None, wanted: Mapping[str, str] | None, unfinished: str | None
) -> list[Server]:
    """The servers that Foundry.servers is asked for; it says what each part means, and what is raised."""
    for what, given in (("names", names), ("but", but), ("labels", wanted), ("unfinished", unfinished)):
        if given is not None and not (given.strip(", ") if isinstance(given, str) else given):
            raise UsageError(f"{what} is empty", next="give a value, or None for what is not meant")
    names = "all" if names is None else names
    left_out = _by_name(site, but or "")
    chosen = [server for name, server in _by_name(site, names).items() if name not in left_out]
    if unfinished:
        failed = find(home(), unfinished).unfinished
        chosen = [server for server in chosen if server.name in failed]
    if wanted and chosen:
        chosen = [server for server, known in _all_labels(site, chosen) if wanted.items() <= known.items()]
    if not chosen:
        asked = [f"{key}={value}" for key, value in (wanted or {}).items()]
        words = " of ".join(filter(None, (repr(names), " ".join(asked), unfinished)))
        raise UsageError(f"no server is left of {words}", next=f"there are: {', '.join(everyone(site)) or 'none'}")
    return chosen


def labels(site: Site, servers: Iterable[Server], label: str) -> dict[str, str]:
    """The value of `label` on each server's Hardware, by the server's name; "" where there is none. Raises
    PreflightError.
    """
    return {server.name: known.get(label, "") for server, known in _all_labels(site, servers)}


def refuse_any_protected(site: Site, servers: Iterable[Server]) -> None:
    """Raise Declined where one of these must not be installed. Where nobody can tell, each run finds out for itself."""
    with suppress(PreflightError):
        hardware = _hardware(site)
        refuse_protected({one.name: hardware[one.hardware] for one in servers if one.hardware in hardware})


def _by_name(site: Site, names: str) -> dict[str, Server]:
    words = [word for word in map(str.strip, names.split(",")) if word]
    some = any(word == "all" or not is_object_name(word.lower()) for word in words)
    known = everyone(site) if some else site.inventory.servers
    found: dict[str, Server] = {}
    for word in words:
        fitting = matching(known, "*" if word == "all" else word)
        found |= {name: known[name] for name in fitting} or {word: site.inventory.server(word)}
    return found


def _all_labels(site: Site, servers: Iterable[Server]) -> list[tuple[Server, Mapping[str, str]]]:
    """Each server with its Hardware's labels; none where there is no Hardware."""
    hardware = _hardware(site)
    return [(one, hardware[one.hardware].labels if one.hardware in hardware else {}) for one in servers]


def _hardware(site: Site) -> Mapping[str, Hardware]:
    """By its name, as the survey that a fleet shares has it."""
    return Cluster(site).survey(Deadline.after(site.clock, READ_SECONDS)).hardware

"""A first inventory of a site, made of what stands there. Nothing is invented; nothing is written in the cluster."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from metalfoundry.commands import discover
from metalfoundry.commands.command import Command
from metalfoundry.commands.script import read_script
from metalfoundry.model.errors import (
    HostKeyError,
    InventoryError,
    MetalfoundryError,
    PreflightError,
    TransportError,
    UsageError,
)
from metalfoundry.model.hosts import Host
from metalfoundry.model.inventory import Inventory, Server, ServerKeys
from metalfoundry.model.inventory_reader import jump_words, of
from metalfoundry.model.program import ours
from metalfoundry.model.site_config import LOCAL
from metalfoundry.runs.inventory_text import SiteSeen
from metalfoundry.site.refused import refused, script_unrun
from metalfoundry.site.site import Site
from metalfoundry.site.snapshot import ClusterSnapshot
from metalfoundry.site.survey import Survey
from metalfoundry.transport.base import Result
from metalfoundry.transport.clock import Deadline

READ_SECONDS = 60.0
LOGIN_SECONDS = 10.0
MOST_HOPS = 5
AT_ONCE = 8
NOTHING = Command(("true",))


@dataclass(frozen=True, slots=True)
class UnknownKey:
    """The key that a host shows and known_hosts does not have. `name`: how known_hosts calls it."""

    host: str
    name: str
    type: str
    fingerprint: str


TakeKeys = Callable[[Sequence[UnknownKey]], None]
"""Asked whether these keys may be taken; raises Declined where they may not."""


def place(jump: str, smee: str, defaults: Mapping[str, str]) -> tuple[Inventory, ServerKeys]:
    """An inventory of nothing but the jump host, or `local`, and what `defaults` say of every server.

    Raises InventoryError, whose faults name the options in which they stand.
    """
    both = {key: defaults[key] for key in ("identity", "known_hosts") if key in defaults}
    way = LOCAL if jump.strip() == LOCAL else jump_words(jump) | both
    site = {"jump": way, **({"smee": smee} if smee else {})}
    try:
        known = of({"site": site, "defaults": dict(defaults), "servers": {"any": {}}})
    except InventoryError as error:
        faults = tuple(dict.fromkeys(_as_option(fault, defaults) for fault in error.faults))
        what = f"{'one option does' if len(faults) == 1 else 'some options do'} not fit"
        raise InventoryError(what, next=ours("--help", "inventory.new"), faults=faults) from None
    keys = ServerKeys(**{key: getattr(known.server("any"), key) for key in defaults})
    return known.model_copy(update={"servers": {}}), keys


def _as_option(fault: str, given: Mapping[str, str]) -> str:
    """A fault of the inventory that is never written, as one of the option that it comes from: one of `given`'s keys,
    which are the jump host's, too, or --jump or --smee."""
    place, _, what = fault.partition(": ")
    key = place.rpartition(".")[2]
    if place.startswith("site.jump.") and key not in given:
        return f"--jump: {key}: {what}"
    return f"--{key.replace('_', '-')}: {what}"


def explore(site: Site, keys: ServerKeys, take: TakeKeys, namespace: str, kubectl: Sequence[str]) -> SiteSeen:
    """Look at the site behind a jump host, of whose inventory only `site.jump` (and perhaps `site.smee`) is known.

    `keys` are for every server; `kubectl` and `namespace` () and "" where they are to be found out. Raises Declined
    where a host's key is not taken, PreflightError, UsageError where several namespaces have Hardware.
    """
    deadline = Deadline.after(site.clock, READ_SECONDS)
    way = discover.read_way(_reach(site, site.jump, discover.way(kubectl, namespace), take, deadline).stdout)
    if not way.kubectl:
        raise PreflightError(
            "no kubectl on the jump host reaches an API server",
            where=site.jump.name,
            next="say how it is called there: --kubectl 'sudo k3s kubectl'",
            evidence="\n".join(way.why),
        )
    if not way.namespaces:
        raise PreflightError(
            "there is no Hardware to be seen in any namespace",
            where=site.jump.name,
            next=f"name Tinkerbell's namespace with --namespace; may this user look? {ours('rbac.print')}",
        )
    if len(way.namespaces) > 1:
        listed = ", ".join(f"{name} ({count})" for name, count in way.namespaces.items())
        raise UsageError(f"several namespaces have Hardware: {listed}", next="choose one with --namespace")
    place = site.inventory.site.model_copy(update={"kubectl": way.kubectl, "namespace": next(iter(way.namespaces))})
    here = replace(site, inventory=site.inventory.model_copy(update={"site": place}))
    survey, services = _objects(here, deadline)
    if not survey.hardware:
        raise PreflightError(
            f"namespace {place.namespace} has no Hardware",
            where=site.jump.name,
            next=f"find its namespace there: {shlex.join((*way.kubectl, 'get', 'hardware', '-A'))}",
        )
    smee = place.smee or _smee(here, survey, services, deadline)
    return SiteSeen(here.inventory.site, keys, survey, smee, services, _logins(here, survey, keys, take))


def _objects(site: Site, deadline: Deadline) -> tuple[Survey, tuple[str, ...]]:
    """What stands in the namespace, and where Smee may listen."""
    result = site.transport.run(site.jump, discover.objects(site.kubectl), deadline)
    outcomes = read_script(result.stdout)
    if "objects" not in outcomes:
        raise script_unrun(site, result)
    if not outcomes["objects"].ok:
        raise refused(site, outcomes["objects"])
    seen = ClusterSnapshot(outcomes, site.clock.now().wall)
    return seen.survey, tuple(discover.smee_addresses(seen.items("services")))


def _smee(site: Site, survey: Survey, urls: Sequence[str], deadline: Deadline) -> str | None:
    mac = next((hardware.macs[0] for hardware in survey.hardware.values() if hardware.macs), "")
    if not urls or not mac:
        return None
    result = site.transport.run(site.jump, discover.ask_smee(urls, mac), deadline)
    return discover.answering(urls, read_script(result.stdout)) or None


def _reach(site: Site, host: Host, command: Command, take: TakeKeys, deadline: Deadline) -> Result:
    """Run `command` on a host whose key, and those of the hosts before it, may have to be taken first."""
    for _ in range(MOST_HOPS):
        try:
            return site.transport.run(host, command, deadline)
        except HostKeyError as error:
            if error.unknown is None:
                raise
            _take(take, [(host, error)])
    return site.transport.run(host, command, deadline)


def _take(take: TakeKeys, strangers: Sequence[tuple[Host, HostKeyError]]) -> None:
    from metalfoundry.transport.ssh_config import add_key  # here: it brings paramiko, which takes its time

    shown = [(host, *error.unknown) for host, error in strangers if error.unknown is not None]
    take([UnknownKey(host.name, name, key.type, key.fingerprint) for host, name, key in shown])
    for host, name, key in shown:
        try:
            add_key(host, name, key)
        except OSError as problem:
            raise PreflightError(
                f"the host key of {host.name} could not be written: {problem.strerror}",
                where=host.known_hosts or "~/.ssh/known_hosts",
                next=f"add this line to it: {name} {key.type} {key.base64}",
            ) from problem


def _logins(site: Site, survey: Survey, keys: ServerKeys, take: TakeKeys) -> dict[str, str]:
    """Why a server cannot be logged in to, "" where it can; the keys of all that are unknown are taken in one go."""
    hosts: dict[str, Host] = {}
    for name, hardware in survey.hardware.items():
        if hardware.address:
            server = Server(**{"hardware": name} | keys.given(), name=name)
            hosts[name] = server.host(site.inventory.site, hardware.address)
    errors = _knocked(site, hosts)
    strangers = [(hosts[name], error) for name, error in errors.items() if isinstance(error, HostKeyError)]
    strangers = [(host, error) for host, error in strangers if error.unknown is not None]
    if strangers:
        _take(take, strangers)
        errors |= _knocked(site, {host.name: host for host, _ in strangers})
    return {name: error.what if error else "" for name, error in errors.items()}


def _knocked(site: Site, hosts: dict[str, Host]) -> dict[str, MetalfoundryError | None]:
    def knock(host: Host) -> MetalfoundryError | None:
        try:
            site.transport.run(host, NOTHING, Deadline.after(site.clock, LOGIN_SECONDS))
        except TransportError as error:
            return error
        return None

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="probe") as pool:
        return dict(zip(hosts, pool.map(knock, hosts.values()), strict=True))

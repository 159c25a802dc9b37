"""What the operator declares: the site, its servers, and how long things may take. See docs/inventory.md."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from metalfoundry.model.errors import InventoryError, PreflightError
from metalfoundry.model.hosts import Host, HostKeyPolicy

if TYPE_CHECKING:
    from metalfoundry.model.inventory_schema import InventoryKeys, JumpKeys, ServerKeys, SiteKeys

MINIMAL = """\
site:
  jump: {host: 170.9.8.103, user: ubuntu}
  namespace: tink-system
servers:
  colo-server-01: {workflow: workflows.yaml}
"""


@dataclass(frozen=True, slots=True)
class Sweeper:
    """The CronJob that `fab netboot.sweeper --install` makes: its image and cron schedule."""

    image: str = "alpine/k8s:1.33.4"
    schedule: str = "* * * * *"


@dataclass(frozen=True, slots=True)
class Site:
    """The place: its jump host, and what is spoken to from there.

    `smee` is None where Smee cannot be asked; it never ends in a slash. `flux` "auto" pauses Flux for one object.
    """

    name: str
    jump: Host
    kubectl: tuple[str, ...] = ("kubectl",)
    namespace: str = "tink-system"
    smee: str | None = None
    flux: Literal["auto", "off"] = "auto"
    sweeper: Sweeper = Sweeper()


@dataclass(frozen=True, slots=True)
class Verify:
    """What the new system must show; None and empty are not looked at. `user` None means the server's user."""

    user: str | None = None
    os: str | None = None
    hostname: str | None = None
    marker: str | None = None
    cloud_init: bool = False
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds each stage may take."""

    netboot: float = 600.0
    install: float = 1800.0
    boot: float = 600.0
    verify: float = 300.0
    facts: float = 30.0


@dataclass(frozen=True, slots=True)
class Hooks:
    """The operator's own commands by the turn of a run at which they run; `timeout` in seconds, for each."""

    before: str | None = None
    opened: str | None = None
    installed: str | None = None
    verified: str | None = None
    failed: str | None = None
    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """One server as declared. None means: as the Hardware object says (`address`, `mac`), or as ssh_config says
    (`port`, `identity`, `known_hosts`). `mac` is in lower case; paths are absolute. At most one of `workflow` and
    `template` is set; where neither is, the command line has to say.
    """

    name: str
    hardware: str
    address: str | None = None
    user: str = "root"
    port: int | None = None
    via: Literal["jump", "direct"] = "jump"
    identity: str | None = None
    host_key: HostKeyPolicy = HostKeyPolicy.YES
    known_hosts: str | None = None
    mac: str | None = None
    workflow: Path | None = None
    template: str | None = None
    hardware_map: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    verify: Verify = Verify()
    netboot_until: Literal["running", "end"] = "running"

    def host(self, site: Site, address: str | None = None) -> Host:
        """The server as it runs now. `address` is the Hardware's, used where the inventory gives none; raises
        PreflightError where there is neither.
        """
        found = self.address or address
        if not found:
            raise PreflightError(
                "no address is known",
                where=f"server {self.name}, Hardware {self.hardware}",
                next=f"give servers.{self.name}.address in the inventory, or interfaces[0].dhcp.ip in the Hardware",
            )
        return Host(
            name=self.name,
            address=found,
            user=self.user,
            port=self.port,
            identity=self.identity,
            host_key=self.host_key,
            known_hosts=self.known_hosts,
            via=site.jump if self.via == "jump" else None,
        )

    def new_host(self, site: Site, address: str | None = None) -> Host:
        """The new system, whose key nobody can know yet: `host` with verify's user, and its key learned."""
        user = self.verify.user or self.user
        return replace(self.host(site, address), user=user, host_key=HostKeyPolicy.LEARN)


@dataclass(frozen=True, slots=True)
class Inventory:
    """A checked inventory; `servers` in the file's order, `path` absolute."""

    site: Site
    servers: Mapping[str, Server] = field(hash=False)
    timeouts: Timeouts
    path: Path
    hooks: Hooks = Hooks()

    def server(self, name: str) -> Server:
        """The server of this name; raises InventoryError that names the nearest one and lists all."""
        if name in self.servers:
            return self.servers[name]
        near = difflib.get_close_matches(name, self.servers, 1, 0.5)
        known = f"known servers: {', '.join(self.servers)}"
        raise InventoryError(
            f"there is no server {name!r}" + (f"; did you mean {near[0]}?" if near else ""),
            where=str(self.path),
            next=known,
        )


def load(path: Path) -> Inventory:
    """Read and check the inventory; raises InventoryError that tells every fault at once, each with its line."""
    from metalfoundry.model import inventory_errors, yaml_lines

    text = _text(path)
    try:
        read = yaml_lines.read(text)
    except yaml_lines.BrokenYaml as error:
        where = f"{path}:{error.line}:{error.column}"
        raise InventoryError(
            f"this is not YAML: {error.what}", where=where, next=f"correct line {error.line}"
        ) from error
    keys, found = inventory_errors.check(read.value)
    found += [inventory_errors.Fault(*fault) for fault in read.faults]
    if keys is None or found:
        found.sort(key=lambda fault: read.line(fault.place))
        lines = tuple(
            f"{_dotted(fault.place)} ({path}:{read.line(fault.place)}): {fault.what}; expected {fault.expected}"
            for fault in found
        )
        count = "one fault" if len(lines) == 1 else f"{len(lines)} faults"
        next_step = "correct what is listed; docs/inventory.md explains every key"
        raise InventoryError(f"the inventory has {count}", where=str(path), next=next_step, faults=lines)
    return _inventory(keys, path.absolute())


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        next_step = f"write one, such as:\n\n{MINIMAL}"
        raise InventoryError("there is no inventory", where=str(path), next=next_step) from error
    except OSError as error:
        what = f"the inventory cannot be read: {error.strerror}"
        raise InventoryError(what, where=str(path), next=f"look at it with: ls -ld {path}") from error
    except UnicodeDecodeError as error:
        line = bytes(error.object)[: error.start].count(b"\n") + 1
        raise InventoryError("this is not UTF-8 text", where=f"{path}:{line}", next="save it as UTF-8") from error


def _dotted(place: tuple[str | int, ...]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.lstrip(".") or "the file"


def _inventory(keys: InventoryKeys, path: Path) -> Inventory:
    defaults = keys.defaults.model_dump(exclude_unset=True)
    servers = {name: _server(name, defaults, server, path.parent) for name, server in keys.servers.items()}
    timeouts, hooks = Timeouts(**keys.timeouts.model_dump()), Hooks(**keys.hooks.model_dump())
    return Inventory(_site(keys.site, path.parent), MappingProxyType(servers), timeouts, path, hooks)


def _site(keys: SiteKeys, base: Path) -> Site:
    return Site(
        name=keys.name or keys.jump.host,
        jump=_jump(keys.jump, base),
        kubectl=keys.kubectl,
        namespace=keys.namespace,
        smee=keys.smee,
        flux=keys.flux,
        sweeper=Sweeper(**keys.sweeper.model_dump()),
    )


def _jump(keys: JumpKeys, base: Path) -> Host:
    return Host(
        name=keys.host,
        address=keys.host,
        user=keys.user,
        port=keys.port,
        identity=_absolute(keys.identity, base),
        host_key=HostKeyPolicy(keys.host_key),
        known_hosts=_absolute(keys.known_hosts, base),
    )


def _server(name: str, defaults: Mapping[str, Any], own: ServerKeys, base: Path) -> Server:
    given = _merged(defaults, own.model_dump(exclude_unset=True))
    workflow = _absolute(given.pop("workflow", None), base)
    given["hardware"] = given.get("hardware") or name
    given["hardware_map"] = MappingProxyType(given.get("hardware_map", {}))
    given["verify"] = Verify(**given.get("verify", {}))
    given["host_key"] = HostKeyPolicy(given.get("host_key", "yes"))
    for key in ("identity", "known_hosts"):
        given[key] = _absolute(given.get(key), base)
    return Server(name=name, workflow=Path(workflow) if workflow else None, **given)


def _merged(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A server's own word wins; its `verify` and `hardware_map` are merged key by key."""
    merged = {**defaults, **own}
    for key in ("verify", "hardware_map"):
        if key in defaults and key in own:
            merged[key] = {**defaults[key], **own[key]}
    for key, other in (("workflow", "template"), ("template", "workflow")):
        if key in own:
            merged.pop(other, None)
    return merged


def _absolute(text: str | None, base: Path) -> str | None:
    return str(base / Path(text).expanduser()) if text else None

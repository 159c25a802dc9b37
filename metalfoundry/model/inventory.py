"""What the operator declares: servers, time-outs, hooks; the site stands in site_config.py. See docs/inventory.md.

Adding a key here is all it takes to have it checked, in the JSON Schema and in the manual.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from metalfoundry.model.errors import InventoryError, PreflightError
from metalfoundry.model.hosts import Host, HostKeyPolicy
from metalfoundry.model.inventory_fields import (
    A_COMMAND,
    A_FILE,
    A_PORT,
    A_SERVER_KEY,
    A_SPAN,
    AbsolutePath,
    File,
    FilePath,
    HostKeyOrPin,
    Mac,
    Names,
    ObjectName,
    Port,
    Rungs,
    Span,
    Text,
    Word,
    key,
)
from metalfoundry.model.names import is_object_name, nearest
from metalfoundry.model.site_config import LocalJump, Section, SiteConfig

OTHERS = "*"
"""The name under `servers` whose keys are those of any Hardware that is not listed."""


class VerifyConfig(Section):
    """What the new system must show; None and empty are not looked at. `user` None means the server's user."""

    user: Annotated[Word | None, key("who logs in to the new system", "a user name", default="the server's `user`")] = (
        None
    )
    os: Annotated[
        Text | None, key("what the new os-release must say", "a part of PRETTY_NAME such as Ubuntu 24.04")
    ] = None
    hostname: Annotated[Text | None, key("the new system's host name", "a host name")] = None
    marker: Annotated[
        AbsolutePath | None, key("a file that only the new system has", "an absolute path on the server")
    ] = None
    cloud_init: Annotated[bool, key("wait for cloud-init, and fail where it failed", "true or false")] = False
    commands: Annotated[
        tuple[Text, ...], key("commands that must end with status 0 there", "a list of shell commands")
    ] = ()
    reboot: Annotated[bool, key("reboot it once more, and see it come back from its own disk", "true or false")] = False
    stable: Annotated[
        Span | None, key("how long it must then stay up", A_SPAN, default="one sight of it is enough")
    ] = None


class ServerKeys(Section):
    """What may be said of a server, and in `defaults` of all. None means: as the Hardware object says (`address`,
    `mac`), or as ssh_config says (`port`, `identity`, `known_hosts`). `mac` is in lower case; paths are absolute. At
    most one of `workflow` and `template` is set; where neither is, the command line has to say.
    """

    hardware: Annotated[
        ObjectName | None, key("the Hardware object", "its name in Kubernetes", default="the server's name")
    ] = None
    address: Annotated[
        Word | None,
        key(
            "where its sshd is reached",
            "an address, a host name, or an alias of ~/.ssh/config",
            default="the Hardware's interfaces[0].dhcp.ip.address",
        ),
    ] = None
    user: Annotated[Word, key("who logs in to read facts and to reboot", "a user name")] = "root"
    port: Annotated[Port | None, key("where its sshd listens", A_PORT, default="as ssh_config says, else 22")] = None
    via: Annotated[Literal["jump", "direct"], key("through the jump host, or straight from here", "jump or direct")] = (
        "jump"
    )
    identity: Annotated[
        File | None, key("the private key to log in with", A_FILE, default="your agent and usual keys")
    ] = None
    host_key: Annotated[
        HostKeyOrPin,
        key(
            "what to do with the key the host shows; a key that is given here is the only one it may show", A_SERVER_KEY
        ),
    ] = HostKeyPolicy.YES
    known_hosts: Annotated[File | None, key("where known host keys stand", A_FILE, default="~/.ssh/known_hosts")] = None
    mac: Annotated[
        Mac | None,
        key(
            "the interface that netboots",
            "a MAC address such as 00:00:5e:00:53:4b (upper case will do)",
            default="the Hardware's first interface",
        ),
    ] = None
    workflow: Annotated[
        FilePath | None, key("your Workflow file; of its documents only this server's is ever applied", A_FILE)
    ] = None
    template: Annotated[
        ObjectName | None,
        key("instead of `workflow`: the Template to make a Workflow from", "a Template's name in Kubernetes"),
    ] = None
    hardware_map: Annotated[Names, key("the values for that Template", "a mapping of names to text")] = Field(
        default_factory=dict, validate_default=True
    )
    verify: Annotated[VerifyConfig, key("what proves the new system", "a mapping", default="a new system answers")] = (
        VerifyConfig()
    )
    reboot: Annotated[
        Rungs,
        key(
            "how it is rebooted: the next way is taken where the one before fails. ssh: by its own system; bmc: by its "
            "BMC through Rufio, where the Hardware has spec.bmcRef; person: somebody is told to",
            "a list of ssh, bmc and person, each at most once",
            default="[ssh, bmc]",
        ),
    ] = ("ssh", "bmc")
    boot_next: Annotated[
        Literal["network"] | None,
        key(
            "network: before its reboot the firmware is told to boot once from the network (efibootmgr), for a server "
            "that boots its disk first",
            "network",
            default="as its firmware is set",
        ),
    ] = None
    netboot_until: Annotated[
        Literal["running", "end"],
        key(
            "running: close netboot as soon as the installer runs; end: keep it open to the boot action or the end, "
            "for a Template that must netboot twice",
            "running or end",
        ),
    ] = "running"

    def over(self, defaults: ServerKeys) -> dict[str, Any]:
        """The keys given here or in `defaults`. What is given here wins; `verify` and `hardware_map` are merged key by
        key, and of `workflow` and `template` one drops the other.
        """
        given = defaults.given() | self.given()
        if "verify" in self.model_fields_set:
            given["verify"] = defaults.verify.model_copy(update=self.verify.given())
        given["hardware_map"] = {**defaults.hardware_map, **self.hardware_map}
        if self.workflow:
            given.pop("template", None)
        if self.template:
            given.pop("workflow", None)
        return given


class Server(ServerKeys):
    """One server as declared, with `defaults` in it; `name` is what is typed, `hardware` its Hardware object."""

    name: str
    hardware: str

    def __hash__(self) -> int:
        return hash((self.name, self.hardware))

    def host(self, site: SiteConfig, address: str | None = None) -> Host:
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
        pinned = self.host_key if isinstance(self.host_key, str) else ""
        return Host(
            name=self.name,
            address=found,
            user=self.user,
            port=self.port,
            identity=self.identity,
            host_key=HostKeyPolicy.YES if isinstance(self.host_key, str) else self.host_key,
            known_hosts=self.known_hosts,
            via=None if self.via == "direct" or isinstance(site.jump, LocalJump) else site.jump.endpoint(),
            pinned=pinned,
        )

    def new_host(self, site: SiteConfig, address: str | None = None) -> Host:
        """The new system, whose key nobody can know yet: `host` with verify's user, and its key learned unless one is
        pinned."""
        user = self.verify.user or self.user
        return replace(self.host(site, address), user=user, host_key=HostKeyPolicy.LEARN)


class Timeouts(Section):
    """Seconds each stage may take."""

    netboot: Annotated[Span, key("from the reboot to the first sign of the installer", A_SPAN, default="10m")] = 600.0
    install: Annotated[Span, key("from there to the end of the Workflow", A_SPAN, default="30m")] = 1800.0
    boot: Annotated[Span, key("from there to the new system's sshd", A_SPAN, default="10m")] = 600.0
    verify: Annotated[Span, key("for all checks of the new system", A_SPAN, default="5m")] = 300.0
    facts: Annotated[Span, key("for a machine whose sshd answers to say what it is", A_SPAN, default="30s")] = 30.0


class HookConfig(Section):
    """The operator's own commands by the turn of a run at which they run; `timeout` in seconds, for each."""

    before: Annotated[Text | None, key("all is looked at and agreed to; if it fails, nothing is begun", A_COMMAND)] = (
        None
    )
    opened: Annotated[Text | None, key("netboot is open", A_COMMAND)] = None
    installed: Annotated[Text | None, key("the installation is over, and the new system about to boot", A_COMMAND)] = (
        None
    )
    verified: Annotated[Text | None, key("the run is over: the new system is proven", A_COMMAND)] = None
    failed: Annotated[Text | None, key("the run is over, in any other way", A_COMMAND)] = None
    timeout: Annotated[Span, key("how long each of them may take", A_SPAN, default="30s")] = 30.0


class InventoryKeys(Section):
    """The whole file, as it may be written."""

    site: Annotated[SiteConfig, key("the place and the way to it", "a mapping with at least `jump`")]
    defaults: Annotated[ServerKeys, key("any keys of a server, for all of them", "a mapping")] = Field(
        default_factory=ServerKeys
    )
    servers: Annotated[
        dict[str, ServerKeys],
        Field(min_length=1),
        key(
            "the servers by name; `'*'` gives the keys of every other Hardware of the namespace",
            "a mapping with at least one server, such as `servers: {colo-server-01: {}}`",
        ),
    ]
    timeouts: Annotated[Timeouts, key("how long each stage may take", "a mapping")] = Timeouts()
    hooks: Annotated[HookConfig, key("commands of your own at the turns of a run; docs/hooks.md", "a mapping")] = (
        HookConfig()
    )


class Inventory(Section):
    """A checked inventory; `servers` in the order given, with `defaults` in them.

    `rest`: the keys of any other Hardware of the namespace, which may then be named like a server; None where none
    may. `path` is the file, absolute, or None where there is none; hooks run in `folder`.
    """

    site: SiteConfig
    servers: Annotated[Mapping[str, Server], AfterValidator(lambda servers: MappingProxyType(servers))]
    rest: Server | None = None
    timeouts: Timeouts = Timeouts()
    hooks: HookConfig = HookConfig()
    path: Path | None = None
    folder: Path = Path()

    @property
    def source(self) -> str:
        """Where it was read, for messages."""
        return str(self.path or "the inventory")

    def everyone(self, hardware: Iterable[str]) -> dict[str, Server]:
        """All that may be named, where the namespace has this `hardware`: those of `servers`, then, by `rest`, what is
        behind none of them.
        """
        listed = dict(self.servers)
        behind = {server.hardware for server in listed.values()}
        others = [name for name in hardware if name not in behind and name not in listed] if self.rest else []
        return listed | {name: self.server(name) for name in others}

    def server(self, name: str) -> Server:
        """The server of this name; raises InventoryError that names the nearest one and lists all."""
        if name in self.servers:
            return self.servers[name]
        if self.rest is not None and is_object_name(name):
            return self.rest.model_copy(update={"name": name, "hardware": name})
        raise InventoryError(
            f"there is no server {name!r}{nearest(name, self.servers)}",
            where=self.source,
            next=f"known servers: {', '.join(self.servers)}",
        )

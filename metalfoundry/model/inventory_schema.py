"""What may stand in inventory.yaml. Adding a key here is all it takes to have it checked and listed in the manual.

Import this module late: it brings pydantic, which nobody should wait for who only asks for help.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from metalfoundry.model.durations import seconds

_LONGEST = 7 * 24 * 3600.0
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")


def key(default: Any, meaning: str, expected: str, *, shown: str | None = None) -> Any:
    """One key: its default (... where it must be given), what it means, what may stand there; for faults and manual.

    `shown` is the default in words, where the value alone says too little.
    """
    return Field(default, description=meaning, json_schema_extra={"expected": expected, "shown": shown})


def mac(text: str) -> str:
    """A MAC address in the one form that Tinkerbell knows: lower case, colons; raises ValueError."""
    lowered = text.strip().lower().replace("-", ":")
    if not _MAC.fullmatch(lowered):
        raise ValueError(f"found {text!r}")
    return lowered


def _host_key(value: Any) -> Any:
    word = str(value).lower()
    if word in {"no", "off", "false", "n", "never"}:
        raise ValueError(
            f"found {value!r}; there is no such choice, since with an unchecked key anyone on the way could pose as "
            "this host and be given root"
        )
    return "yes" if word in {"true", "on", "y"} else word


def _span(value: Any) -> float:
    span = value if isinstance(value, float) else seconds(str(value))
    if not 0 < span <= _LONGEST:
        raise ValueError(f"found {value!r}")
    return span


def _words(value: Any) -> Any:
    return shlex.split(value) if isinstance(value, str) else value


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"found {text!r}")
    _ = parts.port  # raises ValueError when it is no port
    return text.rstrip("/")


def _path(text: str) -> str:
    try:
        Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"found {text!r}; there is no such user here") from error
    return text


Text = Annotated[str, StringConstraints(min_length=1)]
Word = Annotated[str, StringConstraints(pattern=r"^[^\s\-][^\s]*$")]
ObjectName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
Namespace = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
Port = Annotated[int, Field(ge=1, le=65535)]
File = Annotated[str, StringConstraints(min_length=1), AfterValidator(_path)]
HostKey = Annotated[Literal["yes", "accept-new"], BeforeValidator(_host_key)]
Span = Annotated[float, BeforeValidator(_span)]
Mac = Annotated[str, AfterValidator(mac)]
AbsolutePath = Annotated[str, StringConstraints(pattern=r"^/")]

_A_PORT = "a port number, 1 to 65535"
_A_FILE = "a path; ~ is your home, anything relative starts at the inventory's folder"
_A_SPAN = "a span of time such as 10m, 90s, 1h30m, or a number of seconds"
_A_COMMAND = "a command for the shell of this computer"
_A_HOST_KEY = "yes (known keys only) or accept-new (take an unknown key once, refuse a changed one), as in OpenSSH"


class Section(BaseModel):
    """A mapping of known keys; a key without a value counts as not given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _given(cls, data: Any) -> Any:
        if data is None:
            return {}
        if isinstance(data, dict):
            return {name: value for name, value in data.items() if value is not None or name not in cls.model_fields}
        return data


class JumpKeys(Section):
    """site.jump"""

    host: Word = key(..., "the jump host, where kubectl runs", "an address, a host name, or an alias of ~/.ssh/config")
    user: Word | None = key(None, "who logs in there", "a user name", shown="as ssh_config says, else you")
    port: Port | None = key(None, "where its sshd listens", _A_PORT, shown="as ssh_config says, else 22")
    identity: File | None = key(None, "the private key to log in with", _A_FILE, shown="your agent and usual keys")
    host_key: HostKey = key("yes", "what to do with the key the host shows", _A_HOST_KEY)
    known_hosts: File | None = key(None, "where known host keys stand", _A_FILE, shown="~/.ssh/known_hosts")


class SweeperKeys(Section):
    """site.sweeper"""

    image: Text = key("alpine/k8s:1.33.4", "an image with sh, sed, date and kubectl", "a container image")
    schedule: Text = key("* * * * *", "how often it looks for windows past their time", "a cron schedule")


class SiteKeys(Section):
    """site"""

    name: Text | None = key(None, "what messages call the place", "a word", shown="the jump host")
    jump: JumpKeys = key(..., "the way in", "a mapping with at least `host`")
    kubectl: Annotated[tuple[Text, ...], BeforeValidator(_words), Field(min_length=1)] = key(
        ("kubectl",), "how kubectl is called on the jump host", "a command, or a list such as [sudo, k3s, kubectl]"
    )
    namespace: Namespace = key("tink-system", "where Tinkerbell's objects live", "the name of a namespace")
    smee: Annotated[str, AfterValidator(_url)] | None = key(
        None,
        "Smee as the jump host reaches it; asked for a second proof that netboot is closed",
        "a URL such as http://10.0.0.2:7171",
        shown="Smee is not asked",
    )
    flux: Literal["auto", "off"] = key(
        "auto",
        "auto: where Flux manages the Hardware, it is paused for that one object during a run",
        "auto or off",
    )
    sweeper: SweeperKeys = key(SweeperKeys(), "the CronJob that closes what nobody else closes", "a mapping")


class VerifyKeys(Section):
    """servers.*.verify"""

    user: Word | None = key(None, "who logs in to the new system", "a user name", shown="the server's `user`")
    os: Text | None = key(None, "what the new os-release must say", "a part of PRETTY_NAME such as Ubuntu 24.04")
    hostname: Text | None = key(None, "the new system's host name", "a host name")
    marker: AbsolutePath | None = key(None, "a file that only the new system has", "an absolute path on the server")
    cloud_init: bool = key(False, "wait for cloud-init, and fail where it failed", "true or false")
    commands: tuple[Text, ...] = key((), "commands that must end with status 0 there", "a list of shell commands")


class ServerKeys(Section):
    """servers.*; and `defaults`, which gives any of these for all servers"""

    hardware: ObjectName | None = key(None, "the Hardware object", "its name in Kubernetes", shown="the server's name")
    address: Word | None = key(
        None,
        "where its sshd is reached",
        "an address, a host name, or an alias of ~/.ssh/config",
        shown="the Hardware's interfaces[0].dhcp.ip.address",
    )
    user: Word = key("root", "who logs in to read facts and to reboot", "a user name")
    port: Port | None = key(None, "where its sshd listens", _A_PORT, shown="as ssh_config says, else 22")
    via: Literal["jump", "direct"] = key("jump", "through the jump host, or straight from here", "jump or direct")
    identity: File | None = key(None, "the private key to log in with", _A_FILE, shown="your agent and usual keys")
    host_key: HostKey = key("yes", "what to do with the key the host shows", _A_HOST_KEY)
    known_hosts: File | None = key(None, "where known host keys stand", _A_FILE, shown="~/.ssh/known_hosts")
    mac: Mac | None = key(
        None,
        "the interface that netboots",
        "a MAC address such as 00:00:5e:00:53:4b (upper case will do)",
        shown="the Hardware's first interface",
    )
    workflow: File | None = key(
        None, "your Workflow file; of its documents only this server's is ever applied", _A_FILE
    )
    template: ObjectName | None = key(
        None, "instead of `workflow`: the Template to make a Workflow from", "a Template's name in Kubernetes"
    )
    hardware_map: dict[str, str] = key({}, "the values for that Template", "a mapping of names to text")
    verify: VerifyKeys = key(VerifyKeys(), "what proves the new system", "a mapping", shown="a new system answers")
    netboot_until: Literal["running", "end"] = key(
        "running",
        "running: close netboot as soon as the installer runs; end: keep it open to the boot action or the end, for "
        "a Template that must netboot twice",
        "running or end",
    )


class TimeoutKeys(Section):
    """timeouts"""

    netboot: Span = key(600.0, "from the reboot to the first sign of the installer", _A_SPAN, shown="10m")
    install: Span = key(1800.0, "from there to the end of the Workflow", _A_SPAN, shown="30m")
    boot: Span = key(600.0, "from there to the new system's sshd", _A_SPAN, shown="10m")
    verify: Span = key(300.0, "for all checks of the new system", _A_SPAN, shown="5m")
    facts: Span = key(30.0, "for a machine whose sshd answers to say what it is", _A_SPAN, shown="30s")


class HookKeys(Section):
    """hooks"""

    before: Text | None = key(None, "all is looked at and agreed to; if it fails, nothing is begun", _A_COMMAND)
    opened: Text | None = key(None, "netboot is open", _A_COMMAND)
    installed: Text | None = key(None, "the installation is over, and the new system about to boot", _A_COMMAND)
    verified: Text | None = key(None, "the run is over: the new system is proven", _A_COMMAND)
    failed: Text | None = key(None, "the run is over, in any other way", _A_COMMAND)
    timeout: Span = key(30.0, "how long each of them may take", _A_SPAN, shown="30s")


class InventoryKeys(Section):
    """The whole file."""

    site: SiteKeys = key(..., "the place and the way to it", "a mapping with at least `jump`")
    defaults: ServerKeys = key(ServerKeys(), "any keys of a server, for all of them", "a mapping")
    servers: Annotated[dict[str, ServerKeys], Field(min_length=1)] = key(
        ..., "the servers by name", "a mapping with at least one server, such as `servers: {colo-server-01: {}}`"
    )
    timeouts: TimeoutKeys = key(TimeoutKeys(), "how long each stage may take", "a mapping")
    hooks: HookKeys = key(HookKeys(), "commands of your own at the turns of a run; docs/hooks.md", "a mapping")

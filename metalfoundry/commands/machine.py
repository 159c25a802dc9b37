"""What is said to a server over its own SSH, and the reader of what it says of itself."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

from metalfoundry.commands.command import Command, Effect
from metalfoundry.commands.reading import real, whole
from metalfoundry.model.host_keys import read_key
from metalfoundry.model.hosts import ServerKey

MARKS = ("boot_id", "machine_id", "host_key", "root", "os_id", "os_name", "hostname", "marker", "serial", "uuid")
FACTS_BYTES = 2**20
_BORN = {"/": "root", "/etc/machine-id": "machine-id"}
_HOST_KEYS = ("/etc/ssh/ssh_host_ed25519_key.pub", "/etc/ssh/ssh_host_rsa_key.pub")
_IN_MEMORY = ("rootfs", "ramfs", "tmpfs")
REBOOT = Command(("reboot",), effect=Effect.WRITE)
FORCED_REBOOT = Command(("reboot", "-f"), effect=Effect.WRITE)
REBOOT_AS_USER = Command(("sudo", "-n", "reboot"), effect=Effect.WRITE)


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """One machine at one moment, by its own words; "" or empty where it did not say.

    `uptime` and `clock` are seconds (`clock` since 1970, by the machine's own clock); `macs` lower case, loopback
    left out; `marker` is the marker file's text and mtime in one string; `checks` holds (exit status, last line of
    output) of the operator's own commands, in their order: None as status where one was not waited for.

    `root` is the root file system's UUID. `born` says when what an installation or a first boot makes came into being,
    or changed last: root, machine-id, host key, marker; by its own clock, in seconds since 1970. What lives in memory,
    or is mounted over the root, is left out. `host_key`: the fingerprint of the key that it showed; `host_keys`: all
    that stand in its /etc/ssh.
    """

    boot_id: str = ""
    machine_id: str = ""
    hostname: str = ""
    os_id: str = ""
    os_name: str = ""
    cmdline: str = ""
    serial: str = ""
    uuid: str = ""
    uptime: float | None = None
    clock: float | None = None
    macs: tuple[str, ...] = ()
    marker: str = ""
    cloud_init: str = ""
    checks: tuple[tuple[int | None, str], ...] = ()
    root: str = ""
    born: tuple[tuple[str, float], ...] = ()
    host_key: str = field(default="", compare=False)
    host_keys: tuple[ServerKey, ...] = field(default=(), compare=False)

    @property
    def kernel_args(self) -> Mapping[str, str]:
        """The kernel command line's `key=value` words; the later one wins, as in the kernel."""
        return dict(word.split("=", 1) for word in self.cmdline.split() if "=" in word)

    @property
    def marks(self) -> Mapping[str, str]:
        """What tells this system from one that is installed over it; `from_marks` reads it."""
        marks = {name: str(getattr(self, name)) for name in MARKS}
        return {name: value for name, value in marks.items() if value}

    @classmethod
    def from_marks(cls, marks: Mapping[str, str]) -> MachineFacts:
        """Facts with nothing but `marks` in them."""
        empty = cls()
        known: dict[str, Any] = {name: value for name, value in marks.items() if name in MARKS}
        return replace(empty, **known)

    @property
    def in_hook(self) -> bool:
        """Whether this is Tinkerbell's installer: HookOS by name, or booted with a worker's arguments."""
        return self.os_id == "hookos" or {"worker_id", "grpc_authority"} <= self.kernel_args.keys()


DEFAULT_MARKER = "/var/lib/tinkerbell-provisioned"


def facts(
    marker: str = DEFAULT_MARKER, cloud_init: bool = False, checks: Sequence[str] = (), check_seconds: int = 0
) -> Command:
    """Read everything in one exec; `checks` are shell commands of the operator that must end with status 0, each within
    `check_seconds` where that is above 0."""
    text = files("metalfoundry.commands").joinpath("facts.sh").read_text(encoding="utf-8")
    head = f"MARKER={shlex.quote(marker)}\nCLOUD_INIT={'yes' if cloud_init else ''}\n"
    head += f"CHECK_SECONDS={check_seconds}\n" if check_seconds else ""
    tail = "".join(f"check {number} {shlex.quote(command)}\n" for number, command in enumerate(checks))
    return Command(("sh", "-s"), stdin=head + text + tail, most=FACTS_BYTES)


def read_facts(stdout: str, marker: str = DEFAULT_MARKER) -> MachineFacts:
    """The reader of `facts`; lines it does not know, and those that are malformed, are passed over."""
    told: dict[str, list[str]] = {}
    for line in stdout.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            told.setdefault(key, []).append(value.strip())

    def first(key: str) -> str:
        return told.get(key, [""])[0].strip("\"'")

    born, changed = _births(told.get("born", []), marker, first("root"))
    return MachineFacts(
        boot_id=first("boot_id"),
        machine_id=first("machine_id"),
        hostname=first("hostname"),
        os_id=first("os.ID").lower(),
        os_name=first("os.PRETTY_NAME") or f"{first('os.NAME')} {first('os.VERSION_ID')}".strip(),
        cmdline=first("cmdline"),
        serial=first("serial"),
        uuid=first("uuid"),
        uptime=real(first("uptime").split(" ")[0]),
        clock=real(first("clock")),
        macs=tuple(dict.fromkeys(mac for mac in map(str.lower, told.get("mac", [])) if mac.strip("0:"))),
        marker=" ".join(filter(None, (first("marker.text"), changed))),
        cloud_init=first("cloud_init"),
        checks=tuple(filter(None, map(_check, told.get("check", [])))),
        root=" ".join(first("root").split()[:-1]),
        born=born,
        host_keys=tuple(filter(None, map(read_key, told.get("host_key", [])))),
    )


def _births(lines: Sequence[str], marker: str, root: str) -> tuple[tuple[tuple[str, float], ...], str]:
    """What was born when; and the marker's own mtime as it was said."""
    told = {words[3]: words[:3] for words in (line.split(" ", 3) for line in lines) if len(words) == 4}
    device = told.get("/", ["", "", ""])[2]
    born: dict[str, float] = {}
    for path, (birth, changed, where) in told.items():
        name = _BORN.get(path) or ("host key" if path in _HOST_KEYS else "marker" if path == marker else "")
        # A directory changes with whatever is put into it; only its birth tells.
        moments = [real(birth) or 0.0, 0.0 if name == "root" else real(changed) or 0.0]
        ours = name == "marker" or not device or where == device
        if name and ours and max(moments) > 0 and root.split(" ")[-1] not in _IN_MEMORY:
            born[name] = max(born.get(name, 0.0), *moments)
    return tuple(born.items()), told[marker][1] if marker in told else ""


def _check(line: str) -> tuple[int | None, str] | None:
    number, _, rest = line.partition(" ")
    status, _, output = rest.partition(" ")
    code = whole(status)
    if whole(number) is None or (code is None and status != "-"):
        return None
    return code, output

"""What is said to a server over its own SSH, and the reader of what it says of itself."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

from metalfoundry.commands.base import Command, Effect
from metalfoundry.commands.reading import real, whole

MARKS = ("boot_id", "machine_id", "host_key", "os_id", "os_name", "hostname", "marker")
FACTS_BYTES = 2**20
REBOOT = Command(("reboot",), effect=Effect.WRITE)


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """One machine at one moment, by its own words; "" or empty where it did not say.

    `uptime` and `clock` are seconds (`clock` since 1970, by the machine's own clock); `macs` lower case, loopback
    left out; `marker` is the marker file's text and mtime in one string; `checks` holds (exit status, last line of
    output) of the operator's own commands, in their order.
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
    checks: tuple[tuple[int, str], ...] = ()
    host_key: str = field(default="", compare=False)

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


def facts(marker: str = DEFAULT_MARKER, cloud_init: bool = False, checks: Sequence[str] = ()) -> Command:
    """Read everything in one exec; `checks` are shell commands of the operator that must end with status 0."""
    text = files("metalfoundry.commands").joinpath("facts.sh").read_text(encoding="utf-8")
    head = f"MARKER={shlex.quote(marker)}\nCLOUD_INIT={'yes' if cloud_init else ''}\n"
    tail = "".join(f"check {number} {shlex.quote(command)}\n" for number, command in enumerate(checks))
    return Command(("sh", "-s"), stdin=head + text + tail, most=FACTS_BYTES)


def read_facts(stdout: str) -> MachineFacts:
    """The reader of `facts`; lines it does not know are passed over."""
    seen: dict[str, list[str]] = {}
    for line in stdout.splitlines():
        key, found, value = line.partition("=")
        if found:
            seen.setdefault(key, []).append(value.strip())

    def one(key: str) -> str:
        return seen.get(key, [""])[0].strip("\"'")

    checks = [value.split(" ", 2) for value in seen.get("check", [])]
    return MachineFacts(
        boot_id=one("boot_id"),
        machine_id=one("machine_id"),
        hostname=one("hostname"),
        os_id=one("os.ID").lower(),
        os_name=one("os.PRETTY_NAME") or f"{one('os.NAME')} {one('os.VERSION_ID')}".strip(),
        cmdline=one("cmdline"),
        serial=one("serial"),
        uuid=one("uuid"),
        uptime=real(one("uptime").split(" ")[0]),
        clock=real(one("clock")),
        macs=tuple(dict.fromkeys(mac for mac in map(str.lower, seen.get("mac", [])) if mac.strip("0:"))),
        marker=" ".join(filter(None, (one("marker.text"), one("marker.mtime")))),
        cloud_init=one("cloud_init"),
        checks=tuple(_check(words) for words in checks if len(words) > 1),
    )


def _check(words: list[str]) -> tuple[int, str]:
    """(exit status, last line) of one check; a status that is none counts as failed."""
    status = whole(words[1])
    return 1 if status is None else status, words[2] if len(words) > 2 else ""

"""What a server's firmware boots, as efibootmgr tells and sets it. What it prints is the firmware's text, and data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from metalfoundry.commands.command import Command, Effect

BOOT_ORDER = Command(("efibootmgr", "-v"))
_ENTRY = re.compile(r"^Boot([0-9A-Fa-f]{4})\*? +(.*)$", re.M)
_ORDER = re.compile(r"^BootOrder: *([0-9A-Fa-f,]+) *$", re.M)
_NEXT = re.compile(r"^BootNext: *([0-9A-Fa-f]{4}) *$", re.M)
_NETWORK = re.compile(r"network|pxe|ipv[46]|\bnic\b|ethernet|\blan\b|MAC\(|http boot", re.I)
_MAC = re.compile(r"\b(?:MAC|MacAddr)\(([0-9A-Fa-f]{12})[,)]")
_HTTP, _IPV6 = re.compile(r"\bUri\("), re.compile(r"\bIPv6\(")


@dataclass(frozen=True, slots=True)
class BootOrder:
    """What the firmware tries, in order: (number, words) of each; `next` what it tries once before. `paths`: the device
    path of every entry, by number, in that order or not."""

    entries: tuple[tuple[str, str], ...]
    next: str = ""
    paths: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def network(self) -> tuple[str, str] | None:
        """The first entry that boots from the network."""
        return next((entry for entry in self.entries if _NETWORK.search(entry[1])), None)

    @property
    def netboots(self) -> bool:
        """Whether the next boot asks the network first."""
        first = self.next or (self.entries[0][0] if self.entries else "")
        return any(number == first and _NETWORK.search(words) for number, words in self.entries)

    def network_entry(self, mac: str) -> str:
        """The number of the entry that boots from the network by the interface with that MAC: IPv4 before IPv6, and
        PXE before HTTP; "" where no device path names it.
        """
        wanted = mac.replace(":", "").lower()
        mine = [number for number, path in self.paths.items() if wanted in map(str.lower, _MAC.findall(path))]
        ranked = sorted(mine, key=lambda number: [bool(sign.search(self.paths[number])) for sign in (_HTTP, _IPV6)])
        return ranked[0] if ranked else ""


def read_boot_order(stdout: str) -> BootOrder | None:
    """The reader of BOOT_ORDER; None where it told no order."""
    order = _ORDER.search(stdout)
    if order is None:
        return None
    told = {found[1].upper(): found[2].partition("\t") for found in _ENTRY.finditer(stdout)}
    known = {number: words.strip() for number, (words, _, _) in told.items()}
    entries = [(number.upper(), known.get(number.upper(), "")) for number in order[1].split(",") if number]
    after = _NEXT.search(stdout)
    if after and after[1].upper() not in dict(entries):
        entries.append((after[1].upper(), known.get(after[1].upper(), "")))
    paths = {number: path for number, (_, _, path) in told.items()}
    return BootOrder(tuple(entries), after[1].upper() if after else "", paths)


def boot_next(number: str) -> Command:
    """Have the firmware try this entry once, at its next boot; `number` as BootOrder has it."""
    return Command(("efibootmgr", "-n", number), effect=Effect.WRITE)

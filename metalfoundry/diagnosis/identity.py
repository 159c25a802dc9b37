"""Which machine is it that answers? One answer, for Preflight, Boot, Verify and the diagnosis.

What is not told proves nothing. The MACs are held against the Hardware's, serial number and UUID against what is known
of the machine from before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.model.resources import Hardware

# What firmware says where nobody has written a serial number or a UUID into it.
_BLANK = (
    "none",
    "n/a",
    "unknown",
    "not specified",
    "not applicable",
    "default string",
    "system serial number",
    "to be filled by o.e.m.",
    "0123456789",
    "123456789",
)


@dataclass(frozen=True, slots=True)
class IdentityCheck:
    """Whether a machine is the one of a Hardware: None where it told nothing that could be compared.

    `told` is what it says, `known` what is known of that Hardware's machine, where they differ.
    """

    same: bool | None
    told: str = ""
    known: str = ""


def identify(hardware: Hardware | None, before: Sequence[MachineFacts], machine: MachineFacts) -> IdentityCheck:
    """Hold `machine` against its Hardware, and against `before`: looks that were proven to be that machine."""
    looks = [look.serial for look in before] + ([hardware.serial] if hardware else [])
    pairs = (
        ("serial number", _plain, machine.serial, looks),
        ("UUID", _uuid, machine.uuid, [look.uuid for look in before]),
    )
    declared = hardware.macs if hardware else ()
    proven = False
    if machine.macs and declared:
        if not set(declared) & set(machine.macs):
            return IdentityCheck(False, f"MAC {', '.join(machine.macs)}", f"MAC {', '.join(sorted(declared))}")
        proven = True
    for name, plain, told, listed in pairs:
        known = {plain(value): value for value in listed if plain(value)}
        if not plain(told) or not known:
            continue
        if plain(told) not in known:
            return IdentityCheck(False, f"{name} {told}", f"{name} {', '.join(known.values())}")
        proven = True
    return IdentityCheck(proven or None)


def _plain(text: str) -> str:
    """A serial number to compare; empty where it is none."""
    low = " ".join(text.lower().split())
    return "" if low in _BLANK or not low.strip("0-. x") else low


def _uuid(text: str) -> str:
    """A UUID to compare: kernels differ in the byte order of its first three groups, so the lesser of both."""
    digits = text.lower().replace("-", "")
    if len(digits) != 32 or len(set(digits)) == 1:
        return ""
    groups = (digits[:8], digits[8:12], digits[12:16])
    turned = "".join("".join(reversed([group[i : i + 2] for i in range(0, len(group), 2)])) for group in groups)
    return min(digits, turned + digits[16:])

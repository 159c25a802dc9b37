"""Everything that `fab doctor` looks at on the jump host, in one command: examine.sh; and a server's boot order.

Parts: objects, rights, client, server, served, deployments, bmc, smee, tools, clock, guards.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from metalfoundry.commands import gather, guard, smee
from metalfoundry.commands.command import Command
from metalfoundry.commands.kubectl import Kubectl, read_only
from metalfoundry.commands.reading import whole
from metalfoundry.commands.script import Outcome, Part

TOOLS = ("awk", "cat", "date", "grep", "mkdir", "mktemp", "mv", "rm", "sed", "sleep", "tail", "tr")
"""What our scripts call on the jump host; and one of curl, wget and bash."""
BOOT_ORDER = Command(("efibootmgr",))
_ASKED = ("objects", "rights", "client", "server", "served", "deployments", "bmc", "smee")
_ENTRY = re.compile(r"^Boot([0-9A-Fa-f]{4})\*? +(.*)$", re.M)
_ORDER = re.compile(r"^BootOrder: *([0-9A-Fa-f,]+) *$", re.M)
_NEXT = re.compile(r"^BootNext: *([0-9A-Fa-f]{4}) *$", re.M)
_NETWORK = re.compile(r"network|pxe|ipv[46]|\bnic\b|ethernet|\blan\b|MAC\(|http boot", re.I)


def site(kubectl: Kubectl, names: Sequence[str], smee_url: str) -> Command:
    """Read the site once, Smee's answers for the Hardware `names` included ("" where Smee cannot be asked)."""
    words = {
        "NAMESPACE": kubectl.namespace,
        "NAMES": " ".join(names),
        "SMEE": smee_url.rstrip("/"),
        "REVIEW": kubectl.rights().stdin,
        "TOOLS": " ".join(TOOLS),
    }
    head = "".join(f"{name}={shlex.quote(value)}\n" for name, value in words.items())
    text = files("metalfoundry.commands").joinpath("examine.sh").read_text(encoding="utf-8")
    parts = [Part(name, ("result", name)) for name in _ASKED]
    parts += [Part("tools", ("tools",)), Part("clock", ("date", "-u", "+%s.%N")), guard.status(kubectl)]
    functions = f"{smee.FUNCTIONS}{gather.cluster_functions(kubectl)}{head}{text}examine\n"
    return read_only(*parts, functions=functions)


def read_smee(outcome: Outcome | None) -> dict[str, Mapping[str, int]]:
    """Smee's HTTP status by path, for each Hardware that it was asked about; 0 for no answer."""
    found: dict[str, Mapping[str, int]] = {}
    for line in outcome.stdout.splitlines() if outcome else ():
        words = line.split()
        if len(words) == 4:
            codes = [whole(word) or 0 for word in words[2:]]
            found[words[0]] = dict(zip(smee.paths(words[1]), codes, strict=True))
    return found


def read_version(text: str) -> tuple[int, int] | None:
    """Major and minor of `v1.33.4`; None for anything else."""
    found = re.match(r"v?([0-9]{1,4})\.([0-9]{1,4})", text)
    return (int(found[1]), int(found[2])) if found else None


@dataclass(frozen=True, slots=True)
class BootOrder:
    """What the firmware tries, in order: (number, words) of each; `next` what it tries once before."""

    entries: tuple[tuple[str, str], ...]
    next: str = ""

    @property
    def network(self) -> tuple[str, str] | None:
        """The first entry that boots from the network."""
        return next((entry for entry in self.entries if _NETWORK.search(entry[1])), None)

    @property
    def netboots(self) -> bool:
        """Whether the next boot asks the network first."""
        first = self.next or (self.entries[0][0] if self.entries else "")
        return any(number == first and _NETWORK.search(words) for number, words in self.entries)


def read_boot_order(stdout: str) -> BootOrder | None:
    """The reader of BOOT_ORDER; None where it told no order."""
    order = _ORDER.search(stdout)
    if order is None:
        return None
    known = {found[1].upper(): found[2].split("\t")[0].strip() for found in _ENTRY.finditer(stdout)}
    entries = [(number.upper(), known.get(number.upper(), "")) for number in order[1].split(",") if number]
    after = _NEXT.search(stdout)
    if after and after[1].upper() not in dict(entries):
        entries.append((after[1].upper(), known.get(after[1].upper(), "")))
    return BootOrder(tuple(entries), after[1].upper() if after else "")

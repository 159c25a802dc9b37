"""Everything that `fab doctor` looks at on the jump host, in one command: examine.sh.

Parts: objects, rights, client, server, served, deployments, bmc, smee, tools, clock, guards.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files

from metalfoundry.commands import gather, guard, smee
from metalfoundry.commands.command import Command
from metalfoundry.commands.kubectl import Kubectl, read_only
from metalfoundry.commands.reading import whole
from metalfoundry.commands.script import Outcome, Part

TOOLS = ("awk", "cat", "date", "grep", "mkdir", "mktemp", "mv", "rm", "sed", "sleep", "tail", "tr")
"""What our scripts call on the jump host; and one of curl, wget and bash."""
_ASKED = ("objects", "rights", "client", "server", "served", "deployments", "bmc", "smee")


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

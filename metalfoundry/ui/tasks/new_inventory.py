"""`fab inventory.new` on the terminal: ask for what is not said, show unknown host keys, write the file."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metalfoundry.foundry import Foundry
from metalfoundry.model.errors import UsageError
from metalfoundry.model.program import ours
from metalfoundry.model.whole_file import replace_text
from metalfoundry.runs.new_inventory import UnknownKey
from metalfoundry.ui.output.plain import say
from metalfoundry.ui.tasks.confirm import typed


@dataclass(frozen=True, slots=True)
class InventoryWords:
    """What was said on the command line; "" for what is to be found out. `defaults`: keys of every server."""

    jump: str
    output: str
    namespace: str
    kubectl: str
    smee: str
    defaults: Mapping[str, str]

    def command(self, *more: str) -> str:
        """The command line that says it again, with `more`."""
        given = {"jump": self.jump, "output": self.output, "namespace": self.namespace, "kubectl": self.kubectl,
                 "smee": self.smee, **self.defaults}  # fmt: skip
        said = [word for key, text in given.items() if text for word in (f"--{key.replace('_', '-')}", text)]
        return ours("inventory.new", *said, *more)


def new(wanted: InventoryWords, *, ask: bool, overwrite: bool) -> None:
    """Write it. Raises Declined for a file that is to stay, and for keys that are not to be taken."""
    path = Path(wanted.output)
    if path.exists() and not overwrite:
        typed("overwrite", f"{path} exists. Type overwrite to replace it: ", wanted.command("--overwrite"))
    jump = wanted.jump or _asked("jump host, [USER@]HOST[:PORT]: ", wanted)

    def take(keys: Sequence[UnknownKey]) -> None:
        for key in keys:
            say(f"{key.host} is not known here, and shows {key.type} {key.fingerprint}", file=sys.stderr)
        if ask:
            question = "Compare them with what the hosts themselves say. Type yes to write them into known_hosts: "
            typed("yes", question, wanted.command("--yes"))

    text = Foundry.new_inventory(
        jump,
        take,
        kubectl=wanted.kubectl,
        namespace=wanted.namespace,
        smee=wanted.smee,
        defaults=wanted.defaults,
    )
    _write(path, text)
    step = ours("doctor", *(() if path == Path("inventory.yaml") else ("--inventory", wanted.output)))
    say(f"{path} is written; what is to be added stands in it as comments. Now: {step}")


def _asked(question: str, wanted: InventoryWords) -> str:
    if not sys.stdin.isatty():
        raise UsageError("no jump host is named", next=wanted.command("--jump", "USER@HOST"))
    say(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def _write(path: Path, text: str) -> None:
    """A file whole or not at all; what is no file, such as /dev/stdout, as it is."""
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
        else:
            replace_text(path, text)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", next="--output FILE") from error

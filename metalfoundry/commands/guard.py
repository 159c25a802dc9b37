"""What is said to the guard (guard.sh) on the jump host, and the reader of what it answers.

Every sub-command is the whole script on the stdin of `sh -s`, with assignments in front: nothing of it stands in
argv, and nothing has to be installed on the jump host. docs/guard.md says what each one promises.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from metalfoundry.commands.command import Command
from metalfoundry.commands.reading import whole
from metalfoundry.commands.script import Part

_END = "METALFOUNDRY_GUARD"
REFUSED_BY_LOGIND = 6
HOLDING = 7


@dataclass(frozen=True, slots=True)
class Guard:
    """One guard, as the client names it; `nonce` tells it from another one for the same run."""

    run: str
    nonce: str

    def arm(
        self,
        *,
        kubectl: tuple[str, ...],
        namespace: str,
        hardware: str,
        workflow: str,
        boot_action: str,
        until_end: bool,
        lease: float,
        hard_cap: float,
    ) -> Part:
        """Start it, detached from this session. `lease` and `hard_cap`: seconds from now, by the jump host's clock."""
        words = {
            "NAMESPACE": namespace,
            "HARDWARE": hardware,
            "WORKFLOW": workflow,
            "KUBECTL": shlex.join(kubectl),
            "EXPIRES": f"+{int(lease)}",
            "HARD_CAP": f"+{int(hard_cap)}",
            "BOOT_ACTION": boot_action,
            "UNTIL": "end" if until_end else "running",
        }
        return Part("arm", ("sh", "-s"), _text("arm", self._words() | words))

    def alive(self, wait: int = 10) -> Command:
        """Whether it guards; asked over a new exec. Waits up to `wait` seconds for its watch to be established."""
        return Command(("sh", "-s"), stdin=_text("alive", self._words() | {"WAIT": str(wait)}))

    def extend(self, lease: float) -> Part:
        """Let it hold the window open for `lease` more seconds from now."""
        return Part("extend", ("sh", "-s"), _text("extend", self._words() | {"EXPIRES": f"+{int(lease)}", "WAIT": "0"}))

    def disarm(self) -> Part:
        """End it, and remove its folder; it refuses as long as it cannot see the window closed."""
        return Part("disarm", ("sh", "-s"), _text("disarm", self._words()))

    def _words(self) -> dict[str, str]:
        return {"RUN": self.run, "NONCE": self.nonce}


def list_guards() -> Part:
    """All guards on the jump host, with the last line of each log."""
    return Part("guards", ("sh", "-s"), _text("list", {}))


def reap_guards(hardware: str = "") -> Part:
    """Remove what ended and dead guards (of one Hardware) left behind; print their runs."""
    return Part("reaped", ("sh", "-s"), _text("reap", {"HARDWARE": hardware} if hardware else {}))


def guard_log(run: str) -> Part:
    """The whole log of one guard."""
    return Part("log", ("sh", "-s"), _text("log", {"RUN": run}))


@dataclass(frozen=True, slots=True)
class GuardSeen:
    """One guard as `list` shows it; `expires` in seconds since 1970.

    `state`: guarding, arming, ended, stuck (there, but silent) or dead.
    """

    run: str
    hardware: str
    state: str
    pid: str
    expires: int | None
    log: str


def read_guards(stdout: str) -> list[GuardSeen]:
    """The reader of `list_guards`."""
    rows = [line.split("\t") for line in stdout.splitlines() if line.count("\t") >= 5]
    return [GuardSeen(row[0], row[1], row[2], row[3], whole(row[4]), "\t".join(row[5:])) for row in rows]


def read_words(stdout: str) -> Mapping[str, str]:
    """The `key=value` lines of the other sub-commands; a value goes to the end of its line."""
    pairs = (line.partition("=") for line in stdout.splitlines())
    return {key: value for key, equals, value in pairs if equals}


def _text(action: str, words: Mapping[str, str]) -> str:
    script = files("metalfoundry.commands").joinpath("guard.sh").read_text(encoding="utf-8")
    lines = [f"{name}={shlex.quote(value)}" for name, value in ({**words, "ACTION": action}).items()]
    return "\n".join(
        [*lines, f"guard_text() {{ cat <<'{_END}'\n{script.rstrip()}\n{_END}\n}}", 'eval "$(guard_text)"', ""]
    )

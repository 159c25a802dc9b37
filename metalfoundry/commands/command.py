"""What is said: a command is a frozen value, and is quoted here, once."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from enum import Enum

from metalfoundry.model.redact import hide

MOST_BYTES = 32 * 2**20  # more than the largest namespace that one would list; what is more is no answer


class Effect(Enum):
    """What a command does to the world; the gates judge by it.

    READ changes nothing and may be repeated. WRITE changes something and is refused when the run is cancelled,
    lost its claim, or only plans. RESTORE makes the world safe again and always passes.
    """

    READ = "read"
    WRITE = "write"
    RESTORE = "restore"


class Raw(str):
    """A word that goes to the remote shell as it stands; everything else is quoted."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Command:
    """One remote command. `argv` is quoted by `line`; scripts and manifests travel as `stdin`.

    `secrets` are hidden wherever the command is shown; none may stand in argv, which any user of the remote
    host can read. `most`: how many bytes both outputs together may have. `settles`: whoever sends it
    reads what stands there, where its reply is lost. `ahead`: how many sessions are kept ready on that host from now
    on, for the commands that follow soon.
    """

    argv: tuple[str | Raw, ...]
    stdin: str = field(default="", repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    effect: Effect = Effect.READ
    most: int = MOST_BYTES
    settles: bool = False
    ahead: int = 0

    def __post_init__(self) -> None:
        if any(secret in word for secret in self.secrets for word in self.argv):
            raise ValueError("a secret must travel on stdin, not in argv")

    @property
    def line(self) -> str:
        """The shell line that goes over the wire."""
        return " ".join(word if isinstance(word, Raw) else shlex.quote(word) for word in self.argv)

    @property
    def shown(self) -> str:
        """What a person or a log may see: the line, and the script under it, without secrets."""
        text = f"{self.line} <<'EOF'\n{self.stdin.rstrip()}\nEOF" if self.stdin else self.line
        return hide(text, self.secrets)

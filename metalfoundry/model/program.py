"""The program as the user calls it, for every command that we tell somebody to run: this one place knows its name."""

from __future__ import annotations

import shlex

_name = ["fab"]


def called(name: str) -> None:
    """From now on our own commands are spelt with `name`: for the program's start, once."""
    _name[0] = name


def ours(task: str, *words: str) -> str:
    """A command line of our own, quoted for a shell."""
    return shlex.join((_name[0], task, *words))

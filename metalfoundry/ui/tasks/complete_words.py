"""What a shell offers at TAB, without Fabric and without a check of the inventory: `python -m` runs it at each TAB.

The shell's script (completion.py) hands over a table of the tasks, and the words up to the cursor. The table has a line
for each task: its name, the kind of its first argument, and its flags, `--flag=kind` where one takes a value.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from metalfoundry.ui.output.plain import say

FILES = ":files"  # said instead of words: let the shell complete a path
NAMES = "names"
KINDS = {"shell": ("bash", "zsh", "fish")}
CORE = ("--list", "--help", "--version")


def candidates(table: str, words: Sequence[str]) -> list[str]:
    """What may stand for the last of `words` (those after the program's name); [FILES] for a path."""
    tasks = {line.split()[0]: line.split()[1:] for line in table.splitlines() if line.strip()}
    *before, current = words or [""]
    task, given, pending = _parsed(tasks, before)
    kinds = dict(flag.partition("=")[::2] for flag in tasks[task][1:]) if task else {}
    if pending:
        return _values(kinds[pending], "", current, before)
    flag, equals, value = current.partition("=")
    if equals and kinds.get(flag):
        return _values(kinds[flag], f"{flag}=", value, before)
    if current.startswith("-"):
        return _starting(current, kinds if task else CORE, but=before)
    if task and tasks[task][0] != "-" and not given:
        return _values(tasks[task][0], "", current, before)
    return _starting(current, tasks)


def server_names(path: Path) -> list[str]:
    """The servers in the inventory at `path`, unchecked; [] where it cannot be read."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        found = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, yaml.YAMLError):
        return []
    servers = found.get("servers") if isinstance(found, dict) else None
    return [str(name) for name in servers if name != "*"] if isinstance(servers, dict) else []


def _parsed(tasks: dict[str, list[str]], words: Sequence[str]) -> tuple[str, bool, str]:
    """The last task, whether its first argument was given, and the flag that waits for a value."""
    task, given, pending = "", False, ""
    for word in words:
        if pending:
            pending = ""
        elif word.startswith("-"):
            takes = any(one.startswith(f"{word}=") for one in tasks.get(task, ()))
            pending = word if takes else ""
        elif task and tasks[task][0] != "-" and not given:
            given = True
        elif word in tasks:
            task, given = word, False
    return task, given, pending


def _values(kind: str, prefix: str, current: str, words: Sequence[str]) -> list[str]:
    if kind == "file":
        return [FILES]
    if kind == NAMES:
        done, comma, current = current.rpartition(",")
        taken = done.split(",")
        names = [name for name in (*server_names(_inventory(words)), *(() if done else ("all",))) if name not in taken]
        return [f"{prefix}{done}{comma}{name}" for name in names if name.startswith(current)]
    return [f"{prefix}{word}" for word in KINDS.get(kind, ()) if word.startswith(current)]


def _starting(current: str, words: Iterable[str], but: Sequence[str] = ()) -> list[str]:
    return [word for word in words if word.startswith(current) and word not in but]


def _inventory(words: Sequence[str]) -> Path:
    """As the tasks choose it."""
    for place, word in enumerate(words):
        if word == "--inventory" and place + 1 < len(words):
            return Path(words[place + 1]).expanduser()
        if word.startswith("--inventory="):
            return Path(word.partition("=")[2]).expanduser()
    return Path(os.environ.get("METALFOUNDRY_INVENTORY") or "inventory.yaml")


if __name__ == "__main__":
    say("\n".join(candidates(sys.argv[1], sys.argv[2:])))

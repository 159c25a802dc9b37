"""Real shells and real folders of programs, for what is said to be run by any of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from metalfoundry.commands.command import Command


def run(command: Command, shell: str = "sh", path: Path | None = None, env: dict[str, str] | None = None) -> str:
    """What a script Command prints when `shell` reads it; stderr must stay empty."""
    assert command.argv == ("sh", "-s")
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"no {shell} here")
    environment = {"PATH": str(path) if path else os.environ["PATH"], **(env or {})}
    words = [found, "sh", "-s"] if shell == "busybox" else [found, "-s"]
    done = subprocess.run(words, input=command.stdin, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def folder_of(folder: Path, programs: Sequence[str]) -> Path:
    """A PATH folder that holds these programs and nothing else; the test is skipped where one is missing."""
    folder.mkdir()
    for name in programs:
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"no {name} here")
        (folder / name).symlink_to(found)
    return folder

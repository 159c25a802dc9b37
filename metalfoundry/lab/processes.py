"""The processes of a lab's jump host, found by a mark in their environment: `setsid` and `nohup` do not hide them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """One process: its id and its command line."""

    pid: int
    command: str


class MarkedProcesses:
    """Processes whose environment holds `mark` (NAME=value, unique to one lab)."""

    def __init__(self, mark: str) -> None:
        self._mark = mark

    def alive(self, containing: str = "") -> list[Process]:
        """Those that live now and have `containing` in their command line."""
        found = self._from_proc() if Path("/proc/self/environ").exists() else self._from_ps()
        return [process for process in found if containing in process.command]

    def kill(self) -> None:
        """End all of them, and return when they have ended (or after two seconds)."""
        ends = time.monotonic() + 2.0
        while time.monotonic() < ends and (left := self.alive()):
            for process in left:
                try:
                    os.kill(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.01)

    def _from_proc(self) -> list[Process]:
        mark, found = self._mark.encode(), []
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    found.append(Process(int(folder.name), words.strip()))
            except OSError:
                continue  # ended meanwhile, or another user's
        return found

    def _from_ps(self) -> list[Process]:
        done = subprocess.run(["ps", "-axEww", "-o", "pid=,command="], capture_output=True, text=True, check=False)
        lines = [line.split(None, 1) for line in done.stdout.splitlines() if self._mark in line]
        return [Process(int(pid), command) for pid, command in lines]

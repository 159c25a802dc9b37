"""The pipe by which programs on a machine ask things of the machine itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from metalfoundry.lab.ssh.event_loop import LoopThread


class ControlPipe:
    """A fifo at `path` from `open` to `close`; each line that is written there is handed to `hear`."""

    def __init__(self, path: Path, loop: LoopThread, hear: Callable[[str], object]) -> None:
        self._path, self._loop, self._hear = path, loop, hear
        self._file = -1

    def open(self) -> None:
        """Make it, and begin to listen."""
        os.mkfifo(self._path)
        self._file = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)
        self._loop.tell(lambda: self._loop.loop.add_reader(self._file, self._read))

    def deaf(self) -> None:
        """Listen no longer."""
        self._loop.tell(lambda: self._loop.loop.remove_reader(self._file))

    def close(self) -> None:
        """Let it go."""
        os.close(self._file)

    def _read(self) -> None:
        for line in os.read(self._file, 4096).decode().splitlines():
            self._hear(line)

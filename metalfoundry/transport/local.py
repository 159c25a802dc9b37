"""The only door to programs on this computer: the operator's own commands."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Protocol

from metalfoundry.model.errors import DeadlineExceeded
from metalfoundry.transport.base import Result
from metalfoundry.transport.clock import Cancel, Deadline

LOOK_SECONDS = 0.05
KEPT_BYTES = 64 * 1024


class Local(Protocol):
    """Runs shell lines on this computer; safe to use from several threads."""

    def run(self, line: str, added: Mapping[str, str], folder: Path, deadline: Deadline, cancel: Cancel) -> Result:
        """Run `line` in `folder` to its end, with `added` beside our own environment; both streams are in `stdout`.

        Raises DeadlineExceeded when it had to be ended, by `deadline` or by `cancel`, and OSError when it could not be
        started.
        """


class Shell:
    """The Local that really runs something: `/bin/sh -c`, in a process group of its own, without a terminal."""

    def run(self, line: str, added: Mapping[str, str], folder: Path, deadline: Deadline, cancel: Cancel) -> Result:
        """As Local.run. What it leaves running in the background is left alone, unless it had to be ended."""
        begun = deadline.clock.now().mono
        with tempfile.TemporaryFile() as out:  # no pipe: a program left in the background would hold its end
            process = subprocess.Popen(
                ["/bin/sh", "-c", line],
                env={**os.environ, **added},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status = _wait(process, deadline, cancel)
            except BaseException:
                _kill(process)
                raise
            said = _said(out)
        if status is None:
            raise DeadlineExceeded(
                f"it was ended: {cancel.reason}" if cancel.is_set() else "it did not end in time",
                where="this computer",
                evidence=said,
                sent=True,
            )
        return Result(128 - status if status < 0 else status, said, "", deadline.clock.now().mono - begun)


def _wait(process: subprocess.Popen[bytes], deadline: Deadline, cancel: Cancel) -> int | None:
    """Its exit status; None when it had to be ended."""
    while True:
        try:
            return process.wait(min(LOOK_SECONDS, deadline.remaining()))
        except subprocess.TimeoutExpired:
            if deadline.expired() or cancel.is_set():
                _kill(process)
                return None


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _said(out: IO[bytes]) -> str:
    size = out.seek(0, os.SEEK_END)
    out.seek(max(0, size - KEPT_BYTES))
    return out.read().decode(errors="replace")

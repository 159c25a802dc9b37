"""The operator's own commands, on this computer."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import Future, wait
from pathlib import Path
from typing import IO, Protocol

from metalfoundry.model.errors import DeadlineExceeded
from metalfoundry.transport.base import Result
from metalfoundry.transport.clock import Cancel, Deadline
from metalfoundry.transport.threads import PIECE_SECONDS, fulfil

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
        """As Local.run. What it leaves running in the background is left alone, unless it had to be ended.

        It runs in a thread of its own, where no Ctrl-C is heard: one that came while it is being started would lose it.
        """
        left = Cancel()
        future: Future[Result] = Future()
        thread = threading.Thread(
            target=lambda: fulfil(future, lambda: _run(line, added, folder, deadline, (cancel, left))), daemon=True
        )
        try:
            thread.start()
            while not wait([future], PIECE_SECONDS).done:
                continue
            return future.result()
        except BaseException:
            left.set("nobody waits for it any longer")
            if thread.ident is not None:
                thread.join()
            raise


def _run(
    line: str, added: Mapping[str, str], folder: Path, deadline: Deadline, cancels: tuple[Cancel, Cancel]
) -> Result:
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
        status = _wait(process, deadline, cancels)
        said = _said(out)
    if status is None:
        asked = next((cancel.reason for cancel in cancels if cancel.is_set()), "")
        raise DeadlineExceeded(
            f"it was ended: {asked}" if asked else "it did not end in time",
            where="this computer",
            evidence=said,
            sent=True,
        )
    return Result(128 - status if status < 0 else status, said, "", deadline.clock.now().mono - begun)


def _wait(process: subprocess.Popen[bytes], deadline: Deadline, cancels: tuple[Cancel, Cancel]) -> int | None:
    """Its exit status; None when it had to be ended."""
    while True:
        try:
            return process.wait(min(LOOK_SECONDS, deadline.remaining()))
        except subprocess.TimeoutExpired:
            if deadline.expired() or any(cancel.is_set() for cancel in cancels):
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

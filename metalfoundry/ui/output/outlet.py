"""stdout and stderr that may go away: a reader who has seen enough, a terminal that was closed, a full disk.

That costs the output alone. What a task does, its record and its exit code hang on nobody who reads.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from metalfoundry.ui.output.plain import say

GONE = (errno.EPIPE, errno.EIO, errno.EBADF)  # nobody is there who could be told


class Unread(Exception):
    """Nobody reads stdout any longer, and the task does nothing but write to it."""


class Outlet(io.TextIOBase):
    """Stands in for a standard stream; once it is lost, what is written to it is dropped.

    `ends`: instead, Unread is raised. A `stream` of None was closed from the start.
    """

    def __init__(self, name: str, stream: TextIO | None, ends: bool) -> None:
        self._name, self._stream = name, stream
        self.ends = ends
        self.lost = stream is None

    def write(self, text: str) -> int:
        """As a stream's, without an error of the stream's."""
        if self._stream is not None and not self.lost:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                self._stream.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
            except (OSError, ValueError) as error:
                self._lose(error)
        if self.lost and self.ends:
            raise Unread(self._name)
        return len(text)

    def flush(self) -> None:
        """As a stream's, without an error of the stream's."""
        if self._stream is not None and not self.lost:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._lose(error)

    def isatty(self) -> bool:
        """As the stream it stands for."""
        with suppress(OSError, ValueError):
            return self._stream is not None and self._stream.isatty()
        return False

    def fileno(self) -> int:
        """As the stream it stands for."""
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def writable(self) -> bool:
        """Yes."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As the stream it stands for."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def _lose(self, error: OSError | ValueError) -> None:
        """What lies in its buffer would be an error again when the interpreter flushes it at its end."""
        self.lost = True
        with suppress(OSError, ValueError):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self.fileno())
            os.close(nothing)
        if isinstance(error, OSError) and error.errno not in GONE:
            say(f"warning: {self._name} cannot be written any more: {error.strerror}", file=sys.stderr)


@contextmanager
def outlets(unread_ends: bool = False) -> Iterator[None]:
    """Put an Outlet in the place of each stream during the block; `unread_ends`: the loss of stdout raises Unread."""
    _fill()
    before = sys.stdout, sys.stderr
    out, err = Outlet("stdout", before[0], unread_ends), Outlet("stderr", before[1], False)
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        out.ends = False
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


def _fill() -> None:
    """A standard descriptor that is closed would be given to the next file, and get what is meant for people."""
    with suppress(OSError):
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            continue
        os.close(number)

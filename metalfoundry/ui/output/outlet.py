"""stdout and stderr that may go away: a reader who has seen enough, a terminal that was closed, a full disk.

That costs the output alone. What a task does, its record and its exit code hang on nobody who reads. Nor do they on one
who stops reading and stays, such as a pager or a terminal at Ctrl-S, where the task says so: a full pipe would hold up
a run whose window is open.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Condition, Thread
from typing import TextIO

from metalfoundry.ui.output.plain import say

GONE = (errno.EPIPE, errno.EIO, errno.EBADF)  # nobody is there who could be told
PATIENCE = 0.5  # seconds that a write waits for a reader who was quick until now
LAST_WORDS = 3.0  # seconds for what is still unread, once the task was interrupted or somebody else waits
ROOM = 2**20  # characters that are kept for a reader who has stopped


class Unread(Exception):
    """Nobody reads stdout any longer, and the task does nothing but write to it."""


class Pump:
    """Hands text to `write` in a thread of its own, so that nobody waits for it longer than PATIENCE, and that once.

    What has no ROOM is left out, whole texts at a time.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._changed = Condition()
        self._text, self._busy, self._slow = "", False, False
        self.left_out = 0
        Thread(target=self._run, name="output", daemon=True).start()

    def put(self, text: str) -> None:
        """Have it written: at once as a rule, and when there is a reader again where there is none now."""
        with self._changed:
            if self._text and len(self._text) + len(text) > ROOM:
                self.left_out += len(text)
                return
            self._text += text
            self._changed.notify_all()
            self._slow = self._slow or not self._changed.wait_for(self._idle, PATIENCE)

    def drain(self, seconds: float | None = None) -> bool:
        """Wait until all is written, at most `seconds`; say whether it is."""
        with self._changed:
            return self._changed.wait_for(self._idle, seconds)

    def _idle(self) -> bool:
        return not self._text and not self._busy

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._text))
                text, self._text, self._busy = self._text, "", True
            self._write(text)
            with self._changed:
                self._busy = False
                self._slow = self._slow and bool(self._text)
                self._changed.notify_all()


class Outlet(io.TextIOBase):
    """Stands in for a standard stream; once it is lost, what is written to it is dropped.

    `ends`: instead, Unread is raised. `waits`: a reader who stops reading stops the writer, as usual; else see Pump.
    A `stream` of None was closed from the start. `used`: something was written.
    """

    def __init__(self, name: str, stream: TextIO | None, ends: bool = False, waits: bool = True) -> None:
        self.stream = stream
        self._name = name
        self._pump = None if waits else Pump(self._put)
        self.ends = ends
        self.lost = stream is None
        self.used = False

    def write(self, text: str) -> int:
        """As a stream's, without an error of the stream's."""
        self.used = True
        if not self.lost and self._pump is not None:
            self._pump.put(text)
        elif not self.lost:
            self._put(text, flush=False)
        if self.lost and self.ends:
            raise Unread(self._name)
        return len(text)

    def flush(self) -> None:
        """As a stream's, without an error of the stream's."""
        if not self.lost and self._pump is None:
            self._put("")

    def finish(self, seconds: float | None = None) -> None:
        """Write what is left, in at most `seconds` where it does not wait for its reader; say what was left out."""
        self.ends = False
        self.flush()
        if self._pump is not None:
            self._pump.drain(seconds)
            if self._pump.left_out and not self.lost:
                text = f"warning: {self._pump.left_out} characters of {self._name} were left out: nobody read them"
                say(text, file=sys.stderr)

    def _put(self, text: str, flush: bool = True) -> None:
        assert self.stream is not None
        try:
            try:
                self.stream.write(text)
            except UnicodeEncodeError:
                self.stream.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
            if flush:
                self.stream.flush()
        except (OSError, ValueError) as error:
            self._lose(error)

    def isatty(self) -> bool:
        """As the stream it stands for."""
        with suppress(OSError, ValueError):
            return self.stream is not None and self.stream.isatty()
        return False

    def fileno(self) -> int:
        """As the stream it stands for."""
        if self.stream is None:
            raise io.UnsupportedOperation("fileno")
        return self.stream.fileno()

    def writable(self) -> bool:
        """Yes."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As the stream it stands for."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    def _lose(self, error: OSError | ValueError) -> None:
        """What lies in its buffer would be an error again when the interpreter flushes it at its end."""
        self.lost = True
        with suppress(OSError, ValueError):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self.fileno())
            os.close(nothing)
        if isinstance(error, OSError) and error.errno not in GONE:
            say(f"warning: {self._name} cannot be written any more: {error.strerror}", file=sys.stderr)


class Aside(io.TextIOBase):
    """A file beside the terminal, perhaps a FIFO whose reader stops reading: see Pump. Text is added at its end.

    An error comes out of the next call. At its end a reader is waited for as long as he reads. Raises OSError where it
    cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._pump = Pump(self._put)
        self._error: OSError | None = None
        self._written = 0

    def write(self, text: str) -> int:
        """As a stream's."""
        self._pump.put(text)
        self._tell()
        return len(text)

    def close(self) -> None:
        """Write what is left. Raises OSError where that was not possible, or something had to be left out before."""
        if self.closed:
            return
        super().close()
        before = self._written
        while not (done := self._pump.drain(LAST_WORDS)) and self._written > before:
            before = self._written
        if done:
            os.close(self._file)  # else a write still waits for it, and must not find another file under its number
        self._tell()
        if self._pump.left_out or not done:
            raise TimeoutError(errno.ETIMEDOUT, "it was not read in time, and some of it was left out")

    def _put(self, text: str) -> None:
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        try:
            while data and not self._error:
                count = os.write(self._file, data[:65536])
                self._written += count
                data = data[count:]
        except OSError as error:
            self._error = error

    def _tell(self) -> None:
        if self._error:
            raise self._error


@contextmanager
def outlets(
    unread_ends: bool = False, waits: bool = True, hurried: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Put an Outlet in the place of each stream during the block; `unread_ends`: the loss of stdout raises Unread.

    `waits` as Outlet's; where it does not, the end does, unless it is `hurried`.
    """
    _fill()
    before = sys.stdout, sys.stderr
    bare = [stream.stream if isinstance(stream, Outlet) else stream for stream in before]
    out, err = Outlet("stdout", bare[0], unread_ends, waits), Outlet("stderr", bare[1], waits=waits)
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        try:
            for outlet in (out, err):
                outlet.finish(LAST_WORDS if hurried() else None)
        finally:
            sys.stdout, sys.stderr = before


def _fill() -> None:
    """A standard descriptor that is closed would be given to the next file, and get what is meant for people."""
    with suppress(OSError):
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            continue
        os.close(number)

"""Some lines at the bottom of a terminal, repainted in place; whatever else is said meanwhile goes above them.

rich's Live forgets how its lines wrap when the terminal gets narrower, and leaves their remains behind; so the painting
is done here, and the text is rich's.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from threading import RLock
from typing import TextIO

from rich.console import Console
from rich.text import Text

from metalfoundry.ui.output.tables import shown

# A terminal that knows this mode shows a frame when it is whole; others pass over it.
BEGIN, END = "\x1b[?2026h", "\x1b[?2026l"


class Screen:
    """The region. All methods may be called from any thread."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = RLock()
        self._lines: list[Text] = []
        self._frame: list[str] = []  # as it stands on the terminal, and how many cells each of its lines takes
        self._cells: list[int] = []
        self._hidden = False

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines that a frame may have: the last column stays free, so that no line wraps."""
        width, height = self._console.size
        return max(10, width - 1), max(1, height - 1)

    def paint(self, lines: Sequence[Text], whole: bool = False) -> None:
        """Show this frame in place of the last one; a frame that has not changed costs nothing.

        It is cut to the terminal's height, unless it is the last one and wanted `whole`: then it may scroll.
        """
        with self._lock:
            self._lines = [shown(line) for line in lines]
            if not self._hidden:
                self._show("", whole)

    def say(self, text: str) -> None:
        """Put whole lines of text above the region, for good."""
        with self._lock:
            said = text.removesuffix("\n").replace("\n", "\x1b[K\r\n") + "\x1b[K\r\n"
            if self._hidden:
                self._write(said)
            else:
                self._show(said)

    def say_text(self, text: Text, indent: int = 0) -> None:
        """Put rich text above the region, wrapped at its words; what wraps is indented."""
        first, *rest = shown(text).wrap(self._console, max(20, self.size[0] - indent))
        said = [first, *(Text(" " * indent).append_text(line) for line in rest)]
        for line in said:
            line.rstrip()
        self.say("\n".join(self._rendered(line) for line in said))

    def hide(self) -> None:
        """Take the region away, for somebody who asks the operator something."""
        with self._lock:
            self._hidden = True
            self._write(f"{self._home()}\x1b[J" if self._frame else "")
            self._frame, self._cells = [], []

    def show(self) -> None:
        """Bring the region back, where the cursor stands."""
        with self._lock:
            self._hidden = False
            self._show("")

    def leave(self) -> None:
        """Let the last frame stand and go on below it."""
        with self._lock:
            if self._frame:
                self._write("\r\n")
            self._lines, self._frame, self._cells = [], [], []

    def _show(self, said: str, whole: bool = False) -> None:
        width, height = self.size
        lines = [line.copy() for line in (self._lines if whole else self._lines[:height])]
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        frame, cells = [self._rendered(line) for line in lines], [line.cell_len for line in lines]
        if not said and frame == self._frame:
            return
        body = "\x1b[K\r\n".join(frame)
        self._write(f"{BEGIN}{self._home()}{said}{body}\x1b[J{END}")
        self._frame, self._cells = frame, cells

    def _home(self) -> str:
        """Back to the first line's start. Lines that were wider than the terminal is now have wrapped."""
        columns = max(1, self._console.size.width)
        rows = sum(max(1, -(-cells // columns)) for cells in self._cells)
        return "\r" + (f"\x1b[{rows - 1}A" if rows > 1 else "")

    def _rendered(self, text: Text) -> str:
        with self._console.capture() as captured:
            self._console.print(text, end="", soft_wrap=True)
        return captured.get()

    def _write(self, text: str) -> None:
        self._console.file.write(text)
        self._console.file.flush()


class Above(io.TextIOBase):
    """Stands in for stdout or stderr while a region is shown: whole lines go above it."""

    def __init__(self, screen: Screen, stream: TextIO) -> None:
        self._screen, self._stream, self._rest = screen, stream, ""

    def write(self, text: str) -> int:
        """Keep what is no whole line yet."""
        *lines, self._rest = (self._rest + text).split("\n")
        if lines:
            self._screen.say("\n".join(lines))
        return len(text)

    def isatty(self) -> bool:
        """As the stream it stands for."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """As the stream it stands for."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """Yes."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As the stream it stands for."""
        return self._stream.encoding

    def finish(self) -> None:
        """Say what was no whole line."""
        if self._rest:
            self._screen.say(self._rest)
            self._rest = ""

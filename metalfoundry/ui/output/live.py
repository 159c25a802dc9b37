"""The live view of runs on a terminal: one row for each server, repainted in place."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Event, RLock, Thread
from types import TracebackType
from typing import Protocol, TextIO

from rich.console import Console
from rich.text import Text

from metalfoundry.model.events import ClaimChanged, Notice, Record, WindowChanged, WindowUnsafe
from metalfoundry.records.estimate import History, NoHistory
from metalfoundry.transport.clock import Clock, SystemClock
from metalfoundry.ui.output.event_lines import PlainLines, text_of
from metalfoundry.ui.output.live_table import Board
from metalfoundry.ui.output.repaint import Above, Screen
from metalfoundry.ui.output.tables import Paper

__all__ = ["Live", "PlainLines", "View", "view_for"]

INDENT = 9  # where the time ends
INTERVAL = 0.25  # seconds between two looks at whether a frame has changed


class View(Protocol):
    """Shows runs: a sink, and a context manager around all of them."""

    def __call__(self, record: Record) -> None:
        """Take one record."""

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the summary, and say what was kept back with `after`."""

    def expect(self, servers: Iterable[str]) -> None:
        """These servers will be worked on."""

    def paused(self) -> AbstractContextManager[object]:
        """Draw nothing meanwhile: the operator is asked something."""

    def after(self, say: Callable[[], object]) -> None:
        """Call `say` where its words do not get lost: at once, or below the summary."""


def view_for(stream: TextIO, history: History | None = None) -> View:
    """Rows on a terminal that can move its cursor, plain lines elsewhere (pipe, file, TERM=dumb)."""
    console = Paper(stream)
    if stream.isatty() and not console.is_dumb_terminal:
        return Live(console, history or NoHistory())
    return PlainLines(stream)


class Live:
    """Rows that are looked at four times a second and painted when they have changed.

    What is printed meanwhile to the same terminal goes above the rows; so do changes of the window, and notices.
    """

    def __init__(
        self, console: Console, history: History, clock: Clock | None = None, interval: float = INTERVAL
    ) -> None:
        self._board = Board(history)
        self._screen = Screen(console)
        self._console = console
        self._clock = clock or SystemClock()
        self._interval = interval
        self._lock = RLock()
        self._over = Event()
        self._thread: Thread | None = None
        self._later: list[Callable[[], object]] = []
        self._above: list[tuple[str, TextIO, Above]] = []

    def __call__(self, record: Record) -> None:
        """Take one record; what must not scroll away with the rows is said above them."""
        with self._lock:
            self._board.take(record)
        kept = isinstance(record.event, Notice | WindowChanged | WindowUnsafe)
        kept = kept or (isinstance(record.event, ClaimChanged) and record.event.state not in ("taken", "given back"))
        text = text_of(record) if kept else None
        if text is not None:
            self._screen.say_text(text, INDENT)
        if isinstance(record.event, WindowUnsafe):
            self._screen.say(record.event.command)  # unbroken, so that it can be copied

    def __enter__(self) -> Live:
        self._screen.paint([Text(f"{self._clock.now().wall.astimezone():%H:%M:%S} opening the site …", style="dim")])
        self._redirect()
        self._thread = Thread(target=self._keep_painting, name="live view", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        self._restore()
        with self._lock:
            self._screen.paint(self._board.summary(self._clock.now().wall, self._screen.size[0]), whole=True)
        self._screen.leave()
        for say in self._later:
            say()
        self._later.clear()

    def expect(self, servers: Iterable[str]) -> None:
        """Show a row for each from the start."""
        with self._lock:
            self._board.expect(servers)

    def after(self, say: Callable[[], object]) -> None:
        """Call `say` at the end, so that its words stand below the rows."""
        self._later.append(say)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Give the terminal back while the operator is asked."""
        self._screen.hide()
        self._restore()
        try:
            yield
        finally:
            self._redirect()
            self._screen.show()

    def paint(self) -> None:
        """Show the present moment."""
        with self._lock:
            lines = self._board.lines(self._clock.now().wall, *self._screen.size)
        if lines:
            self._screen.paint(lines)

    def _keep_painting(self) -> None:
        while not self._over.wait(self._interval):
            self.paint()

    def _redirect(self) -> None:
        """Only what would land on this terminal anyway: a stderr that goes to a file goes on doing so."""
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream.isatty():
                above = Above(self._screen, stream)
                self._above.append((name, stream, above))
                setattr(sys, name, above)

    def _restore(self) -> None:
        for name, stream, above in self._above:
            above.finish()
            if getattr(sys, name) is above:
                setattr(sys, name, stream)
        self._above.clear()

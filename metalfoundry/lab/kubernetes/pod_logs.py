"""What `kubectl logs` reads in the embedded cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

TICK = 0.1


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a container's log, with its time (UTC)."""

    at: datetime
    text: str
    container: str = ""


class PodLogs:
    """The lines of every pod, in the order they came; safe to use from several threads."""

    def __init__(self) -> None:
        self._lines: dict[str, list[Line]] = {}
        self._grown = threading.Condition()

    def append(self, pod: str, text: str, container: str = "", at: datetime | None = None) -> None:
        """Add one line without its newline; `at` is now where it is not given."""
        with self._grown:
            self._lines.setdefault(pod, []).append(Line(at or datetime.now(UTC), text.rstrip("\n"), container))
            self._grown.notify_all()

    def read(self, pod: str) -> list[Line]:
        """All lines so far."""
        with self._grown:
            return list(self._lines.get(pod, ()))

    def follow(self, pod: str, seen: int, stop: threading.Event) -> Iterator[Line]:
        """Yield each line after the first `seen`, as it comes, until `stop` is set."""
        while not stop.is_set():
            with self._grown:
                lines = self._lines.get(pod, [])
                if len(lines) <= seen:
                    self._grown.wait(TICK)
                    continue
                line = lines[seen]
            seen += 1
            yield line

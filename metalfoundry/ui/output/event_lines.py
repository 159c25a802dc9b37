"""The events of a run as lines: coloured on a terminal, plain elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TextIO

from rich.text import Text

from metalfoundry.model.events import (
    ActionEnded,
    ActionStarted,
    ClaimChanged,
    Event,
    GuardChanged,
    MachineSeen,
    Notice,
    PhaseEnded,
    PhaseSkipped,
    PhaseStarted,
    Record,
    WindowChanged,
    WindowUnsafe,
)
from metalfoundry.model.plain_text import inline
from metalfoundry.ui.output.tables import Paper

STYLES = {"ok": "green", "bad": "bold red", "window": "yellow", "dim": "dim", "warning": "yellow"}


class PlainLines:
    """A sink: one line for a phase, an action, a change of the window; `time server what`."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._console = Paper(stream or sys.stdout, soft_wrap=True)

    def __call__(self, record: Record) -> None:
        """Print what is worth a line."""
        text = text_of(record)
        if text is not None:
            self._console.print(text)
        if isinstance(record.event, WindowUnsafe):
            self._console.print(Text(record.event.command))

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lines are printed as they come: nothing is left to do."""

    def expect(self, servers: Iterable[str]) -> None:
        """Nothing to show before something happens."""

    def paused(self) -> AbstractContextManager[object]:
        """Nothing is in the way of a question."""
        return nullcontext()

    def after(self, say: Callable[[], object]) -> None:
        """Say something about a run that is over: at once."""
        say()


def text_of(record: Record) -> Text | None:
    """`time server what`; None for what is not worth a line."""
    line = line_of(record.event)
    if line is None:
        return None
    style, words = line
    text = Text(f"{record.time.astimezone():%H:%M:%S} ", style=STYLES["dim"])
    text.append(f"{record.server:<16} " if record.server else "", style="bold")
    text.append(inline(words), style=STYLES.get(style, ""))
    return text


def line_of(event: Event) -> tuple[str, str] | None:
    """A style's name and the words for what is worth a line; None for the rest."""
    match event:
        case PhaseStarted(title=title):
            return "dim", f"  {title} …"
        case PhaseSkipped(title=title, why=why):
            return "dim", f"- {title:<10} not needed: {why}"
        case PhaseEnded(title=title, seconds=seconds, error=error, said=said):
            return ("bad", f"✗ {title:<10} {error}") if error else ("ok", f"✓ {title:<10} {seconds:6.1f} s  {said}")
        case ActionStarted(action=action, index=index, total=total, timeout=timeout):
            limit = f", at most {timeout:.0f} s" if timeout else ""
            return "", f"    action {index}/{total} {action}{limit}"
        case ActionEnded(action=action, state=state, seconds=seconds):
            return "" if state == "SUCCESS" else "bad" if state != "LEFT" else "dim", (
                f"    action {action} {state} after {seconds:.1f} s"
            )
        case WindowChanged(state=state, why=why, proof=proof, expires=expires):
            tail = "; ".join(word for word in (why, proof, f"until {expires}" if expires else "") if word)
            return "window", f"  netboot is {state}: {tail}"
        case WindowUnsafe(why=why):
            return "bad", f"  netboot is not confirmed closed: {why}; this closes it by hand:"
        case ClaimChanged(state=state, holder=holder):
            return "dim", f"  claim {state} ({holder})"
        case GuardChanged(state=state, where=where):
            return "dim", f"  guard {state} {where}".rstrip()
        case MachineSeen(system=system, boot_id=boot_id):
            return "", f"  the machine is {system}" + (f", boot id {boot_id[:8]}" if boot_id else "")
        case Notice(text=text, level=level):
            return level, f"  {text}"
        case _:
            return None

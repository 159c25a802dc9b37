"""Where errors become exit codes: every task runs inside `boundary`, and nothing else maps errors."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from types import FrameType
from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit

from metalfoundry.model.errors import Interrupted, InventoryError, MetalfoundryError, Terminated, error_fields
from metalfoundry.model.plain_text import json_text
from metalfoundry.model.program import ours
from metalfoundry.ui.output.outlet import Unread, outlets
from metalfoundry.ui.output.plain import say

if TYPE_CHECKING:
    from metalfoundry.transport.clock import Clock

SAME_WISH = {signal.SIGINT: 0.2, signal.SIGTERM: 10.0, signal.SIGHUP: inf}  # seconds since the first signal of all


@contextmanager
def boundary(unread_ends: bool = False, waits: bool = True, json: bool = False) -> Iterator[None]:
    """Turn what the library raises into a message on stderr and the documented exit code.

    With METALFOUNDRY_DEBUG in the environment the traceback is shown as well. SIGTERM and SIGHUP end the task like
    Ctrl-C does, with 128 + signal; a signal that was ignored before (nohup) stays so. Output that nobody reads is
    dropped; with `unread_ends`, for a task that would go on writing for ever, it ends the task with 141. Without
    `waits`, for a task that must go on, who stops reading does not stop it. With `json` an error that comes before
    anything was printed is a JSON document on stdout as well. Inside another boundary this one does nothing.
    """
    if any(isinstance(signal.getsignal(number), Interrupts) for number in Interrupts.NUMBERS):
        yield
        return
    heard = Interrupts()
    wanted = [number for number in heard.NUMBERS if signal.getsignal(number) is not signal.SIG_IGN]
    restore = [(number, signal.signal(number, heard)) for number in wanted]
    try:
        with outlets(unread_ends, waits, lambda: heard.any):
            try:
                yield
            except (Exit, GeneratorExit):
                raise
            except BaseException as error:  # noqa: BLE001 - no traceback reaches a user who did not ask for it
                raise Exit(code=_code(error, json)) from None
    except KeyboardInterrupt as error:  # a person has waited long enough for whoever reads the last words
        raise Exit(code=_code(error)) from None
    finally:
        for number, handler in restore:
            signal.signal(number, signal.SIG_IGN if heard.any else handler)


def _code(error: BaseException, json: bool = False) -> int:
    """The exit code, once the error is told. What comes while a task leaves with a code of its own changes nothing."""
    before = error.__context__
    while before is not None and not isinstance(before, Exit):
        before = before.__context__
    if before is not None:
        return int(before.code)
    if isinstance(error, Unread):  # whoever read our output, such as `head`, has seen enough
        return 128 + signal.SIGPIPE
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, KeyboardInterrupt):
        number = error.signal if isinstance(error, Terminated) else signal.SIGINT
        error = Interrupted("interrupted", next=f"{ours('netboot.status')} shows what is still open", signal=number)
    tell(error)
    if json and not getattr(sys.stdout, "used", False):
        say(json_text(error_json(error)))
    return exit_code(error)


def tell(error: BaseException) -> None:
    """What, where, evidence, what now: on stderr."""
    say(described(error), file=sys.stderr)
    if os.environ.get("METALFOUNDRY_DEBUG"):
        say("".join(traceback.format_exception(error)), file=sys.stderr, end="")


def exit_code(error: BaseException) -> int:
    """The documented exit code of this error."""
    return error.exit_code if isinstance(error, MetalfoundryError) else 1


def error_json(error: BaseException) -> dict[str, Any]:
    """The error as a JSON-able object, without secrets: what a task with --json prints in its document's place."""
    from metalfoundry.model import redact

    fields = {name: redact.text(text) for name, text in error_fields(error).items()}
    return {"schema": 1, "exit_code": exit_code(error), "error": fields}


def described(error: BaseException) -> str:
    """The message as lines of text, without secrets."""
    from metalfoundry.model import redact  # here: its patterns take their time, and most tasks end well

    what, where, step, evidence = (redact.text(text) for text in error_fields(error).values())
    lines = ["error: " + what.replace("\n", "\n       ")]
    if where:
        lines.append("  where: " + where.replace("\n", "\n         "))
    if isinstance(error, InventoryError) and error.faults:
        lines += [f"  fault: {fault}" for fault in error.faults]
    else:
        lines += [f"  proof: {line}" for line in evidence.splitlines()[-8:]]
    if step:
        lines.append("  now:   " + step.replace("\n", "\n         "))
    return "\n".join(line.rstrip() for line in "\n".join(lines).rstrip().split("\n"))


class Interrupts:
    """The signal handler of one task. 1st signal: clean up. 2nd: abort the clean-up. 3rd to 9th: ignored, so that the
    final message gets out. 10th: exit.

    Only what a person does counts again. A terminal that is closed, a session or a service that is stopped, and a
    wrapper such as timeout(1) send two or three signals for one wish: SIGHUP from the kernel and from the shell,
    SIGTERM with SIGHUP, each to the process and to its group.
    """

    NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    LAST = 10

    def __init__(self, clock: Clock | None = None) -> None:
        from metalfoundry.transport.clock import SystemClock

        self._clock = clock or SystemClock()
        self._first = 0.0
        self._count = 0

    @property
    def any(self) -> bool:
        """Whether the process is on its way out, so that nothing more is to be heard."""
        return self._count > 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt for what counts."""
        now = self._clock.now().mono
        if self._count and now - self._first < SAME_WISH[signal.Signals(number)]:
            return
        self._first = self._first if self._count else now
        self._count += 1
        if self._count >= self.LAST:
            os._exit(128 + number)
        if self._count <= 2:
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)

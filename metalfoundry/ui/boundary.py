"""Where errors become exit codes: every task runs inside `boundary`, and nothing else maps errors."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from invoke.exceptions import Exit

from metalfoundry.model.errors import Interrupted, InventoryError, MetalfoundryError, Terminated
from metalfoundry.ui.plain import say

DEBUG = "run it again with METALFOUNDRY_DEBUG=1 in the environment, and report what it prints"


@contextmanager
def boundary() -> Iterator[None]:
    """Turn what the library raises into a message on stderr and the documented exit code.

    With METALFOUNDRY_DEBUG in the environment the traceback is shown as well. SIGTERM and SIGHUP end the task like
    Ctrl-C does, with 128 + signal; a signal that was ignored before (nohup) stays so.
    """
    heard = _Interrupts()
    wanted = [number for number in heard.NUMBERS if signal.getsignal(number) is not signal.SIG_IGN]
    restore = [(number, signal.signal(number, heard)) for number in wanted]
    try:
        yield
    except MetalfoundryError as error:
        tell(error)
        raise Exit(code=error.exit_code) from None
    except KeyboardInterrupt as error:
        number = error.signal if isinstance(error, Terminated) else signal.SIGINT
        interrupted = Interrupted("interrupted", next="fab netboot.status shows what is open still", signal=number)
        tell(interrupted)
        raise Exit(code=interrupted.exit_code) from None
    except Exit:
        raise
    except BrokenPipeError:  # whoever read our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Exit(code=128 + signal.SIGPIPE) from None
    except Exception as error:  # noqa: BLE001 - no traceback reaches a user who did not ask for it
        tell(error)
        raise Exit(code=1) from None
    finally:
        for number, handler in restore:
            signal.signal(number, signal.SIG_IGN if heard.any else handler)


def tell(error: Exception) -> None:
    """What, where, evidence, what now: on stderr."""
    say(described(error), file=sys.stderr)
    if os.environ.get("METALFOUNDRY_DEBUG"):
        say("".join(traceback.format_exception(error)), file=sys.stderr, end="")


def described(error: Exception) -> str:
    """The message as lines of text."""
    if not isinstance(error, MetalfoundryError):
        return f"error: unexpected: {error!r}\n  now:   {DEBUG}"
    lines = ["error: " + error.what.replace("\n", "\n       ")]
    if error.where:
        lines.append("  where: " + error.where.replace("\n", "\n         "))
    if isinstance(error, InventoryError) and error.faults:
        lines += [f"  fault: {fault}" for fault in error.faults]
    elif error.evidence:
        lines += [f"  proof: {line}" for line in error.evidence.splitlines()[-8:]]
    if error.next:
        lines.append("  now:   " + error.next.replace("\n", "\n         "))
    return "\n".join(lines)


class _Interrupts:
    """The handler of one task: the first interrupt ends it, the second ends that, and the hand that goes on hitting
    the keys cannot cut the last words short; should even that hang, the tenth ends the process.
    """

    NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    LAST = 10

    def __init__(self) -> None:
        self._count = 0

    @property
    def any(self) -> bool:
        """Whether the process is on its way out, so that nothing more is to be heard."""
        return self._count > 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count >= self.LAST:
            os._exit(128 + number)
        if self._count <= 2:
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)

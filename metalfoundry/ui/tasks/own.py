"""For tasks of a user's own in a fabfile: a Foundry with our errors, exit codes and interrupts."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from metalfoundry.ui.tasks.errors import boundary

if TYPE_CHECKING:
    from metalfoundry.foundry import Foundry
    from metalfoundry.model.bus import Sink


@contextmanager
def open_foundry(inventory: str = "", *, json: bool = False, sinks: Iterable[Sink] = ()) -> Iterator[Foundry]:
    """The Foundry of an inventory, for the body of one task; found as `Foundry.load` finds it.

    What happens is shown in lines on stdout, with `json` on stderr, and given to `sinks`. What the block raises is told
    on stderr and ends the program with the error's exit code. SIGTERM and SIGHUP interrupt it as Ctrl-C does.
    """
    with boundary(json=json):
        from metalfoundry.foundry import Foundry
        from metalfoundry.ui.output.event_lines import PlainLines

        with Foundry.load(inventory or None, sinks=[PlainLines(sys.stderr if json else sys.stdout), *sinks]) as foundry:
            yield foundry

"""What tasks share: the help of their options, the inventory to open, and the exit code at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from fabric import task as fabric_task
from fabric.tasks import Task as FabricTask
from invoke.exceptions import Exit
from invoke.parser.argument import Argument

from metalfoundry.model.errors import UsageError
from metalfoundry.ui.output.plain import say
from metalfoundry.ui.tasks.errors import boundary

if TYPE_CHECKING:
    from metalfoundry.foundry import Foundry
    from metalfoundry.model.bus import Sink
    from metalfoundry.records.run_store import Journal
    from metalfoundry.ui.output.live import View

INVENTORY = ""
HELP = {
    "name": "a server, several (NAME,NAME…), a pattern such as colo-*, or all",
    "server": "only these servers: NAME,NAME… (default: all)",
    "inventory": "the inventory file (default: $METALFOUNDRY_INVENTORY, else ./inventory.yaml)",
    "json": "print one JSON document on stdout, and everything else on stderr",
    "yes": "do not ask for confirmation",
    "reason": "the reason; shown to whoever meets the claim",
    "events": "append every event to this file as a JSON line; - for stdout",
}


class Task(FabricTask):  # type: ignore[misc]  # Fabric has no type information
    """Fabric's, whose help can be read more than once."""

    help: dict[str, str]

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """As Invoke's, which takes the texts out of `help`."""
        kept = dict(self.help)
        try:
            return list(super().get_arguments(ignore_unknown_help))
        finally:
            self.help = kept


def task(**settings: Any) -> Any:
    """Fabric's decorator, for a task without one-letter options."""
    return fabric_task(auto_shortflags=False, klass=Task, **settings)


def words(*names: str, **more: str) -> dict[str, str]:
    """Help for the flags `names` that several tasks share, and `more` of a task's own."""
    return {name: HELP[name] for name in names} | more


@contextmanager
def opened(
    inventory: str,
    json: bool = False,
    events: str = "",
    journal: Journal | None = None,
    view: View | None = None,
    unread_ends: bool = False,
    quiet: bool = False,
) -> Iterator[Foundry]:
    """The Foundry of `inventory` inside the boundary, with its events on the terminal: on stderr under `json`, and with
    `quiet`, for a task whose stdout is not the place for them.

    `events` names a file for JSON lines, or - for stdout; `journal` keeps each run; `view` shows them instead of lines.
    `unread_ends` and `json`: as boundary's.
    """
    with boundary(unread_ends, json=json), ExitStack() as stack:
        if view is not None:
            stack.enter_context(view)  # before the imports: the operator sees something at once
        from metalfoundry.foundry import Foundry
        from metalfoundry.ui.output.event_lines import PlainLines

        sinks: list[Sink] = [view or PlainLines(sys.stderr if json or quiet or events == "-" else sys.stdout)]
        if events:
            sinks.append(stack.enter_context(_writing(events)))
        if journal is not None:
            stack.callback(journal.close)
            sinks.append(journal)
        yield stack.enter_context(Foundry.load(inventory or None, sinks=sinks))


def watching(json: bool, events: str) -> View:
    """The live view on a terminal; plain lines elsewhere, and on stderr where stdout is for a program.

    Something is said first, before anything else is loaded; on a terminal the next line is written over it.
    """
    from metalfoundry.transport.clock import SystemClock

    stream = sys.stderr if json or events == "-" else sys.stdout
    say(
        f"{SystemClock().now().wall.astimezone():%H:%M:%S} opening the site …",
        file=stream,
        end="\r" if stream.isatty() else "\n",
        flush=True,
    )
    from metalfoundry.records.estimate import KeptHistory
    from metalfoundry.records.run_store import home
    from metalfoundry.ui.output.live import PlainLines, view_for

    return PlainLines(stream) if json or events == "-" else view_for(stream, KeptHistory(home()))


@contextmanager
def _writing(path: str) -> Iterator[Sink]:
    """The sink for --events; raises UsageError where the file cannot be opened."""
    from metalfoundry.records.run_store import EventFile
    from metalfoundry.ui.output.outlet import Aside

    if path == "-":
        yield EventFile("stdout", sys.stdout, warn)
        return
    try:
        stream = Aside(path)
    except OSError as error:
        what = f"--events {path} cannot be written: {error.strerror}"
        raise UsageError(what, next="name another file, or -") from error
    sink = EventFile(path, stream, warn)
    try:
        yield sink
    finally:
        sink.close()


def warn(text: str) -> None:
    """A warning on stderr, for what costs the record and not the run."""
    say(f"warning: {text}", file=sys.stderr)


def finish(exit_code: int) -> NoReturn:
    """End the task with this exit code."""
    raise Exit(code=exit_code)

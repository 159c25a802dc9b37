"""The words of a task: names, refusals, help, the inventory to open, and the exit code at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, NoReturn

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.parser.context import ParserContext
from invoke.tasks import Task

from metalfoundry.model.errors import UsageError
from metalfoundry.model.program import ours
from metalfoundry.ui.output.plain import say
from metalfoundry.ui.tasks.errors import boundary

if TYPE_CHECKING:
    from metalfoundry.foundry import Foundry
    from metalfoundry.model.bus import Sink
    from metalfoundry.records.run_store import Journal
    from metalfoundry.ui.output.live import View

INVENTORY = ""
HELP = {
    "name": "server, or NAME,NAME…, or a pattern such as colo-*, or all",
    "server": "only these: NAME,NAME… (default: all)",
    "inventory": "inventory file (default: $METALFOUNDRY_INVENTORY, else ./inventory.yaml)",
    "json": "one JSON document on stdout, everything else on stderr",
    "yes": "do not ask for the server's name",
    "reason": "why, for whoever finds the claim",
    "events": "write every event as a JSON line to this file, or - for stdout",
}


def words(*names: str, **more: str) -> dict[str, str]:
    """Help for the flags `names` that several tasks share, and `more` of a task's own."""
    return {name: HELP[name] for name in names} | more


@contextmanager
def opened(
    c: Context,
    inventory: str,
    json: bool = False,
    events: str = "",
    journal: Journal | None = None,
    view: View | None = None,
    unread_ends: bool = False,
) -> Iterator[Foundry]:
    """The Foundry of `inventory` inside the boundary, with its events on the terminal (stderr under `json`).

    `events` names a file for JSON lines, or - for stdout; `journal` keeps each run; `view` shows them instead of lines.
    `unread_ends`: as boundary's.
    """
    with boundary(unread_ends):
        _refuse_fabric_flags(c)
        with ExitStack() as stack:
            if view is not None:
                stack.enter_context(view)  # before the imports: the operator sees something at once
            from metalfoundry.foundry import Foundry
            from metalfoundry.ui.output.event_lines import PlainLines

            sinks: list[Sink] = [view or PlainLines(sys.stderr if json or events == "-" else sys.stdout)]
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


def check_names(c: Context, command: str, name: str, task: Any) -> None:
    """Print the task's help for --help in the name's place; refuse a flag there. (Invoke takes either for a name.)"""
    with boundary():
        if name in ("--help", "-h", "help"):
            print_help(command, task)
            raise Exit(code=0)
        if name.startswith("-") or not name.strip(", "):
            raise UsageError(
                f"{name!r} stands where a server's name belongs",
                next=f"fab {command} NAME[,NAME…] {name if name.startswith('-') else ''}".rstrip(),
            )


def print_help(command: str, task: Task[Any], takes: str = "NAME[,NAME…]") -> None:
    """Usage, what it does, and its flags; `takes` is what stands after the command."""
    say(f"Usage: fab {command} {takes} [--options]\n\n{cleandoc(task.__doc__ or '')}\n\nOptions:")
    for flags, text in ParserContext(command, args=task.get_arguments()).help_tuples():
        say(f"  {flags:<28} {text or ''}")


def finish(exit_code: int) -> NoReturn:
    """End the task with this exit code."""
    raise Exit(code=exit_code)


def _refuse_fabric_flags(c: Context) -> None:
    """Fabric would run the whole task once for each -H host, and --dry would answer every command with nothing."""
    if type(c).__name__ == "Connection":
        raise UsageError(
            "-H is not for these tasks: servers come from the inventory", next=ours("provision") + " NAME[,NAME…]"
        )
    if c.config.run.dry:
        raise UsageError("--dry would blind the run, for it answers every command with nothing", next="use --plan")

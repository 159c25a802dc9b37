"""`fab logs` on the terminal: time, source, text; where it reads goes to stderr."""

from __future__ import annotations

import sys
from contextlib import closing

from rich.console import Console
from rich.text import Text

from metalfoundry.commands.log_parser import LogLine
from metalfoundry.foundry import Foundry
from metalfoundry.model.durations import seconds
from metalfoundry.model.errors import UsageError
from metalfoundry.model.plain_text import json_text
from metalfoundry.runs.logs import Ask
from metalfoundry.site.logs import TELLER
from metalfoundry.ui.output.plain import say
from metalfoundry.ui.output.tables import Paper
from metalfoundry.ui.tasks.options import finish

_COLOURS = {"agent": "cyan", "bootkit": "cyan", "action": "green", "smee": "magenta", "server": "blue"}
_DEFAULT_TAIL, _HOOK_TAIL = 200, 50


def show(foundry: Foundry, name: str, *, source: str, since: str, tail: int, follow: bool, json: bool) -> None:
    """Print the lines; with `follow` until an interrupt."""
    default = _HOOK_TAIL if source == "hook" else _DEFAULT_TAIL
    ask = Ask(source, _seconds(since) if since else None, tail or default)
    out = Paper(soft_wrap=True)
    if follow:
        try:
            with closing(foundry.follow_logs(name, ask)) as lines:  # type: ignore[type-var]
                for line in lines:
                    if line is not None:
                        _print(out, line, json)
        except KeyboardInterrupt:  # how one stops reading: nothing was touched, nothing is to be said
            finish(130)
        return
    log = foundry.logs(name, ask)
    for line in log.lines:
        _print(out, line, json)
    for where, how in log.read.items():
        say(f"{where}: {how}", file=sys.stderr)
    for where, why in log.unseen.items():
        say(f"{where}: not seen: {why}", file=sys.stderr)


def _print(out: Console, line: LogLine, json: bool) -> None:
    if line.source == TELLER:
        say(f"-- {line.text}", file=sys.stderr, flush=True)
        return
    if json:
        at = line.time.isoformat(timespec="milliseconds") if line.time else None
        say(json_text({"time": at, "source": line.source, "text": line.text, "raw": line.raw}), flush=True)
        return
    at = f"{line.time.astimezone():%H:%M:%S.%f}"[:-3] if line.time else " " * 12
    text = Text(f"{at} ", style="dim")
    text.append(f"{line.source:<10} ", style=_COLOURS.get(line.source, "bold"))
    text.append("\n                        ".join(line.text.splitlines()))
    out.print(text)


def _seconds(text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise UsageError(f"--since {text}: {error}", next="--since 10m") from error

"""`fab report`: a recorded run as a picture, on the terminal or as one HTML page."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context

from metalfoundry.model.errors import UsageError
from metalfoundry.model.plain_text import json_text
from metalfoundry.ui.output.plain import say
from metalfoundry.ui.tasks.errors import boundary
from metalfoundry.ui.tasks.options import task, words

if TYPE_CHECKING:
    from metalfoundry.records.recorded_run import RecordedRun
    from metalfoundry.records.run_store import KeptRun


@task(
    positional=["run"],
    help=words(
        run="an id from `fab runs`, of a run or a whole fleet; or a server's name for its newest run",
        html="write one page of HTML, which needs no network, to this file; - for stdout",
        json="print the report as it was recorded",
    ),
)
def report(c: Context, run: str, html: str = "", json: bool = False) -> None:
    """Show a recorded run, in the terminal or as HTML.

    Example: fab report colo-server-01 --html report.html
    """
    with boundary(json=json):
        from metalfoundry.records.recorded_run import of_fleet, recorded
        from metalfoundry.records.run_store import find, home

        found = find(home(), run)
        if json:
            say(json_text(found.report, indent=2))
        elif found.fleet:
            _fleet(found, of_fleet(home(), found), html)
        else:
            _single(recorded(home(), run), html)


def _single(parts: Sequence[RecordedRun], html: str) -> None:
    if html:
        from metalfoundry.ui.output.report_html import page

        _write(html, page(parts))
        return
    from metalfoundry.ui.output.report_text import show
    from metalfoundry.ui.output.tables import Paper

    show(parts, Paper())


def _fleet(fleet: KeptRun, runs: Mapping[str, RecordedRun], html: str) -> None:
    if html:
        from metalfoundry.ui.output.fleet_html import fleet_page

        _write(html, fleet_page(fleet, runs))
        return
    from metalfoundry.ui.output.fleet_text import show_fleet
    from metalfoundry.ui.output.tables import Paper

    show_fleet(fleet, runs, Paper())


def _write(path: str, text: str) -> None:
    if path == "-":
        say(text)
        return
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", next="name another file, or -") from error
    say(f"wrote {path}", file=sys.stderr)

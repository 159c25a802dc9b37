"""`fab report`: a recorded run as a picture, on the terminal or as one HTML page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
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


@task(
    positional=["run"],
    help=words(
        run="a run id from `fab runs`, or a server's name for its newest run",
        html="write one page of HTML, which needs no network, to this file; - for stdout",
        json="print the report as it was recorded",
    ),
)
def report(c: Context, run: str, html: str = "", json: bool = False) -> None:
    """Show a recorded run, in the terminal or as HTML.

    Example: fab report colo-server-01 --html report.html
    """
    with boundary(json=json):
        from metalfoundry.records.recorded_run import recorded
        from metalfoundry.records.run_store import home

        parts = recorded(home(), run)
        if json:
            say(json_text(parts[-1].report, indent=2))
        elif html:
            _write(html, parts)
        else:
            from metalfoundry.ui.output.report_text import show
            from metalfoundry.ui.output.tables import Paper

            show(parts, Paper())


def _write(path: str, parts: Sequence[RecordedRun]) -> None:
    from metalfoundry.ui.output.report_html import page

    text = page(parts)
    if path == "-":
        say(text)
        return
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", next="name another file, or -") from error
    say(f"wrote {path}", file=sys.stderr)

"""The one way for text to a terminal or a pipe: print belongs here, and everything passes by model/plain_text.py."""

from __future__ import annotations

import sys
from typing import TextIO

from metalfoundry.model.plain_text import visible


def say(text: object = "", *, file: TextIO | None = None, end: str = "\n", flush: bool = False) -> None:
    """As print, `visible`; to stdout unless `file` is given."""
    print(visible(str(text)), file=file or sys.stdout, end=end, flush=flush)

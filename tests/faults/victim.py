"""A client that SIGKILL ends after a remote command: `python -m tests.faults.victim INVENTORY NAME STORY AT RESUME`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.faults.spoil import Fault
from tests.faults.table import Case, Story, play

if __name__ == "__main__":
    inventory, name, story, at, resume = sys.argv[1:]
    case = Case(Story(story), at, Fault.KILL)
    row = play(Path(inventory), case, name, resume=bool(resume))
    sys.exit(f"ended with {row.code} before it was killed: {row.said}")

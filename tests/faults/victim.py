"""A client that SIGKILL ends after its n-th remote command: `python -m tests.faults.victim INVENTORY N`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.faults.spoil import Fault
from tests.faults.table import Case, provision

if __name__ == "__main__":
    row = provision(Path(sys.argv[1]), Case(int(at) if (at := sys.argv[2]).isdigit() else at, Fault.KILL))
    sys.exit(f"ended with {row.code} before it was killed: {row.said}")

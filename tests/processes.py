"""What /proc and the kernel say of processes that may end at any moment."""

from __future__ import annotations

import os


def session_of(pid: int) -> int:
    """The session of a process; 0 where it has ended."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0

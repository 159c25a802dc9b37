"""The guard's rule as tests/guard/rule.txt has it, and once more in Python, for guards that are played."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

COLUMNS = [
    "run",
    "known",
    "flux",
    "open",
    "age",
    "lease",
    "ending",
    "workflow",
    "uid",
    "until",
    "boot",
    "wf_uid",
    "wf_state",
    "wf_action",
    "verdict",
]
OVER = ("POST", "SUCCESS", "FAILED", "TIMEOUT")


def rows() -> list[dict[str, str]]:
    """Each case, by column; "" for nothing."""
    lines = (Path(__file__).parent / "rule.txt").read_text().splitlines()
    cells = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    return [{name: "" if cell == "-" else cell for name, cell in zip(COLUMNS, row, strict=True)} for row in cells]


def verdict(seen: Mapping[str, str]) -> str:
    """What the guard makes of one object."""
    if not seen["run"]:
        if seen["open"] and seen["known"]:
            return "close-claim-gone"
        return "unpause" if seen["flux"] else "stray" if seen["open"] else "nothing"
    if int(seen["age"]) >= int(seen["lease"]):
        return "end-expired"
    if seen["ending"]:
        return "shut-term"
    if not seen["workflow"]:
        return "keep"
    if seen["uid"] and seen["uid"] != seen["wf_uid"]:
        return "shut-deleted"
    state = seen["wf_state"].removeprefix("STATE_")
    if state in OVER or (state == "RUNNING" and seen["until"] != "end"):
        return f"shut-{state}"
    at_boot = state == "RUNNING" and seen["boot"] and seen["boot"] == seen["wf_action"]
    return "shut-boot-action" if at_boot else "keep"

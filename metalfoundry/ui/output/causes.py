"""The end of many runs, as lines of text: who failed, grouped by cause, each with one line of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def causes(fleet: Mapping[str, Any]) -> list[str]:
    """The lines of a fleet's report; nothing where none has failed. The most frequent cause comes first."""
    rows = {row["server"]: row for row in fleet["servers"]}
    failed = [name for group in fleet["causes"] for name in group["servers"]]
    total, alone = len(rows) + len(fleet["not_begun"]), len(fleet["not_begun"])
    left = f", {alone} left alone" if alone else ""
    lines = [f"{len(failed)} of {total} failed{left}:"] if failed else []
    wide = max(map(len, failed), default=0)
    for group in fleet["causes"]:
        lines.append(f"  {len(group['servers'])} x {group['cause']}")
        for name in group["servers"]:
            lines.append(f"    {name:<{wide}}  {rows[name]['exit_code']:>3}  {rows[name]['what']}")
        lines += [f"    {' ' * wide}  now: {group['next']}"] if group["next"] else []
    return lines

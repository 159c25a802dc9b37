"""Writes the tables of the docs that repeat what the code says: the lab's scenarios."""

from __future__ import annotations

import re
from pathlib import Path

from metalfoundry.lab.scenarios import SCENARIOS

PAGE = Path(__file__).parent.parent / "docs" / "lab.md"
HEAD = "| name | what happens |\n|---|---|\n"


def main() -> None:
    """Replace the table."""
    table = HEAD + "".join(f"| `{name}` | {scenario.story} |\n" for name, scenario in SCENARIOS.items())
    text = re.sub(re.escape(HEAD) + r"(\|.*\n)+", lambda _: table, PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

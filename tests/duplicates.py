"""`make check` looks for code that stands twice: the same statements, line for line, at two places of the package.

pylint's finder compares imports with imports and takes a minute of six more packages; this one takes a second.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("metalfoundry", "scripts", "benchmarks", "tests")
LINES = 6
ALLOWED = {
    frozenset(("tests/transport/servers.py", "tests/transport/test_lost_packets.py")): "two relays, of which one loses",
}
"""Pairs of files that may share a block, each with the reason."""


def blocks(path: Path) -> Iterator[tuple[str, int]]:
    """Every LINES lines of code in a row, without imports, docstrings and comments, and the first one's number."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    passed_over = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        ):
            passed_over |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = [
        (" ".join(line.split()), number)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if number not in passed_over and any(letter.isalnum() for letter in line.partition("#")[0])
    ]
    for first in range(len(lines) - LINES + 1):
        yield "\n".join(text for text, _ in lines[first : first + LINES]), lines[first][1]


def duplicates() -> list[str]:
    """`file:line ~ file:line` for each block that stands twice, its first line only."""
    places = defaultdict(list)
    for path in sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py")):
        for text, number in blocks(path):
            places[text].append((path.relative_to(ROOT).as_posix(), number))
    pairs: dict[frozenset[str], str] = {}
    for (first, at), *others in places.values():
        for other, there in others:
            pairs.setdefault(frozenset((first, other)), f"{first}:{at} ~ {other}:{there}")
    return [text for pair, text in pairs.items() if pair not in ALLOWED]


if __name__ == "__main__":
    found = duplicates()
    sys.exit("the same code stands twice:\n  " + "\n  ".join(found) if found else 0)

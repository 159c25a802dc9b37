"""A terminal that reads what a program writes: as much of one as the live view uses, and strict about the rest."""

from __future__ import annotations

import io
import re

TOKEN = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]+|\x1b")
COLOUR = re.compile(r"(?:^|;)(?:3[0-8]|4[0-8]|9[0-7])")


class Terminal(io.StringIO):
    """`screen` is what stands there, the scrolled-off lines first; `coloured` whether a colour was ever set.

    Lines are never reflowed: `resize` cuts what is drawn afterwards only, unless it is told to reflow like most do.
    """

    def __init__(self, width: int = 100, height: int = 40) -> None:
        super().__init__()
        self.width, self.height = width, height
        self.coloured = False
        self.frames = 0
        self._lines: list[str] = [""]
        self._row = self._column = 0

    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> list[str]:
        lines = [line.rstrip() for line in self._lines]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def resize(self, width: int) -> None:
        """Reflow what stands there, as tmux, VTE and iTerm do; the cursor stays with its character."""
        lines: list[str] = []
        row = column = 0
        for place, line in enumerate(self._lines):
            line = line.rstrip() if place != self._row else line
            if place == self._row:
                row, column = len(lines) + self._column // width, self._column % width
                if self._column and self._column % width == 0 and self._column == len(line):
                    row, column = row - 1, width
            lines += [line[at : at + width] for at in range(0, len(line), width)] or [""]
        self._lines, self._row, self._column, self.width = lines, row, column, width

    def write(self, text: str) -> int:
        for token in TOKEN.finditer(text):
            private, numbers, final = token[1], token[2], token[3]
            if final:
                self._control(private, numbers, final)
            elif token[0] == "\r":
                self._column = 0
            elif token[0] == "\n":
                self._down()
            else:
                assert token[0] != "\x1b", f"an escape that no terminal knows: {text!r}"
                self._put(token[0])
        return len(text)

    def _control(self, private: str, numbers: str, final: str) -> None:
        match private, final:
            case "?", "h" | "l" if numbers == "2026":
                self.frames += final == "h"
            case "", "m":
                self.coloured = self.coloured or bool(COLOUR.search(numbers))
            case "", "A":
                top = max(0, len(self._lines) - self.height)
                self._row = max(top, self._row - int(numbers or 1))
            case "", "K" if not numbers:
                self._lines[self._row] = self._lines[self._row][: self._column]
            case "", "J" if not numbers:
                self._lines[self._row] = self._lines[self._row][: self._column]
                del self._lines[self._row + 1 :]
            case _:
                raise AssertionError(f"a control that this terminal does not know: {private}{numbers}{final}")

    def _put(self, text: str) -> None:
        for letter in text:
            if self._column >= self.width:
                self._column = 0
                self._down()
            line = self._lines[self._row].ljust(self._column)
            self._lines[self._row] = line[: self._column] + letter + line[self._column + 1 :]
            self._column += 1

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._lines):
            self._lines.append("")

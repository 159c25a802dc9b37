"""rich for text that is not ours: no markup, no emoji, and what no eye sees is written out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from metalfoundry.model.plain_text import inline, is_unseen, visible

WIDEST, FOLDED = 10_000, 8
WHOLE = ("run", "server", "hardware", "Hardware")  # columns of what is copied: never on two lines
_BEYOND_ASCII = re.compile(r"[^\x20-\x7e]")


class Paper(Console):
    """A Console for words from anywhere; `soft_wrap` leaves the wrapping of lines to the terminal."""

    def __init__(
        self,
        file: TextIO | None = None,
        *,
        soft_wrap: bool = False,
        width: int | None = None,
        force_terminal: bool | None = None,
        no_color: bool | None = None,
    ) -> None:
        super().__init__(
            file=file,
            soft_wrap=soft_wrap,
            width=width,
            force_terminal=force_terminal,
            no_color=no_color,
            highlight=False,
            markup=False,
            emoji=False,
        )

    def table(self, table: Table) -> None:
        """Print a table: each row on one line where there is no terminal; a row as lines of its own on one that is too
        narrow for it.
        """
        width = self.width
        if self.is_terminal and _least(table) > width:
            self.print(*_rows(table), sep="\n\n")
            return
        self.width = width if self.is_terminal else WIDEST
        self.print(table)
        self.width = width

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As Console.render; whatever is to be printed comes by here."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


class Cells(Table):
    """A table whose cells are words: each on one line, none of them markup."""

    def add_row(self, *cells: RenderableType | None, **more: object) -> None:
        """A row of str and Text."""
        texts = (cell if isinstance(cell, Text) else Text(inline(str(cell or ""))) for cell in cells)
        super().add_row(*(shown(text, keep="") for text in texts))


def table_of(*columns: str) -> Table:
    """A table without lines."""
    table = Cells(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in WHOLE)
    return table


def _least(table: Table) -> int:
    """The width that it needs: names whole, everything else in columns in which one still can read."""
    widest = [max(Text(str(cell)).cell_len for cell in (column.header, *column.cells)) for column in table.columns]
    wanted = (wide if column.no_wrap else min(wide, FOLDED) for column, wide in zip(table.columns, widest, strict=True))
    return sum(wanted) + 2 * (len(widest) - 1)


def _rows(table: Table) -> Iterable[Table]:
    """Each row as a table of its own: what the columns are called, and what stands in them."""
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        row = Table(box=None, show_header=False, pad_edge=False)
        for column, cell in zip(table.columns, cells, strict=True):
            if str(cell):
                row.add_row(Text(str(column.header), style="bold"), cell)
        yield row


def shown(text: Text, keep: str = "\n\t") -> Text:
    """`text` as it will stand on the terminal, styles kept, so that its width can be measured; see plain.visible."""
    odd = [found for found in _BEYOND_ASCII.finditer(text.plain) if found[0] not in keep and is_unseen(found[0])]
    if not odd:
        return text
    result, position = text.blank_copy(), 0
    for found in odd:
        result.append_text(text[position : found.start()]).append(inline(found[0]))
        position = found.end()
    return result.append_text(text[position:])

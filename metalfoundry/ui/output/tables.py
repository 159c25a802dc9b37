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
        table.add_column(column, overflow="fold")
    return table


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

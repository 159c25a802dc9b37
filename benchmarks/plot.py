"""A plot for the docs, as SVG: groups of bars, readable on light and on dark paper."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

COLOURS = ("#2da44e", "#0969da", "#d4a72c", "#8c959f")
LABEL, WIDTH, BAR, GAP = 150, 420, 16, 14
STYLE = "text{font:13px system-ui,sans-serif;fill:#59636e}"


def bars(title: str, groups: Mapping[str, Mapping[str, float]]) -> str:
    """One group of horizontal bars for each key, all on one scale from zero."""
    longest = max((value for row in groups.values() for value in row.values()), default=0.0) or 1.0
    drawn, y = [f'<text x="0" y="14">{escape(title)}</text>'], 28
    for group, row in groups.items():
        drawn.append(f'<text x="0" y="{y + 12}">{escape(group)}</text>')
        for place, (name, value) in enumerate(row.items()):
            width = WIDTH * value / longest
            colour = COLOURS[place % len(COLOURS)]
            drawn.append(f'<text x="{LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>')
            drawn.append(f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR - 3}" fill="{colour}"/>')
            drawn.append(f'<text x="{LABEL + width + 6:.1f}" y="{y + 12}">{value:.2f}</text>')
            y += BAR
        y += GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LABEL + WIDTH + 60} {y}" role="img">'
    return "\n".join([head, f"<title>{escape(title)}</title><style>{STYLE}</style>", *drawn, "</svg>"]) + "\n"

"""Text in the window of a terminal, as SVG that needs no font but a fixed one."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from html import escape

COLUMNS = 96
"""Longer lines go on in the next one, as a terminal wraps them."""
WIDTH, LETTER, LINE = 860, 8.4, 19  # pixels: of the window, of a letter, from line to line
LEFT, TOP = 24, 62  # pixels: where the first line begins
BOTTOM = 18  # pixels: below the last line

STYLE = """
text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #d5dae1;
white-space: pre }
.window { fill: #1b1f24 }
.prompt { fill: #8fd0aa }
.typed { fill: #ffffff; font-weight: 600 }
.whole { fill: #8fd0aa }
.title { fill: #a3abb3; text-anchor: middle }
"""


def window(lines: Sequence[str], title: str) -> str:
    """Return a picture of *lines*; one that begins with ``$`` was typed."""
    shown = [part for line in lines for part in wrapped(line)]
    height = TOP + LINE * (len(shown) - 1) + BOTTOM
    texts = "\n".join(row(line, TOP + LINE * number) for number, line in enumerate(shown) if line)
    dots = "".join(
        f'<circle cx="{24 + 20 * number}" cy="20" r="6" fill="{color}"/>'
        for number, color in enumerate(("#ec6a5e", "#f4bf4f", "#61c554"))
    )
    words = escape("\n".join(lines))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        f' width="{WIDTH}" height="{height}">\n'
        f"<title>{escape(title)}</title>\n<desc>{words}</desc>\n<style>{STYLE}</style>\n"
        f'<rect class="window" width="{WIDTH}" height="{height}" rx="10"/>\n{dots}\n'
        f'<text class="title" x="{WIDTH / 2:g}" y="25">{escape(title)}</text>\n'
        f"{texts}\n</svg>\n"
    )


def wrapped(line: str) -> list[str]:
    """Return *line* in pieces that fit."""
    return textwrap.wrap(line, COLUMNS, drop_whitespace=True) or [""]


def row(line: str, y: int) -> str:
    """Return one line; its length is fixed, so that columns stay below each other."""
    spans = "".join(
        f'<tspan class="{kind}">{escape(piece)}</tspan>' if kind else escape(piece)
        for kind, piece in pieces(line)
    )
    return (
        f'<text x="{LEFT}" y="{y}" textLength="{len(line) * LETTER:g}"'
        f' lengthAdjust="spacingAndGlyphs" xml:space="preserve">{spans}</text>'
    )


def pieces(line: str) -> Iterator[tuple[str, str]]:
    """Yield the pieces of *line*, each with how it looks."""
    if line.startswith("$ "):
        yield "prompt", "$ "
        yield "typed", line[2:]
    elif line.endswith("  whole"):
        yield "", line[: -len("whole")]
        yield "whole", "whole"
    else:
        yield "", line

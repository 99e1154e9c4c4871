"""Tables that fit the terminal they are shown on."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from collective.recipe.backup.frozen import dataclass

GAP = "  "


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table."""

    title: str  # heading
    right: bool = False  # whether it is aligned to the right, as numbers are


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None
) -> Iterator[str]:
    """Yield the lines of a table, the titles first.

    The last column is wrapped to *width*; None is for a program, and nothing is wrapped.
    """
    widths = [
        max(len(column.title), *(len(row[number]) for row in rows)) if rows else len(column.title)
        for number, column in enumerate(columns)
    ]
    for row in ([column.title for column in columns], *rows):
        begin = GAP.join(
            cell.rjust(size) if column.right else cell.ljust(size)
            for cell, size, column in zip(row[:-1], widths[:-1], columns[:-1], strict=True)
        )
        begin += GAP
        yield from _wrapped(begin, row[-1], width)


def _wrapped(begin: str, text: str, width: int | None) -> Iterator[str]:
    room = None if width is None else width - len(begin)
    if room is None or len(text) <= room:
        yield (begin + text).rstrip()
    elif room >= 20:
        first, *rest = textwrap.wrap(text, room, break_on_hyphens=False)
        yield begin + first
        yield from (" " * len(begin) + line for line in rest)
    else:
        # no room beside the others: below them
        yield begin.rstrip()
        yield from textwrap.wrap(text, width or 80, initial_indent="    ", subsequent_indent="    ")

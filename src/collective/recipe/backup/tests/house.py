"""A picture of the house, drawn from its code: ``make house`` writes docs/design/house.svg.

A row is a room of the first level, or a package of rooms.  Rows of one layer of the contract in
pyproject.toml share a band.  Curves lead from each package to the packages that it imports from.
Sizes are rounded up to a power of two times 50, so that the picture stays while the code grows
a little.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAME = "collective.recipe.backup"
HERE = Path(__file__).parents[1]
PROJECT = HERE.parents[3]
PICTURE = PROJECT / "docs" / "design" / "house.svg"

WIDTH = 860
ROW = 20  # height of a row, in pixels, as all that follows
GAP = 6  # between two bands
HEAD = 30  # height of the line above the first band
NAMES = 130  # where the names begin; the curves are left of it
WORDS = 245  # where the first lines of docstrings begin
BARS = 800  # where the bars of the sizes begin
BAR = 50  # length of the longest bar
SMALLEST = 50  # lines of code; the first of the steps in which sizes are told

STYLE = """
text { font: 11px system-ui, sans-serif; fill: #333 }
.room { font: 11px ui-monospace, monospace; fill: #111 }
.package { font-weight: bold }
.head { fill: #666 }
.paper { fill: #fff }
.band { fill: #eef1f5 }
.bar { fill: #b8c4d4 }
.use { fill: none; stroke: #2a6099; stroke-opacity: .45 }
.dot { fill: #2a6099 }
@media (prefers-color-scheme: dark) {
text { fill: #ccc }
.room { fill: #fff }
.head { fill: #999 }
.paper { fill: #16181c }
.band { fill: #24282f }
.bar { fill: #4a5668 }
.use { stroke: #7db4ea }
.dot { fill: #7db4ea }
}
"""


class Row(NamedTuple):
    """A room of the first level, or a package of rooms."""

    name: str
    words: str  # the first line of its docstring
    rooms: int  # 1 for a room that is no package
    lines: int  # of code, rounded up
    uses: frozenset[str]  # names of other rows that it imports from

    @property
    def is_package(self) -> bool:
        return self.rooms > 1


def layers() -> list[list[str]]:
    """Return the layers of the contract, the highest first: the names that there are."""
    document = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts: list[dict[str, Any]] = document["tool"]["importlinter"]["contracts"]
    lines = next(each["layers"] for each in contracts if each["type"] == "layers")
    named = ([name.strip(" ()") for name in line.split("|")] for line in lines)
    return [there for names in named if (there := [name for name in names if is_there(name)])]


def is_there(name: str) -> bool:
    """Tell whether a layer's name is a room or a package; it may be one that is to come."""
    return (HERE / f"{name}.py").is_file() or (HERE / name / "__init__.py").is_file()


def rooms_of(name: str) -> list[Path]:
    """Return the files of a row, the one that has its docstring first."""
    if (HERE / name).is_dir():
        return sorted((HERE / name).rglob("*.py"), key=lambda path: (len(path.parts), path))
    return [HERE / f"{name}.py"]


@cache
def row(name: str) -> Row:
    """Return what the code says of *name*."""
    paths = rooms_of(name)
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    words = (ast.get_docstring(trees[0]) or "").partition("\n")[0].replace("``", "")
    uses = frozenset(used for tree in trees for used in imported(tree)) - {name}
    return Row(name, words, len(paths), rounded(sum(map(lines_of_code, paths))), uses)


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the rows that a room imports from, in functions and for type checking as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield from first_level(f"{node.module}.{alias.name}")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield from first_level(alias.name)


def first_level(dotted: str) -> Iterator[str]:
    if found := re.match(rf"{re.escape(NAME)}\.(\w+)", dotted):
        yield found[1]


def lines_of_code(path: Path) -> int:
    """Count the lines that have code: no comments, no docstrings, nothing empty."""
    text = path.read_text(encoding="utf-8")
    no_code = {
        tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
        tokenize.ENDMARKER,
    }  # fmt: skip
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in no_code:
            code.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            code.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(code)


def rounded(lines: int) -> int:
    """Round up to the next step, each of which is twice the one before."""
    step = SMALLEST
    while step < lines:
        step *= 2
    return step


def draw(bands: Sequence[Sequence[Row]]) -> str:
    """Return the picture of *bands*, the highest first, as the text of an SVG file."""
    heights: dict[str, int] = {}  # of the middle of each row, from the top
    boxes: list[str] = []
    rows: list[str] = []
    top = HEAD
    largest = max(each.lines for band in bands for each in band)
    for band in bands:
        height = ROW * len(band)
        boxes.append(f'<rect class="band" x="{NAMES - 8}" y="{top}" width="{WIDTH - NAMES}" '
                     f'height="{height}" rx="4"/>')  # fmt: skip
        for number, each in enumerate(band):
            heights[each.name] = top + ROW * number + ROW // 2
            rows += drawn(each, heights[each.name], largest)
        top += height + GAP
    packages = [each for band in bands for each in band if each.is_package]
    curves = [line for each in packages for line in curves_of(each, packages, heights)]
    head = [words(NAMES, HEAD - 10, "head", "room"),
            words(WORDS, HEAD - 10, "head", "its subject"),
            words(BARS, HEAD - 10, "head", "lines to"),
            words(8, HEAD - 10, "head", "imports")]  # fmt: skip
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img" '
        'aria-labelledby="title description">',
        '<title id="title">The rooms of the house, in layers</title>',
        f'<desc id="description">{escape(described(bands))}</desc>',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{top}"/>',
        *boxes, *head, *curves, *rows, "</svg>", "",
    ])  # fmt: skip


def drawn(each: Row, middle: int, largest: int) -> Iterator[str]:
    """Yield the name, the words and the size of a row."""
    kind = "room package" if each.is_package else "room"
    yield words(NAMES, middle + 4, kind, each.name + "/" * each.is_package)
    yield words(WORDS, middle + 4, "words", each.words)
    steps, most = (1 + (size // SMALLEST).bit_length() for size in (each.lines, largest))
    yield (f'<rect class="bar" x="{BARS}" y="{middle - 7}" width="{BAR * steps // most}" '
           'height="14"/>')  # fmt: skip
    yield words(BARS + 3, middle + 4, "size", str(each.lines))


def curves_of(each: Row, packages: Sequence[Row], heights: dict[str, int]) -> Iterator[str]:
    """Yield a curve from a package to each package below that it imports from."""
    start = heights[each.name]
    yield f'<circle class="dot" cx="{NAMES - 12}" cy="{start}" r="3"/>'
    tallest = max(heights.values()) - min(heights.values())
    for other in packages:
        if other.name not in each.uses:
            continue
        end = heights[other.name]
        out = NAMES - 12 - 30 - 110 * abs(end - start) // tallest
        yield (f'<path class="use" d="M{NAMES - 12},{start} C{out},{start} {out},{end} '
               f'{NAMES - 12},{end}"><title>{each.name} imports from {other.name}</title>'
               '</path>')  # fmt: skip


def words(x: int, y: int, kind: str, text: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>'


def described(bands: Sequence[Sequence[Row]]) -> str:
    """Return the layers in words, for those who do not see the picture."""
    return "From top to bottom: " + "; ".join(
        ", ".join(each.name for each in band) for band in bands
    )


@cache
def picture() -> str:
    """Return the picture of the house as its code is now."""
    return draw([[row(name) for name in names] for names in layers()])


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")

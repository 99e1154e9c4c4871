"""Boxes and arrows: a chain, a restore point, a swap, a repository."""

from __future__ import annotations

from html import escape

WIDTH = 860
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #333 }
.name { font: 12px ui-monospace, monospace; fill: #111 }
.head { font-weight: bold }
.soft { fill: #666 }
.paper { fill: #fff }
.full { fill: #b8d4e3 }
.added { fill: #dcebf2 }
.blobs { fill: #f0dcc6 }
.plain { fill: #eef1f5 }
.last { fill: #dcefe3; stroke: #2c6e49 }
.line { fill: none; stroke: #2a6099; stroke-width: 1.5 }
.cut { fill: none; stroke: #a12b2b; stroke-width: 1.5; stroke-dasharray: 5 4 }
.tip { fill: #2a6099 }
@media (prefers-color-scheme: dark) {
text { fill: #ccc }
.name { fill: #fff }
.soft { fill: #a3abb3 }
.paper { fill: #16181c }
.full { fill: #2f5f78 }
.added { fill: #244554 }
.blobs { fill: #4a3623 }
.plain { fill: #24282f }
.last { fill: #1f3a2b; stroke: #8fd0aa }
.line { stroke: #7db4ea }
.cut { stroke: #f09a9a }
.tip { fill: #7db4ea }
}
"""


class Drawing:
    """A picture of WIDTH by *height* pixels; *words* say the same to those who do not see it."""

    def __init__(self, height: int, title: str, words: str) -> None:
        self._height = height
        self._title = title
        self._words = words
        self._shapes: list[str] = []

    def box(self, x: int, y: int, width: int, text: str, kind: str = "plain") -> None:
        """Draw a box with a name of a file, or some words, in its middle."""
        self._shapes.append(
            f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="30" rx="4"/>'
        )
        self._text(x + width // 2, y + 20, text, "name", "middle")

    def words(self, x: int, y: int, text: str, kind: str = "soft") -> None:
        """Write words that begin at *x*."""
        self._text(x, y, text, kind, "start")

    def arrow(self, x: int, y: int, to_x: int, to_y: int) -> None:
        """Draw an arrow, which is level or upright."""
        away = (to_x > x) - (to_x < x), (to_y > y) - (to_y < y)
        back_x, back_y = to_x - 8 * away[0], to_y - 8 * away[1]
        side_x, side_y = 4 * away[1], 4 * away[0]
        self._shapes += [
            f'<path class="line" d="M{x},{y} L{back_x},{back_y}"/>',
            f'<path class="tip" d="M{to_x},{to_y} L{back_x + side_x},{back_y + side_y}'
            f' L{back_x - side_x},{back_y - side_y} Z"/>',
        ]

    def bracket(self, x: int, to_x: int, y: int, text: str) -> None:
        """Draw a bracket below what lies between *x* and *to_x*, with words below it."""
        self._shapes.append(f'<path class="line" d="M{x},{y} v8 H{to_x} v-8"/>')
        self._text((x + to_x) // 2, y + 26, text, "soft", "middle")

    def cut(self, x: int, y: int, to_y: int, text: str) -> None:
        """Draw an upright broken line with words above it."""
        self._shapes.append(f'<path class="cut" d="M{x},{y} V{to_y}"/>')
        self._text(x, y - 8, text, "soft", "middle")

    def svg(self) -> str:
        """Return the picture as the text of a file."""
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self._height}" '
                'role="img">',
                f"<title>{escape(self._title)}</title>",
                f"<desc>{escape(self._words)}</desc>",
                f"<style>{STYLE}</style>",
                f'<rect class="paper" width="{WIDTH}" height="{self._height}"/>',
                *self._shapes,
                "</svg>",
                "",
            ]
        )

    def _text(self, x: int, y: int, text: str, kind: str, anchor: str) -> None:
        self._shapes.append(
            f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
        )


def chain() -> str:
    """Return the picture of two chains, with a pack between them."""
    drawing = Drawing(
        272,
        "A chain",
        "A full backup and the incremental backups after it are a chain. "
        "Each adds what was appended to Data.fs, and the new blobs. "
        "A pack of the database ends the chain; the next backup is full.",
    )
    drawing.words(20, 56, "Data.fs", "head")
    drawing.words(20, 76, "each night")
    drawing.words(20, 140, "Blobs", "head")
    nights = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    kinds = ["full", "added", "added", "added", "full", "added"]
    places = [120, 250, 360, 470, 620, 750]
    for x, night, kind in zip(places, nights, kinds, strict=True):
        width = 120 if kind == "full" else 96
        drawing.words(x, 30, night)
        drawing.box(x, 42, width, "all of it" if kind == "full" else "what is new", kind)
        drawing.box(x, 116, width, "all" if x == places[0] else "new ones", "blobs")
    drawing.cut(593, 30, 160, "pack")
    drawing.words(620, 168, "equal ones are hard links")
    drawing.bracket(120, 566, 188, "chain")
    drawing.bracket(620, 846, 188, "next chain")
    drawing.words(120, 250, "Each column is a restore point. Each moment between the columns of a "
                  "chain can be restored, too.")  # fmt: skip
    return drawing.svg()


def restore_point() -> str:
    """Return the picture of the files that a restore point consists of."""
    drawing = Drawing(
        316,
        "A restore point",
        "The manifest names the ledger and the blobs. The ledger names the data files. "
        "They are written from right to left; the manifest is last.",
    )
    drawing.words(20, 34, "written last", "head")
    drawing.box(20, 126, 200, "STAMP.json", "last")
    drawing.words(20, 176, "the manifest: as long as it")
    drawing.words(20, 194, "is not there, there is no")
    drawing.words(20, 212, "restore point")
    drawing.arrow(220, 141, 300, 141)
    drawing.words(300, 34, "then", "head")
    drawing.box(300, 60, 200, "STAMP.dat")
    drawing.words(300, 110, "the ledger: bytes and MD5")
    drawing.box(300, 126, 200, "STAMP.blocks, .index")
    drawing.words(300, 176, "digests; the index of ZODB")
    drawing.box(300, 226, 200, "list of digests", "blobs")
    drawing.words(300, 276, "BLAKE3 of each blob")
    drawing.arrow(500, 75, 590, 75)
    drawing.arrow(500, 241, 590, 241)
    drawing.words(590, 34, "written first", "head")
    drawing.box(590, 60, 250, "STAMP.fsz", "full")
    drawing.box(590, 98, 250, "STAMP.deltafsz", "added")
    drawing.words(590, 146, "the bytes of Data.fs")
    drawing.box(590, 226, 250, "blobstorage.STAMP/", "blobs")
    drawing.words(590, 276, "the blobs that those bytes name")
    return drawing.svg()


def swap() -> str:
    """Return the picture of how a restore changes what is live."""
    drawing = Drawing(
        300,
        "A swap",
        "A restore writes beside the live data and verifies it. Only then names change: "
        "the live data becomes Data.fs.replaced, the staged data becomes Data.fs. "
        "The journal says how far that has come.",
    )
    heads = ["1. Stage and verify", "2. Write the journal", "3. Change names", "4. Done"]
    for number, head in enumerate(heads):
        drawing.words(20 + 212 * number, 34, head, "head")
    for number, live in enumerate(("live", "live", "restored", "restored")):
        x = 20 + 212 * number
        drawing.box(x, 56, 180, "Data.fs", "full" if live == "live" else "last")
        drawing.words(x, 104, live)
    for x in (20, 232):
        drawing.box(x, 124, 180, "Data.fs.restoring", "last")
        drawing.words(x, 172, "whole, compared, on the disk")
    for x in (444, 656):
        drawing.box(x, 124, 180, "Data.fs.replaced", "full")
        drawing.words(x, 172, "what was live")
    for x, state in ((232, "swapping"), (444, "swapping"), (656, "done")):
        drawing.box(x, 192, 180, "Data.fs.restore.json")
        drawing.words(x, 240, f"the journal says {state}")
    drawing.words(20, 278, "A run that dies in 1 has changed nothing. One that dies in 2 or 3 is "
                  "finished by the next one. After 4 it can be undone.")  # fmt: skip
    return drawing.svg()


def repository() -> str:
    """Return the picture of what lies in a repository."""
    drawing = Drawing(
        300,
        "A repository",
        "Sites cut their data into chunks and seal them on their own machine. "
        "The store holds sealed objects only: restore points, catalogs and bundles. "
        "A chunk that two restore points or two sites share is stored once.",
    )
    drawing.words(20, 34, "Machines, with the key", "head")
    drawing.box(20, 60, 160, "site one", "full")
    drawing.box(20, 140, 160, "site two", "full")
    drawing.words(20, 200, "cut into chunks,")
    drawing.words(20, 218, "compress, seal")
    drawing.arrow(180, 75, 260, 75)
    drawing.arrow(180, 155, 260, 155)
    drawing.words(260, 34, "The store: a disk, a bucket, SFTP; it never sees a key", "head")
    drawing.box(260, 60, 180, "m/p-STAMP-SITE-ID", "last")
    drawing.words(260, 110, "a restore point")
    drawing.box(260, 140, 180, "m/p-STAMP-SITE-ID", "last")
    drawing.words(260, 190, "another one")
    drawing.box(480, 100, 140, "catalogs/ID")
    drawing.words(480, 150, "which bundle has")
    drawing.words(480, 168, "which chunk")
    drawing.arrow(440, 115, 480, 115)
    drawing.arrow(620, 115, 660, 115)
    for number in range(3):
        drawing.box(660, 60 + 40 * number, 180, "bundles/XX/ID", "blobs")
    drawing.words(660, 200, "chunks of Data.fs and blobs,")
    drawing.words(660, 218, "each stored once")
    drawing.words(20, 270, "Each object is named by the digest of its bytes. Nothing is ever "
                  "overwritten: a backup adds objects, a restore point last.")  # fmt: skip
    return drawing.svg()


def all_of_them() -> dict[str, str]:
    """Return each diagram by the name of its file."""
    return {
        "chain.svg": chain(),
        "restore-point.svg": restore_point(),
        "swap.svg": swap(),
        "repository.svg": repository(),
    }

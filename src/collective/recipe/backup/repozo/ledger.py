"""The ledger: for each data file of a chain, its range of the filestorage.

``STAMP.dat`` has a line for each data file, the full backup first::

    2026-03-01-12-30-00.fsz 0 73216 1f3870be274f6c49b3e31a0c6728957f
    2026-03-02-12-30-00.deltafsz 73216 74121 6fe7b5ff5d4c4c1b8e9e0e6e2f1c9a11
    name                    start end   MD5 of these bytes of the filestorage

repozo writes a path where we write a name, and splits its lines at white space, so that it cannot
read its own ledgers in a directory with a space in its path.  We take the text before the three
fields at the end, and of that the name after the last slash.

repozo appends a line, and may die while it does; we write a new ledger and rename it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup.errors import explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.smallfile import read_small
from collective.recipe.backup.times import STAMP

LIMIT = 64 << 20
"""Bytes that a ledger may have: those of 700,000 data files."""

STAMP_SIZE = len("YYYY-MM-DD-HH-MM-SS")

_NAME = rf"{STAMP}\.(?:delta)?fsz?"
_DATA_FILE = re.compile(_NAME)
_ENTRY = re.compile(
    rb"(?P<name>" + _NAME.encode() + rb")"
    rb"[ \t]+(?P<start>\d{1,19})[ \t]+(?P<end>\d{1,19})[ \t]+(?P<checksum>[0-9a-f]{32})"
)


class Part(NamedTuple):
    """One data file and its range of the filestorage."""

    name: str  # of the data file
    start: int  # first byte
    end: int  # byte after the last one
    checksum: str  # MD5 of these bytes, in hex

    @property
    def stamp(self) -> str:
        """The moment at which it was written, from its name."""
        return self.name[:STAMP_SIZE]

    @property
    def full(self) -> bool:
        """Tell whether it is a full backup."""
        return not self.name[STAMP_SIZE:].startswith(".delta")

    @property
    def compressed(self) -> bool:
        """Tell whether it is gzip."""
        return self.name.endswith("z")

    @property
    def size(self) -> int:
        """The number of bytes of the filestorage in it."""
        return self.end - self.start


class Lines(NamedTuple):
    """The lines of a ledger."""

    entries: tuple[Part, ...]  # in order
    unread: tuple[int, ...]  # numbers of lines that are no entries
    at_end: bool  # whether no entry follows the first of those lines


def is_data_file(name: str) -> bool:
    """Tell whether repozo takes a file of that name for a backup."""
    return _DATA_FILE.fullmatch(name) is not None


def ledger_path(directory: Path, stamp: str) -> Path:
    """Return the path of the ledger of the chain whose full backup has *stamp*."""
    return directory / f"{stamp}.dat"


def read_ledger(path: Path) -> Lines | None:
    """Return what stands in the ledger at *path*, None if there is none.  Raises OSError."""
    data = read_small(path, LIMIT)
    return None if data is None else parse(data, path.parent)


def parse(data: bytes, directory: Path) -> Lines:
    """Return what stands in the *data* of a ledger of *directory*."""
    # a directory may have a line end in its path, which is none in the ledger then
    here = re.escape(os.fsencode(directory) + b"/")
    data = re.sub(b"^" + here, b"", data, flags=re.MULTILINE)
    entries: list[Part] = []
    unread: list[int] = []
    at_end = True
    for number, line in enumerate(data.split(b"\n"), 1):
        position = 0
        # two entries in one line: repozo appends to a line that was cut short
        for match in _ENTRY.finditer(line):
            path = line[position : match.start()]
            if path and not path.endswith(b"/"):
                unread.append(number)
            position = match.end()
            at_end = at_end and not unread
            entries.append(_part(match))
        if line[position:].strip(b" \t\r"):
            unread.append(number)
    return Lines(tuple(entries), tuple(dict.fromkeys(unread)), at_end)


def _part(match: re.Match[bytes]) -> Part:
    name, checksum = match["name"].decode("ascii"), match["checksum"].decode("ascii")
    return Part(name, int(match["start"]), int(match["end"]), checksum)


def render(parts: Iterable[Part]) -> bytes:
    """Return the text of a ledger that names *parts*."""
    lines = (f"{part.name} {part.start} {part.end} {part.checksum}\n" for part in parts)
    return "".join(lines).encode("ascii")


def write_ledger(directory: Path, stamp: str, parts: Iterable[Part], files: Files) -> None:
    """Make *parts* the chain of *stamp*, in one step; their files are there already."""
    with explained("cannot write the ledger", ledger_path(directory, stamp)):
        files.write(ledger_path(directory, stamp), render(parts))

r"""The digests of all files of a blob set, in two files beside its tree.

A line for each file::

    BLAKE3 in hex SP size in bytes SP path below the root LF

with ``\n`` and ``\\`` in the path for a line feed and a backslash, and ``link`` in place of
the size for a symbolic link, whose digest is that of its text.

    checksums          sorted by path; appears at once and whole
    checksums.added    what was added since, in the order of time: its last line for a
                       path is right, and wins over ``checksums``; a last line without its
                       line feed was being written when the run died, and does not count

Readers read both files side by side with a sorted walk, so memory is bounded by the size of the
second one.  When that gets long it is merged into the sorted file; a crash in between leaves lines
that are in both.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, TypeVar

from collective.recipe.backup.blobs.layout import order
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.files.writes import Writer
from collective.recipe.backup.pathlines import escaped, in_blocks, path_of
from collective.recipe.backup.smallfile import open_regular

NAME = "checksums"
ADDED_NAME = "checksums.added"
ADDED_SIZE = 8 << 20
"""Bytes of added lines from which on they are merged: some 65,000 lines, 25 MB of memory."""
LONG = 1 << 19
"""The size in bytes of a sorted file that is long: 4,000 lines."""

_LINE = re.compile(rb"([0-9a-f]{64}) (\d{1,19}|link) (.+)\n", re.DOTALL)
_BLOCK_SIZE = 1 << 16
_LONGEST = 1 << 14
"""Bytes that no line has: its path has 4096 at most, each of which may be escaped."""

Key = tuple[bytes, "Checksum"]
T = TypeVar("T")


class Placed(Protocol):
    """An object with a path below a root."""

    @property
    def path(self) -> str:
        """The path."""


U = TypeVar("U", bound=Placed)


class Checksum(NamedTuple):
    """The expected size and digest of one file of a set."""

    path: str  # below the root
    size: int | None  # bytes; None: it is a symbolic link
    digest: str  # BLAKE3, in hex

    def line(self) -> bytes:
        """Return the line that says so."""
        size = "link" if self.size is None else str(self.size)
        return f"{self.digest} {size} ".encode("ascii") + escaped(self.path) + b"\n"


def parse(line: bytes) -> Checksum:
    """Return what a line says.  Raises ValueError if it is none."""
    return _parsed(line)[1]


def _parsed(line: bytes) -> Key:
    """Return the order of the path of a line, and what that says; raises as ``parse``."""
    found = _LINE.fullmatch(line)
    if not found:
        raise ValueError("not a line of checksums")
    digest, number, written = found.groups()
    size = None if number == b"link" else int(number)
    path = path_of(written)
    return order(path), Checksum(path, size, digest.decode("ascii"))


class Checksums:
    """The checksums of the set in one directory."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self.added = directory / ADDED_NAME

    def exist(self) -> bool:
        """Tell whether there are any: rsync, and so an older release, wrote none."""
        return self.path.exists()

    def count(self) -> int:
        """Return the number of lines, for a progress bar."""
        return sum(
            block.count(b"\n") for file in (self.path, self.added) for block in _blocks(file)
        )

    def __iter__(self) -> Iterator[Checksum]:
        """Yield the checksum of each path once, in the order of the walk.

        Raises IntegrityError where a file is damaged; none yields nothing.
        """
        found: Iterable[Key] = self._sorted()
        if added := self._read_added():
            found = _merged(found, added)
        for _key, checksum in found:
            yield checksum

    def of(self, path: str) -> Checksum | None:
        """Return what the file at *path* must be, None if it is not named."""
        wanted = order(path)
        for key, checksum in self._read_added():
            if key == wanted:
                return checksum
        for key, checksum in self._sorted(wanted):
            if key >= wanted:
                return checksum if key == wanted else None
        return None

    def are_long(self) -> bool:
        """Tell whether there are so many lines that the caller should prepare for them."""
        try:
            return self.path.stat().st_size >= LONG
        except FileNotFoundError:
            return False

    def _sorted(self, start: bytes = b"") -> Iterator[Key]:
        """Yield the lines of the sorted file, without many of those before *start*."""
        try:
            file = open_regular(self.path)
        except FileNotFoundError:
            return
        last = b""
        with file:
            if start:
                self._skip_to(file, start)
            for line in self._lines(self.path, file):
                key, checksum = self._parsed(self.path, line)
                if key <= last:
                    raise self._damaged(self.path, f"{checksum.path!r} is not in its order")
                yield key, checksum
                last = key

    def _skip_to(self, file: BinaryIO, start: bytes) -> None:
        """Go to a line that is before *start*, and not long before it."""
        low, high = 0, file.seek(0, os.SEEK_END)
        while high - low > _BLOCK_SIZE:
            middle = (low + high) // 2
            file.seek(middle)
            file.readline()
            line = file.readline()
            if line and self._parsed(self.path, line)[0] < start:
                low = middle
            else:
                high = middle
        file.seek(low)
        if low:
            file.readline()

    def _read_added(self) -> list[Key]:
        """Return the added lines: of several lines for a path the last."""
        try:
            file = open_regular(self.added)
        except FileNotFoundError:
            return []
        with file:
            lines = self._lines(self.added, file)
            whole = (line for line in lines if line.endswith(b"\n"))
            return sorted(dict(self._parsed(self.added, line) for line in whole).items())

    def _lines(self, path: Path, file: BinaryIO) -> Iterator[bytes]:
        """Yield the lines of *file*; only the last may be without its line feed."""
        for line in iter(partial(file.readline, _LONGEST), b""):
            if len(line) == _LONGEST:
                raise self._damaged(path, f"a line has {_LONGEST} bytes or more")
            yield line

    def _parsed(self, file: Path, line: bytes) -> Key:
        try:
            return _parsed(line)
        except ValueError as error:
            raise self._damaged(file, str(error)) from error

    @staticmethod
    def _damaged(file: Path, why: str) -> IntegrityError:
        return IntegrityError(
            f"the checksums of a blob set are damaged ({why})",
            where=file,
            hint="the blobs themselves may be whole: make a full backup to get a new set",
        )

    def add(self, checksums: Iterable[Checksum], files: Files) -> None:
        """Add lines, durably.  The files that they name must be durable already."""
        data = b"".join(checksum.line() for checksum in checksums)
        if not data:
            return
        if self._is_torn():
            self.merge(files)
        files.append(self.added, data)
        if self.added.stat().st_size > ADDED_SIZE:
            self.merge(files)

    def merge(self, files: Files) -> None:
        """Merge the added lines into the sorted file."""
        with files.writing(self.path) as writer:
            write(self, writer)
        files.remove(self.added)

    def _is_torn(self) -> bool:
        """Tell whether a run died while it added a line."""
        try:
            file = open_regular(self.added)
        except FileNotFoundError:
            return False
        with file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            return file.read(1) not in (b"\n", b"")


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        file = open_regular(path)
    except FileNotFoundError:
        return
    with file:
        while block := file.read(_BLOCK_SIZE):
            yield block


def write(checksums: Iterable[Checksum], writer: Writer) -> None:
    """Write *checksums*, which come in their order."""
    for block in in_blocks(checksum.line() for checksum in checksums):
        writer.write(block)


def _merged(keyed: Iterable[Key], added: Sequence[Key]) -> Iterator[Key]:
    """Yield both in their order; of two with one key that which was added."""
    rest = iter(added)
    new = next(rest, None)
    for each in keyed:
        while new is not None and new[0] < each[0]:
            yield new
            new = next(rest, None)
        if new is not None and new[0] == each[0]:
            yield new
            new = next(rest, None)
        else:
            yield each
    while new is not None:
        yield new
        new = next(rest, None)


def side_by_side(
    things: Iterable[tuple[str, T]], others: Iterable[U]
) -> Iterator[tuple[T | None, U | None]]:
    """Yield each thing with the other of its path; None where one of the two is missing.

    Both inputs come in the order of the walk, and so do the pairs.
    """
    rest = iter(others)
    other = next(rest, None)
    for path, thing in things:
        if other is not None and other.path != path:
            # most paths are equal in both, and need no key
            key = order(path)
            while other is not None and order(other.path) < key:
                yield None, other
                other = next(rest, None)
        if other is not None and other.path == path:
            yield thing, other
            other = next(rest, None)
        else:
            yield thing, None
    while other is not None:
        yield None, other
        other = next(rest, None)

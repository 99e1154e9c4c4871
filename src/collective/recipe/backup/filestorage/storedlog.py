"""The log that a destination has stored for one moment: read at any place, or from any place on.

Readers need not know in which kind of destination it is.  Only ``copy_to`` writes, to a path of the
caller.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.log import MAGIC_SIZE, Log
from collective.recipe.backup.filestorage.logcut import LogEnd
from collective.recipe.backup.filestorage.manyplaces import ManyPlaces, places_between
from collective.recipe.backup.progress import Advance

_COMPARED = 16 << 20
"""Bytes that are compared where no digest tells: a few blocks of the largest kind."""

PRIVATE = 0o600
"""Permissions of a new filestorage, before it gets those of the one that it replaces."""


class Block(NamedTuple):
    """A stretch of a log, and what its bytes must be."""

    offset: int  # bytes from the begin of the log
    size: int  # bytes
    digest: bytes  # as the log's ``digest_of`` makes it


class LogRange(NamedTuple):
    """A range of a log that is read and verified as one, and the file that has it as it is."""

    begin: int  # bytes from the begin of the log
    end: int  # offset after it
    path: Path | None = None  # of a file in which these bytes stand; None: in none
    place: int = 0  # where in that file they begin
    digest: bytes = b""  # as the log's ``digest_of`` makes it; b"" without a file


class StoredLog(Log):
    """One moment of a filestorage, as it was backed up.

    All methods raise IntegrityError that names a missing or damaged file, BackupError for one that
    cannot be read, and NoRestorePoint if a pack rewrote the transactions of the moment.
    """

    @property
    @abstractmethod
    def mode(self) -> int:
        """The permissions of the file that stores it."""

    @abstractmethod
    def end(self, start: int = MAGIC_SIZE) -> LogEnd:
        """Return its end; it need not be walked where that is known."""

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.end().offset

    @abstractmethod
    def pieces(self, begin: int, advance: Advance, near: Log | None = None) -> Iterator[memoryview]:
        """Yield its bytes from *begin* on, in pieces, none of them empty.

        *near* is a log on this machine that may have much of it: nothing of that need be read
        from afar.

        They are verified on the way, and proved only at the end of the iteration.  *advance* is
        called with the number of bytes that were read, which may be a few more.
        """

    @abstractmethod
    def blocks(self) -> Iterator[Block]:
        """Yield what the log must be, block by block from its begin, as far as digests tell.

        They may go on behind its end, where that is a cut.
        """

    @abstractmethod
    def digest_of(self, data: bytes) -> bytes:
        """Return the digest of *data*, to be compared with that of a Block."""

    @abstractmethod
    def end_within(self, log: Log, size: int) -> LogEnd | None:
        """Return its end if that lies in its first *size* bytes, which *log* has as well.

        None if it ends later.  With an end, no stored byte need be read.
        """

    @abstractmethod
    def saved_index(self) -> Path | None:
        """Return an index of it, or of its begin, None if none was stored."""

    @abstractmethod
    def range_at(self, offset: int) -> LogRange:
        """Return the range that has the byte at *offset*, which is below its size.

        To read a part of it costs as much as to read all of it.
        """

    def places(self, start: int) -> Iterator[ManyPlaces]:
        """Yield the place of each data record from the boundary *start* on, in their order."""
        return places_between(self, start, self.size)

    def copy_to(self, target: Path, files: Files, advance: Advance) -> None:
        """Write all of it to *target*, which only the owner may read."""
        with files.writing(target, PRIVATE) as writer:
            for piece in self.pieces(0, advance):
                writer.write(piece)


def begins_with(log: Log, other: Log) -> bool:
    """Tell whether *log* is known to begin with all that *other* has, by digests of that.

    Where two are stored, little is read; a live one is read block by block, which takes a tenth
    of the time of a walk.  False: it does not, or nothing tells.
    """
    if not isinstance(other, StoredLog) or other.size > log.size:
        return False
    mine = log.blocks() if isinstance(log, StoredLog) else None
    known = 0
    for block in other.blocks():
        end = block.offset + block.size
        if mine is not None:
            is_same = next(mine, None) == block
        else:
            is_same = end <= log.size and _digest(log, block, other) == block.digest
        if not is_same or known >= other.size:
            break
        known = end
    left = other.size - known
    return left <= 0 or (left <= _COMPARED and log.read(known, left) == other.read(known, left))


def _digest(log: Log, block: Block, other: StoredLog) -> bytes:
    return other.digest_of(log.read(block.offset, block.size))

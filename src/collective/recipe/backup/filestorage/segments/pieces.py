"""The bytes of stored segments."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.framing import DAMAGE_HINT
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.segments.chunkstore import ChunkKind, Chunks
from collective.recipe.backup.filestorage.segments.segment import Extent, Segment
from collective.recipe.backup.times import Tid

_HELD = 3
"""Pieces that are held, of 4 MiB at most each."""


class SegmentPieces:
    """Gets pieces of segments, and holds the last few."""

    def __init__(self, chunks: Chunks) -> None:
        """Get them from *chunks*."""
        self.get = lru_cache(_HELD)(lambda name: chunks.get(ChunkKind.SEGMENT, name))

    def extent(self, extent: Extent) -> bytes:
        """Return some bytes of a piece.  Raises IntegrityError if it does not have them."""
        name, offset, size = extent
        data = self.get(name)[offset : offset + size]
        if len(data) != size:
            raise IntegrityError(
                f"the segment {name.hex()} is shorter than it should be", hint=DAMAGE_HINT
            )
        return data


class SegmentLog(Log):
    """A segment as the part of a log that it is, at its offset there."""

    damage_hint = DAMAGE_HINT

    def __init__(self, segment: Segment, pieces: SegmentPieces) -> None:
        """Read *segment* by way of *pieces*."""
        super().__init__(Path(f"segment {segment.pieces[0].name.hex()}"))
        self._segment = segment
        self._pieces = pieces

    @property
    def size(self) -> int:
        """The offset in the log where it ends."""
        return self._segment.base + self._segment.size

    def read_at(self, offset: int, size: int) -> bytes:
        """Return the bytes from *offset* on, *size* at most, fewer only where it ends."""
        extents = self._segment.extents(offset - self._segment.base, size)
        return b"".join(map(self._pieces.extent, extents))

    def _tail(self, begin: int, after: Tid) -> str | None:
        """Judge bytes that are no transaction: in a segment they are damage."""
        raise IntegrityError(f"no transaction stands at byte {begin}", where=self.path)

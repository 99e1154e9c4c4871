"""A segment: a range of a log as it was stored, and where its bytes and its record index are.

``written`` and ``read`` turn a segment into bytes and back::

    base           number: its offset in the log that it was cut from
    first, last    8 bytes each: tids of the first and the last transaction that is not opaque
                   (see rows); zeros: all are
    pieces         number, then for each: its name, number its size
    index          number, then the names of the chunks of its record index
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from collective.recipe.backup.filestorage.segments.fields import Fields, Names, number
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.times import Tid

_TID = 8


class SegmentPiece(NamedTuple):
    """A chunk that holds a segment or a part of it."""

    name: bytes  # of the chunk
    size: int  # bytes


class Extent(NamedTuple):
    """Some bytes of a piece."""

    name: bytes  # of the piece
    offset: int  # in the piece
    size: int  # bytes


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A range of a log, as it was stored."""

    base: int  # its offset in the log that it was cut from
    first: Tid  # of its transactions that are not opaque, see rows; zeros: all are opaque
    last: Tid  # of its transactions that are not opaque; zeros: all are opaque
    pieces: tuple[SegmentPiece, ...]  # one, but for a transaction that is larger than a piece
    index: tuple[bytes, ...]  # names of the chunks whose bytes together are its record index

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return sum(piece.size for piece in self.pieces)

    def extents(self, offset: int, size: int) -> tuple[Extent, ...]:
        """Return which bytes of its pieces hold a range of it."""
        return tuple(self._extents(offset, size))

    def _extents(self, offset: int, size: int) -> Iterator[Extent]:
        for piece in self.pieces:
            begin, end = max(offset, 0), min(offset + size, piece.size)
            if begin < end:
                yield Extent(piece.name, begin, end - begin)
            offset -= piece.size


def written(segment: Segment, names: Names) -> bytes:
    """Return the fields of *segment* as bytes."""
    return b"".join(
        (
            number(segment.base),
            segment.first,
            segment.last,
            number(len(segment.pieces)),
            *(names.name(piece.name) + number(piece.size) for piece in segment.pieces),
            number(len(segment.index)),
            *map(names.name, segment.index),
        )
    )


def read(fields: Fields) -> Segment:
    """Return the next segment of *fields*.  Raises IntegrityError if it does not fit together."""
    base, first, last = fields.number(), Tid(fields.take(_TID)), Tid(fields.take(_TID))
    pieces = tuple(
        SegmentPiece(fields.name(), fields.number()) for _piece in range(fields.count(2))
    )
    index = tuple(fields.name() for _name in range(fields.count(1)))
    if not index or first > last:
        raise fields.damaged("a segment does not fit together")
    return Segment(base=base, first=first, last=last, pieces=pieces, index=index)

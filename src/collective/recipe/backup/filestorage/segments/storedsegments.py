"""The segments that are stored already, found by the tids of their transactions.

A pack keeps the order of transactions and of the records in them.  So those of a live log are
found one after the other in the order of the stored segments, and only the record indexes of few
segments are held at a time.  Those of the next segments come with one that is read: in a store that
is far away each by itself would be waited for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate, chain
from typing import NamedTuple

from collective.recipe.backup.filestorage.segments.chunkstore import ChunkKind, Chunks
from collective.recipe.backup.filestorage.segments.recordindex import RecordIndex
from collective.recipe.backup.filestorage.segments.segment import Segment
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import Oid
from collective.recipe.backup.times import ZERO_TID, Tid

_HELD = 4
"""Record indexes that are held: a few hundred kilobytes each."""

_TOGETHER = 8
"""Segments whose record indexes are got together, as long as they are asked for in their order."""


@dataclass(frozen=True)
class StoredTransaction:
    """A transaction of a stored segment."""

    segment: Segment  # that has it
    index: RecordIndex  # of the segment
    number: int  # of the transaction in it

    @property
    def rows(self) -> range:
        """The rows of its records in the index."""
        return range(self.index.starts[self.number], self.index.starts[self.number + 1])


class StoredData(NamedTuple):
    """The place of the stored data of a record."""

    segment: Segment  # that has them
    offset: int  # in the segment
    size: int  # in bytes


class StoredSegments:
    """Stored segments, with their record indexes."""

    def __init__(self, chunks: Chunks, segments: Iterable[Segment] = ()) -> None:
        """Know *segments*, whose record indexes are in *chunks*; one may come twice."""
        distinct = {segment for segment in segments if segment.last != ZERO_TID}
        self._segments = sorted(distinct, key=lambda segment: (segment.first, segment.last))
        self._firsts = [segment.first for segment in self._segments]
        # the greatest tid of each segment and those before it
        self._reached = list(accumulate((segment.last for segment in self._segments), max))
        self._index = lru_cache(_HELD)(self._read)
        self._came: dict[int, bytes] = {}  # what has come, by the position of the segment
        self._end = 0  # position after the last one that has come
        self._chunks = chunks

    def find(self, tid: Tid) -> StoredTransaction | None:
        """Return the stored transaction *tid*; None: there is none.

        It is quick if the ones asked for are near to each other in the log.
        """
        position = bisect_right(self._firsts, tid) - 1
        while position >= 0 and self._reached[position] >= tid:
            segment = self._segments[position]
            if segment.last >= tid:
                index = self._index(position)
                number = index.number(tid)
                if number >= 0:
                    return StoredTransaction(segment, index, number)
            position -= 1
        return None

    def data(self, oid: Oid, tid: Tid, digest: bytes) -> StoredData | None:
        """Return where the data of a record are stored; None: they are not.

        If its record has a backpointer, where those are that it leads to.  *digest* is theirs.
        """
        found = self.find(tid)
        while found is not None:
            index, stop, followed = found.index, found.rows.stop, ZERO_TID
            row = index.find(oid, found.rows.start, stop)
            # an object may have two records in a transaction
            while row >= 0:
                size = index.sizes[row]
                if not size:
                    _distance, followed = index.pointer(row)
                elif index.digest(row) == digest:
                    return StoredData(found.segment, index.place(found.number, row), size)
                row = index.find(oid, row + 1, stop)
            # backpointers only lead to earlier transactions
            found = self.find(followed) if followed < tid else None
            tid = followed
        return None

    def _read(self, position: int) -> RecordIndex:
        if position >= self._end:
            # after a leap, as to the newest transactions, one alone shows whether others follow
            is_next = position < self._end + _TOGETHER
            self._came = self._got_together(position) if is_next else {}
            self._end = self._positions(position).stop if is_next else position + 1
        data = self._came.pop(position, None)
        if data is None:
            names = self._segments[position].index
            data = b"".join(self._chunks.get(ChunkKind.INDEX, name) for name in names)
        return RecordIndex(data)

    def _got_together(self, position: int) -> dict[int, bytes]:
        """Return the record indexes of some segments from *position* on, by their positions.

        A damaged one is left out: it may never be asked for.
        """
        wanted = {at: self._segments[at].index for at in self._positions(position)}
        names = dict.fromkeys(chain.from_iterable(wanted.values()))
        found = dict(self._chunks.ahead(ChunkKind.INDEX, names))
        whole = {}
        for at, parts in wanted.items():
            pieces = [found[name] for name in parts]
            data = [each for each in pieces if isinstance(each, bytes)]
            if len(data) == len(pieces):
                whole[at] = b"".join(data)
        return whole

    def _positions(self, position: int) -> range:
        return range(position, min(position + _TOGETHER, len(self._segments)))

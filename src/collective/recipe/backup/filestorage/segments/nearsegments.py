"""Segments put together again from a live log that has the same records, so that none is fetched.

A copy of a site that was packed since has most of what the packed log has, but at other places.
The record index of a segment says which transactions and records it has, and how they lead to
each other; the live log has their texts and data.  Records that a span does not need are zeros.
Nothing here has to be believed: what a span gives is compared with its digests, and where it
differs, the segment is fetched.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress

from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.filestorage.format import LENGTH, RECORD, TRANSACTION, Transaction
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.records import Place, RecordReader
from collective.recipe.backup.filestorage.segments.chunkstore import GREATEST, ChunkKind, Chunks
from collective.recipe.backup.filestorage.segments.pieces import SegmentPieces
from collective.recipe.backup.filestorage.segments.recordindex import RecordIndex
from collective.recipe.backup.filestorage.segments.rows import OPAQUE
from collective.recipe.backup.filestorage.segments.segment import Extent
from collective.recipe.backup.filestorage.segments.spans import Rule, Span
from collective.recipe.backup.times import ZERO_TID, Tid

_LENGTHS = TRANSACTION.size - 6
"""The offset in a transaction of the lengths of its three texts, 2 bytes each."""
_LONGEST = 0xFFFF
_MISSES = 8
"""Segments in vain, besides as many as were found, after which no more are looked for."""
_HELD = 4 * GREATEST
"""Bytes of a segment that may be held; a larger one is a single transaction."""


class NearSegments:
    """The segments of spans that come in the order of their transactions, from a live log."""

    def __init__(self, log: Log, chunks: Chunks) -> None:
        """Read *log*, which may be damaged, and record indexes from *chunks*."""
        self._log = log
        self._chunks = chunks
        self._reader = RecordReader(log)
        self._transactions: Iterator[Transaction] = iter(())
        self._next: Transaction | None = None
        self._last = ZERO_TID  # of the live log; zeros: it has nothing to look for
        self._hits = self._misses = 0  # segments
        with suppress(BackupError):
            last = log.before(log.size)
            self._last = last.tid if last else ZERO_TID
            self._transactions = log.transactions()
            self._next = next(self._transactions, None)

    def may_have(self, span: Span) -> bool:
        """Tell whether the live log may have what *span* is made of."""
        segment = span.segment
        return segment.size <= _HELD and ZERO_TID < segment.last <= self._last

    def pieces(self, span: Span) -> SegmentPieces | None:
        """Return what gives the segment of *span* as far as that needs it; None: it is fetched."""
        found = self._made(span) if self.may_have(span) else None
        if found is not None:
            self._hits += 1
        elif self.may_have(span):
            self._misses += 1
            if self._misses > _MISSES + self._hits:
                self._last = ZERO_TID  # this log has little: to look costs more than it saves
        return found

    def _made(self, span: Span) -> SegmentPieces | None:
        # an index that lies may lead to before the log
        with suppress(BackupError, struct.error):
            names = span.segment.index
            index = RecordIndex(b"".join(self._chunks.get(ChunkKind.INDEX, it) for it in names))
            if index.size == span.segment.size and OPAQUE[0] not in index.statuses:
                making = _Making(span, index)
                for number in range(len(index.text_sizes)):
                    there = self._found(index.tid(number)) if making.is_within(number) else None
                    if not making.add(number, self._log, self._reader, there):
                        return None
                return _NearPieces(self._chunks, making)
        return None

    def _found(self, tid: Tid) -> Transaction | None:
        while self._next is not None and self._next.tid < tid:
            self._next = next(self._transactions, None)
        return self._next if self._next is not None and self._next.tid == tid else None


class _Making:
    """A segment that is put together, transaction by transaction."""

    def __init__(self, span: Span, index: RecordIndex) -> None:
        self.data = bytearray()  # of the segment
        self.lent: dict[Extent, bytes] = {}  # data that records carry instead of a backpointer
        self._span = span
        self._index = index
        self._base = span.segment.base
        self._row = 0  # among those of the range
        self._loans = iter(span.loans)

    def is_within(self, number: int) -> bool:
        """Tell whether a transaction is in the range of the span."""
        return self._span.begin <= self._index.begins[number] < self._span.end

    def piece(self, name: bytes) -> bytes | None:
        """Return a piece of the segment; None: it is one of another segment."""
        begin = 0
        for piece in self._span.segment.pieces:
            if piece.name == name:
                return bytes(self.data[begin : begin + piece.size])
            begin += piece.size
        return None

    def add(self, number: int, log: Log, reader: RecordReader, there: Transaction | None) -> bool:
        """Add a transaction, which may be *there* in *log*; False: that lacks what is needed."""
        index, data = self._index, self.data
        size, length = index.text_sizes[number], LENGTH.pack(index.length(number))
        head = log.read(there.begin, there.records - there.begin) if there else b""
        if len(head) != TRANSACTION.size + size:
            there, head = None, _blank(size)
        begin = self._base + len(data)
        tid = index.tid(number)
        data += tid + length + index.statuses[number : number + 1] + head[_LENGTHS:]
        places: Iterator[Place] = reader.places(there) if there else iter(())
        place = next(places, None)
        is_within = self.is_within(number)
        for row in range(index.starts[number], index.starts[number + 1]):
            oid, size = index.oid(row), index.sizes[row]
            at, distance = self._base + len(data), index.distances[row]
            data += RECORD.pack(oid, tid, at - distance if distance else 0, begin, 0, size)
            found = None
            if place is not None and place[0] == oid:
                found, place = place, next(places, None)
            is_needed = is_within and self._is_chosen()
            if not size:
                back, _tid = index.pointer(row)
                data += LENGTH.pack(at - back if back else 0)
                if is_needed:
                    self._lend(log, found)
            elif not is_needed:
                data += bytes(size)
            elif found is not None and found[2] == size:
                data += log.read(found[3], size)
            else:
                return False
        data += length
        return True

    def _is_chosen(self) -> bool:
        """Tell whether the span has the next record of its range."""
        row, chosen = self._row, self._span.chosen
        self._row += 1
        return not chosen or bool(chosen[row >> 3] >> (row & 7) & 1)

    def _lend(self, log: Log, found: Place | None) -> None:
        """Keep the data that the live log has in the place of a backpointer, if it has them."""
        loan = next(self._loans, None) if self._span.rule is Rule.PACKED else None
        if loan is None or not loan.size or found is None or found[2] != loan.size:
            return
        if loan.lender < len(self._span.lenders):
            extents = self._span.lenders[loan.lender].extents(loan.offset, loan.size)
            data = log.read(found[3], loan.size)
            for extent in extents:
                self.lent[extent], data = data[: extent.size], data[extent.size :]


class _NearPieces(SegmentPieces):
    """Pieces of which one was put together; the others are fetched."""

    def __init__(self, chunks: Chunks, made: _Making) -> None:
        super().__init__(chunks)
        self._made = made

    def extent(self, extent: Extent) -> bytes:
        """Return some bytes of a piece."""
        lent = self._made.lent.get(extent)
        return super().extent(extent) if lent is None else lent

    def _got(self, name: bytes) -> bytes:
        made = self._made.piece(name)
        return super()._got(name) if made is None else made


def _blank(size: int) -> bytes:
    """Return the head of a transaction whose texts, *size* bytes together, are not known."""
    lengths = []
    left = size
    for _text in range(3):
        lengths.append(min(left, _LONGEST))
        left -= lengths[-1]
    return TRANSACTION.pack(ZERO_TID, 0, b" ", *lengths) + bytes(size)

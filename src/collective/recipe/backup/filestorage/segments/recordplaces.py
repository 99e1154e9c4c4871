"""The places of the records of a span, from the record index of its segment.

The record index has a hundredth of the size of the segment, and no bytes have to be rebuilt.  The
rules by which a filestorage comes from segments are those of ``rebuilding``.
"""

from __future__ import annotations

from collective.recipe.backup.filestorage.format import LENGTH, RECORD, TRANSACTION
from collective.recipe.backup.filestorage.segments.chunkstore import ChunkKind, Chunks
from collective.recipe.backup.filestorage.segments.recordindex import RecordIndex
from collective.recipe.backup.filestorage.segments.rows import OPAQUE
from collective.recipe.backup.filestorage.segments.spans import Rule, Span
from collective.recipe.backup.model import Oid


def places_in(span: Span, offset: int, chunks: Chunks) -> list[tuple[Oid, int]] | None:
    """Return each record of *span*, which stands at *offset* of the filestorage, and its place.

    They come in their order.  None: the record index does not tell, all of the span has to be
    read.  Raises IntegrityError if it is missing or damaged.
    """
    if span.corrections:
        return None
    names = span.segment.index
    index = RecordIndex(b"".join(chunks.get(ChunkKind.INDEX, name) for name in names))
    if OPAQUE[0] in index.statuses:
        return None
    placing = _Placing(span, offset, index)
    placing.place_all()
    return placing.found if placing.end == offset + span.size else None


class _Placing:
    """Goes from record to record, and adds up what each takes."""

    def __init__(self, span: Span, offset: int, index: RecordIndex) -> None:
        self.end = offset  # offset after the span that was passed
        self.found: list[tuple[Oid, int]] = []
        self._span = span
        self._index = index
        self._number = 0  # of the record at hand among those of the range
        self._loans = iter(span.loans)

    def place_all(self) -> None:
        span, index = self._span, self._index
        # a transaction that has a segment of its own stays without records as well
        may_go = span.rule is Rule.PACKED and len(span.segment.pieces) == 1
        for number, text_size in enumerate(index.text_sizes):
            if not span.begin <= index.begins[number] < span.end:
                continue
            before, count = self.end, len(self.found)
            self.end += TRANSACTION.size + text_size
            self._place(range(index.starts[number], index.starts[number + 1]))
            if may_go and len(self.found) == count:
                self.end = before
            else:
                self.end += LENGTH.size

    def _place(self, rows: range) -> None:
        """Place the records of a transaction."""
        chosen, sizes, oids = self._span.chosen, self._index.sizes, self._index.oids
        is_packed, add = self._span.rule is Rule.PACKED, self.found.append
        # this is done for each record of a site
        for row in rows:
            number = self._number
            self._number = number + 1
            if chosen and not chosen[number >> 3] >> (number & 7) & 1:
                continue
            size = sizes[row]
            if not size:
                size = (is_packed and self._loaned()) or LENGTH.size
            add((Oid(oids[8 * row : 8 * row + 8]), self.end))
            self.end += RECORD.size + size

    def _loaned(self) -> int:
        """Return the bytes of data that the next record with a backpointer carries instead."""
        loan = next(self._loans, None)
        return 0 if loan is None else loan.size

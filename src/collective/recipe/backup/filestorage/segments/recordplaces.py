"""The places of the records of a span, from the record index of its segment.

The record index has a hundredth of the size of the segment, and no bytes have to be rebuilt.  The
rules by which a filestorage comes from segments are those of ``rebuilding``.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import accumulate, compress

from collective.recipe.backup.filestorage.format import LENGTH, RECORD, TRANSACTION
from collective.recipe.backup.filestorage.manyplaces import ManyPlaces
from collective.recipe.backup.filestorage.segments.recordindex import RecordIndex
from collective.recipe.backup.filestorage.segments.rows import OPAQUE
from collective.recipe.backup.filestorage.segments.spans import Rule, Span


def places_in(span: Span, offset: int, data: bytes) -> ManyPlaces | None:
    """Return the places of the records of *span*, which stands at *offset* of the filestorage.

    *data* are the record index of its segment.  None: that does not tell, all of the span has to
    be read.  Raises IntegrityError if it is damaged.
    """
    index = RecordIndex(data)
    if span.corrections or OPAQUE[0] in index.statuses:
        return None
    count = len(index.text_sizes)
    first = bisect_left(index.begins, span.begin, hi=count)
    stop = bisect_left(index.begins, span.end, hi=count)
    begin, end = index.starts[first], index.starts[stop]
    chosen = _bits(span.chosen)[: end - begin]
    if span.chosen and len(chosen) < end - begin:
        return None
    taken = _taken(span, index.sizes[begin:end], chosen)
    offsets: list[int] = []
    place = offset
    # a transaction that has a segment of its own stays without records as well
    may_go = span.rule is Rule.PACKED and len(span.segment.pieces) == 1
    for number in range(first, stop):
        rows = taken[index.starts[number] - begin : index.starts[number + 1] - begin]
        head = place + TRANSACTION.size + index.text_sizes[number]
        offsets += accumulate(rows, initial=head)
        # the last one is where a further record would stand
        after = offsets.pop()
        if after > head or not may_go:
            place = after + LENGTH.size
    if place != offset + span.size:
        return None
    oids = index.oids[8 * begin : 8 * end]
    if not chosen:
        return ManyPlaces(oids, array("Q", offsets))
    kept = array("Q", compress(array("Q", oids), chosen))
    return ManyPlaces(kept.tobytes(), array("Q", compress(offsets, chosen)))


def _taken(span: Span, sizes: array[int], chosen: list[int]) -> list[int]:
    """Return how many bytes each record takes in the filestorage, 0 for one that is not there."""
    pointer = RECORD.size + LENGTH.size
    if span.rule is not Rule.PACKED:
        return [RECORD.size + size if size else pointer for size in sizes]
    loans = iter(span.loans)

    def loaned() -> int:
        loan = next(loans, None)
        return RECORD.size + ((loan and loan.size) or LENGTH.size)

    if not chosen:
        return [RECORD.size + size if size else loaned() for size in sizes]
    return [
        (RECORD.size + size if size else loaned()) if bit else 0
        for size, bit in zip(sizes, chosen, strict=True)
    ]


def _bits(data: bytes) -> list[int]:
    """Return the bits of *data*, the lowest of each byte first."""
    return [byte >> bit & 1 for byte in data for bit in range(8)]

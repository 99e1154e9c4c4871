"""Comparison of a live transaction with a stored one, and corrections where the rules fail.

A pack rewrites transactions and records by rules (``fspack.py`` and ``format.py`` of ZODB's
FileStorage).  Here these rules are applied to the record index of a stored transaction, and every
field of the live one is compared with the result.  The data are compared by digests.

``rebuilding`` applies the same rules to the bytes of segments.  A field with another value is a
correction; a transaction with other records or data than the rules can give does not match.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from collective.recipe.backup.filestorage.format import LENGTH, PACKED, RECORD, TRANSACTION
from collective.recipe.backup.filestorage.segments.recordindex import RecordIndex
from collective.recipe.backup.filestorage.segments.rows import Rows
from collective.recipe.backup.filestorage.segments.spans import Rule
from collective.recipe.backup.filestorage.segments.storedsegments import (
    StoredData,
    StoredSegments,
    StoredTransaction,
)
from collective.recipe.backup.model import Oid

_STATUS, _PREVIOUS = 16, 16
"""Offsets of these fields in a transaction and in a record."""
_ID, _DIGEST = 8, 16

Correction = tuple[int, bytes]
"""An offset in the live log, and the bytes that stand there."""


def most_corrections(size: int) -> int:
    """Return how many corrections *size* bytes may have: with more, new segments are no larger.

    One takes a dozen bytes, so that is a kilobyte, or a sixteenth of *size*.
    """
    return max(85, size // 192)


class Match(NamedTuple):
    """The way from a stored transaction to a live one."""

    found: StoredTransaction  # the stored transaction
    rule: Rule  # by which the live bytes come from it
    rows: Sequence[int]  # of the records that it has, in the record index
    loans: Sequence[StoredData | None] = ()  # for each row without data; None: the object is gone
    pointers: Sequence[int] = ()  # offsets for pointers that lead below the floor, in their order
    floor: int = 0  # offset of the first moved transaction in the filestorage
    corrections: Sequence[Correction] = ()  # bytes that the rule gives wrongly


class Matcher:
    """Compares live transactions, which come in order, with stored ones."""

    def __init__(self, known: StoredSegments) -> None:
        """Compare with the transactions in *known*."""
        self._known = known
        self._floor = 0  # offset of the first transaction that no pack rewrote; 0: none so far

    def match(self, live: Rows) -> Match | None:
        """Return how the *live* transaction comes from a stored one; None: it does not."""
        if live.status != PACKED:
            self._floor = self._floor or live.transaction.begin
        if live.opaque:
            return None
        found = self._known.find(live.transaction.tid)
        if found is None or found.index.texts(found.number) != live.texts:
            return None
        begin = found.segment.base + found.index.begins[found.number]
        if begin == live.transaction.begin and _is_equal(live, found):
            return Match(found, Rule.VERBATIM, found.rows)
        if live.status == PACKED:
            return self._packed(live, found)
        return _moved(live, found, self._floor)

    def _packed(self, live: Rows, found: StoredTransaction) -> Match | None:
        """Match records that a pack chose among those of a transaction that it rewrote."""
        chosen = _chosen(live, found)
        # a pack writes no transaction without records
        if not chosen:
            return None
        loans: list[StoredData | None] = []
        for number, row in enumerate(chosen):
            if found.index.sizes[row]:
                continue
            loan = self._loan(live, number, found.index, row)
            if loan is None and live.sizes[number]:
                return None
            loans.append(loan)
        corrections: list[Correction] = []
        if any(live.distances) or live.sizes.count(0):
            most = most_corrections(live.transaction.end - live.transaction.begin)
            corrections = list(islice(_packed_corrections(live), most + 1))
            if len(corrections) > most:
                return None
        return Match(found, Rule.PACKED, chosen, loans=loans, corrections=corrections)

    def _loan(self, live: Rows, number: int, index: RecordIndex, row: int) -> StoredData | None:
        """Return where the data are that a live record has in place of a backpointer."""
        if not live.sizes[number]:
            return None
        _distance, tid = index.pointer(row)
        return self._known.data(Oid(index.oid(row)), tid, live.digest(number))


def _is_equal(live: Rows, found: StoredTransaction) -> bool:
    """Tell whether all columns of both are equal."""
    index, first, stop = found.index, found.rows.start, found.rows.stop
    return (
        index.statuses[found.number] == live.status[0]
        and index.oids[_ID * first : _ID * stop] == live.oids
        and index.digests[_DIGEST * first : _DIGEST * stop] == live.digests
        and index.sizes[first:stop] == live.sizes
        and index.distances[first:stop] == live.distances
    )


def _chosen(live: Rows, found: StoredTransaction) -> Sequence[int] | None:
    """Return the rows of the stored records that the live ones come from; None: not all do."""
    first, stop = found.rows.start, found.rows.stop
    oids, digests = bytes(live.oids), bytes(live.digests)
    stored_oids, stored_digests = found.index.oids, found.index.digests
    chosen = array("Q")
    row = first
    # this is done for each record that a pack leaves
    for number in range(len(live)):
        oid = oids[_ID * number : _ID * number + _ID]
        digest = digests[_DIGEST * number : _DIGEST * number + _DIGEST]
        at = stored_digests.find(digest, _DIGEST * row, _DIGEST * stop)
        row, rest = divmod(at, _DIGEST)
        if rest or at < 0 or stored_oids[_ID * row : _ID * row + _ID] != oid:
            return _chosen_among_alike(live, found)
        chosen.append(row)
        row += 1
    return chosen


def _chosen_among_alike(live: Rows, found: StoredTransaction) -> Sequence[int] | None:
    """Return the rows, also where records have backpointers or equal data; None: not all do."""
    index, stop = found.index, found.rows.stop
    chosen = array("Q")
    row = found.rows.start
    for number in range(len(live)):
        oid, digest = live.oid(number), live.digest(number)
        row = index.find(oid, row, stop)
        # an object may have two records in a transaction
        while row >= 0 and index.sizes[row] and index.digest(row) != digest:
            row = index.find(oid, row + 1, stop)
        if row < 0:
            return None
        chosen.append(row)
        row += 1
    return chosen


def _packed_corrections(live: Rows) -> Iterator[Correction]:
    """Yield the nonzero pointers of a transaction that a pack rewrote."""
    for number, offset in enumerate(_offsets(live)):
        if live.distances[number]:
            yield offset + _PREVIOUS, _as_pointer(offset, live.distances[number])
        if not live.sizes[number]:
            back = live.back(number)
            if back:
                yield offset + RECORD.size, _as_pointer(offset, back)


def _moved(live: Rows, found: StoredTransaction, floor: int) -> Match | None:
    """Match a whole transaction that only stands at another place now."""
    if not _has_equal_data(live, found):
        return None
    corrections: list[Correction] = []
    if found.index.statuses[found.number] != live.status[0]:
        corrections.append((live.transaction.begin + _STATUS, live.status))
    pointers = array("Q")
    most = most_corrections(live.transaction.end - live.transaction.begin)
    for offset, place, was, distance in _pointers(live, found):
        if was and offset - was < floor:
            pointers.append(offset - distance if distance else 0)
        elif was != distance:
            corrections.append((offset + place, _as_pointer(offset, distance)))
            if len(corrections) > most:
                return None
    return Match(
        found, Rule.MOVED, found.rows, pointers=pointers, floor=floor, corrections=corrections
    )


def _has_equal_data(live: Rows, found: StoredTransaction) -> bool:
    """Tell whether both have equal objects with equal data, wherever pointers lead."""
    index, first, stop = found.index, found.rows.start, found.rows.stop
    if index.oids[_ID * first : _ID * stop] != live.oids or index.sizes[first:stop] != live.sizes:
        return False
    return index.digests[_DIGEST * first : _DIGEST * stop] == live.digests or not any(
        size and index.digest(first + number) != live.digest(number)
        for number, size in enumerate(live.sizes)
    )


def _pointers(live: Rows, found: StoredTransaction) -> Iterator[tuple[int, int, int, int]]:
    """Yield each pointer: offset of its record, where it stands there, its distances.

    The first distance is that of the stored record, the second that of the live one.
    """
    index, first = found.index, found.rows.start
    for number, offset in enumerate(_offsets(live)):
        yield offset, _PREVIOUS, index.distances[first + number], live.distances[number]
        if not live.sizes[number]:
            yield offset, RECORD.size, index.pointer(first + number)[0], live.back(number)


def _offsets(live: Rows) -> Iterator[int]:
    """Yield the offset of each live record."""
    offset = live.transaction.begin + TRANSACTION.size + live.texts_size
    for size in live.sizes:
        yield offset
        offset += RECORD.size + (size or LENGTH.size)


def _as_pointer(offset: int, distance: int) -> bytes:
    """Return the pointer that a record at *offset* has, as it stands in the log."""
    return LENGTH.pack(offset - distance if distance else 0)

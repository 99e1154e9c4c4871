"""The bytes of a span, from those of its segment.

Verbatim: they are those bytes.

Packed: as FileStorage's pack writes transactions up to the pack time.  Records of the range that
were not chosen are left out, and so are transactions without any chosen record.  Everything else is
as in the segment, but

* the status of a transaction is "p"; its two lengths are what it has now;
* a record says where its transaction begins now; its previous record is 0;
* a record with a backpointer carries the data of the next loan.  If those are of size 0, its
  backpointer is 0.

Moved: as a pack writes later transactions.  All is as in the segment, but

* a record says where its transaction begins now;
* the pointer to its previous record, and then its backpointer if it has one, lead as far back
  as they did.  One that would now lead to an offset below the *floor*, which is where these
  transactions begin in the filestorage, is the next of the span's *pointers* instead, since a
  pack moves what is there by different distances.  0 stays 0.

In the end the corrections replace what they are for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from blake3 import blake3

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.format import (
    LENGTH,
    PACKED,
    RECORD,
    Transaction,
)
from collective.recipe.backup.filestorage.framing import DAMAGE_HINT
from collective.recipe.backup.filestorage.records import RecordReader
from collective.recipe.backup.filestorage.segments.chunkstore import GREATEST
from collective.recipe.backup.filestorage.segments.pieces import SegmentLog, SegmentPieces
from collective.recipe.backup.filestorage.segments.segment import Extent
from collective.recipe.backup.filestorage.segments.spans import BLOCK, Rule, Span
from collective.recipe.backup.filestorage.window import Window
from collective.recipe.backup.times import ZERO_TID

_PART = 1 << 20
"""Bytes of large data that are handed on at once."""
_BEYOND = 1 << 64
"""The first number that a pointer of 8 bytes cannot say."""
_BITS = tuple(tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256))
_LENGTHS = slice(17, None)
"""Of the header of a transaction: the lengths of its texts, and then they."""


Part: TypeAlias = bytes | Extent
"""Bytes of a filestorage, or where they are stored."""


def rebuilt(span: Span, offset: int, pieces: SegmentPieces, skip: int = 0) -> Iterator[bytes]:
    """Yield the bytes of *span*, which stands at *offset* of the filestorage, block by block.

    A block has 4 MiB, the last one maybe less.  The first *skip* blocks are left out.  A block is
    yielded only if its digest is right.  Raises IntegrityError for missing or damaged chunks.
    """
    skipped = skip if span.rule is Rule.VERBATIM else 0
    parts = _parts(span, offset, pieces, skipped * BLOCK)
    number = skipped
    for block in _blocks(parts):
        if number >= skip:
            right = _corrected(span, number * BLOCK, block)
            size = min(BLOCK, span.size - number * BLOCK)
            if len(right) != size or blake3(right).digest() != span.digests[number]:
                raise _unlike(offset + number * BLOCK)
            yield right
        number += 1
    if number != len(span.digests):
        raise _unlike(offset + number * BLOCK)


def _parts(span: Span, offset: int, pieces: SegmentPieces, skip: int) -> Iterator[bytes]:
    """Yield the bytes of *span* as its rule gives them."""
    if span.rule is Rule.VERBATIM:
        extents = span.segment.extents(span.begin + skip, span.end - span.begin - skip)
        return map(pieces.extent, extents)
    rewriting = _Rewriting(span, offset, pieces)
    return rewriting.packed() if span.rule is Rule.PACKED else rewriting.moved()


class _Rewriting:
    """Applies the rules of a pack to a range of a segment."""

    def __init__(self, span: Span, offset: int, pieces: SegmentPieces) -> None:
        self._span = span
        self._offset = offset  # of the transaction at hand in the filestorage
        self._pieces = pieces
        self._log = SegmentLog(span.segment, pieces)
        self._reader = RecordReader(self._log)
        self._reader.window = self._log.window(GREATEST)
        self._row = 0  # of the record at hand among those of the range
        self._chosen = _numbers(span.chosen)
        self._next = next(self._chosen, -1)  # the row that is chosen next
        self._loans = iter(span.loans)
        self._pointers = (pointer for (pointer,) in LENGTH.iter_unpack(span.pointers))

    def packed(self) -> Iterator[bytes]:
        """Yield what a pack makes of transactions before the pack time."""
        # a transaction that has a segment of its own may be too large to be held
        alone = len(self._span.segment.pieces) > 1
        for transaction in self._transactions():
            parts: Iterable[Part] = self._packed_records(transaction)
            length = self._span.size - LENGTH.size
            if not alone:
                parts = list(parts)
                length = transaction.records - transaction.begin + sum(map(_size, parts))
                if not parts:
                    continue
            head = self._log.read(transaction.begin, transaction.records - transaction.begin)
            yield transaction.tid + LENGTH.pack(length) + PACKED + head[_LENGTHS]
            yield from map(self._bytes, parts)
            yield LENGTH.pack(length)
            self._offset += length + LENGTH.size

    def moved(self) -> Iterator[bytes]:
        """Yield what a pack makes of transactions after the pack time."""
        for transaction in self._transactions():
            yield self._log.read(transaction.begin, transaction.records - transaction.begin)
            yield from self._moved_records(transaction)
            length = transaction.end - transaction.begin
            yield LENGTH.pack(length - LENGTH.size)
            self._offset += length

    def _transactions(self) -> Iterator[Transaction]:
        base, span = self._span.segment.base, self._span
        at, end = base + span.begin, base + span.end
        for transaction in self._log.walk(at, ZERO_TID):
            if transaction.end > end:
                break
            yield transaction
            at = transaction.end
            if at == end:
                return
        raise IntegrityError(
            f"no transaction stands at byte {at}", where=self._log.path, hint=DAMAGE_HINT
        )

    def _packed_records(self, transaction: Transaction) -> Iterator[Part]:
        some, offset, window = bool(self._span.chosen), self._offset, self._reader.window
        # this is done for each record of the segments that a state needs
        for oid, tid, size, data, index, _previous in self._reader.places(transaction):
            row = self._row
            self._row += 1
            if some:
                if row != self._next:
                    continue
                self._next = next(self._chosen, -1)
            if not size:
                yield from self._loaned(oid + tid)
            elif index + size <= len(window.data):
                head = RECORD.pack(oid, tid, 0, offset, 0, size)
                yield head + window.data[index : index + size]
            else:
                yield RECORD.pack(oid, tid, 0, offset, 0, size)
                yield from self._data(data, size)

    def _loaned(self, ids: bytes) -> Iterator[Part]:
        """Yield a record that had a backpointer; *ids* are its oid and tid."""
        loan, lenders = next(self._loans, None), self._span.lenders
        if loan is None or (loan.size and loan.lender >= len(lenders)):
            raise IntegrityError("data are missing from a span", hint=DAMAGE_HINT)
        yield RECORD.pack(ids[:8], ids[8:], 0, self._offset, 0, loan.size)
        if loan.size:
            yield from lenders[loan.lender].extents(loan.offset, loan.size)
        else:
            yield LENGTH.pack(0)

    def _bytes(self, part: Part) -> bytes:
        return self._pieces.extent(part) if isinstance(part, Extent) else part

    def _moved_records(self, transaction: Transaction) -> Iterator[bytes]:
        begin, window = self._offset, self._reader.window
        for oid, tid, size, data, index, previous in self._reader.places(transaction):
            place = data - RECORD.size
            moved = place - transaction.begin + begin
            pointer = self._pointer(moved - (place - previous)) if previous else 0
            head = RECORD.pack(oid, tid, pointer, begin, 0, size)
            if not size:
                (back,) = LENGTH.unpack_from(window.data, index)
                yield head
                yield LENGTH.pack(self._pointer(moved - (place - back)) if back else 0)
            elif index + size <= len(window.data):
                yield head + window.data[index : index + size]
            else:
                yield head
                yield from self._data(data, size)

    def _pointer(self, target: int) -> int:
        """Return the pointer of a moved record that leads to *target* if that has moved too."""
        if target >= _BEYOND:
            raise IntegrityError("a pointer leads beyond every log", hint=DAMAGE_HINT)
        if target >= self._span.floor:
            return target
        pointer = next(self._pointers, None)
        if pointer is None:
            raise IntegrityError("pointers are missing from a span", hint=DAMAGE_HINT)
        return int(pointer)

    def _data(self, data: int, size: int) -> Iterator[bytes]:
        """Yield data that are not in the window."""
        window: Window = self._reader.window
        for offset in range(data, data + size, _PART):
            length = min(_PART, data + size - offset)
            index = window.at(offset, length)
            yield window.data[index : index + length]


def _size(part: Part) -> int:
    return part.size if isinstance(part, Extent) else len(part)


def _numbers(bits: bytes) -> Iterator[int]:
    """Yield the number of each bit that is set."""
    for number, byte in enumerate(bits):
        for bit in _BITS[byte]:
            yield 8 * number + bit


def _blocks(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield bytes in blocks."""
    held: list[bytes] = []
    room = BLOCK
    for part in parts:
        held.append(part)
        room -= len(part)
        while room <= 0:
            # of the last part, what fits
            last = held.pop()
            held.append(last[: len(last) + room])
            yield b"".join(held)
            held = [last[len(last) + room :]]
            room = BLOCK - len(held[0])
    if any(held):
        yield b"".join(held)


def _corrected(span: Span, begin: int, block: bytes) -> bytes:
    """Return the block that begins at *begin* of *span* with its corrections."""
    right = bytearray()
    for offset, correction in span.corrections:
        if offset + len(correction) <= begin or offset >= begin + len(block):
            continue
        right = right or bytearray(block)
        first = max(offset, begin)
        here = correction[first - offset : begin + len(block) - offset]
        right[first - begin : first - begin + len(here)] = here
    return bytes(right) if right else block


def _unlike(offset: int) -> IntegrityError:
    return IntegrityError(
        f"what is stored does not give the filestorage at byte {offset}", hint=DAMAGE_HINT
    )

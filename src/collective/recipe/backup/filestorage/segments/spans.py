"""Spans: the parts of a filestorage, as ranges of segments with a rule for each.

A *span* stands for consecutive bytes of a filestorage, always whole transactions.  It names a
segment and a range of it, and the rule by which the bytes of the filestorage come from those::

    verbatim   they are those bytes
    packed     a pack has kept some records of them: see rebuilding
    moved      a pack has moved them: see rebuilding

Bytes that a rule gives wrongly are corrected one by one.  ``written`` and ``read`` turn a span into
bytes and back::

    rule           1 byte: 0 verbatim, 1 packed, 2 moved
    segment        as ``segment`` writes it
    begin, end     numbers: the range of the segment
    size           number: of the bytes in the filestorage
    last           8 bytes: the greatest tid in the filestorage up to the end of the span
    transactions   number: how many the filestorage has in this span
    records        number: how many data records
    digests        32 bytes each: BLAKE3 of the bytes in the filestorage, for each 4 MiB of them
    packed only    chosen    string: bit n % 8 of byte n // 8 tells of record n of the range
                             whether the pack kept it; empty: it kept all
                   lenders   number, then the segments that data are borrowed from
                   loans     number, then for each record of a backpointer that was kept, where
                             the data are that it carries: numbers lender (0 is the first of
                             them), offset in its segment, and size (0: it carries none)
    moved only     floor     number: see rebuilding
                   pointers  number, then 8 bytes each: see rebuilding
    corrections    number, then for each: number of bytes since the end of the one before,
                   string the bytes
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from blake3 import blake3

from collective.recipe.backup.filestorage.format import SMALLEST
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.segments import segment
from collective.recipe.backup.filestorage.segments.fields import Fields, Names, number, string
from collective.recipe.backup.filestorage.segments.segment import Segment
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.times import Tid

BLOCK = 1 << 22
"""Bytes of a filestorage that one digest is for."""
_DIGEST = 32
_TID = 8
_POINTER = 8
_SMALLEST_LENDER = 20
"""Bytes that a segment takes at least."""


class Rule(IntEnum):
    """The rule by which the bytes of a span come from those of its segment."""

    VERBATIM = 0
    PACKED = 1
    MOVED = 2


class Loan(NamedTuple):
    """The place of data that a record carries instead of a backpointer."""

    lender: int  # its number among the lenders of the span
    offset: int  # in the segment
    size: int  # in bytes; 0: the object is gone


@dataclass(frozen=True, kw_only=True)
class Span:
    """Consecutive bytes of a filestorage: see the module."""

    rule: Rule  # by which its bytes come from the segment
    segment: Segment  # that has them
    begin: int  # of the range of the segment, in bytes
    end: int  # offset after its range of the segment
    size: int  # bytes in the filestorage
    last: Tid  # the greatest in the filestorage up to the end of the span
    transactions: int  # how many the filestorage has
    records: int  # number of data records in the filestorage
    digests: tuple[bytes, ...]  # BLAKE3 of each 4 MiB of the bytes in the filestorage
    chosen: bytes = b""  # packed: a bit for each record of the range; empty: all
    lenders: tuple[Segment, ...] = ()  # packed: whose data records carry
    loans: tuple[Loan, ...] = ()  # packed: one for each backpointer that was kept
    floor: int = 0  # moved: pointers that would lead to lower offsets are among *pointers*
    pointers: bytes = b""  # moved: 8 bytes for each pointer
    corrections: tuple[tuple[int, bytes], ...] = ()  # offset in the span, the right bytes

    @property
    def weight(self) -> int:
        """About how many bytes it takes, written."""
        corrected = sum(len(right) + 2 for _offset, right in self.corrections)
        details = len(self.chosen) + 8 * len(self.loans) + len(self.pointers) + corrected
        return 100 + _DIGEST * len(self.digests) + details

    @property
    def share(self) -> float:
        """The fraction of its segment that it uses; a pack may make it greater than 1."""
        return self.size / self.segment.size


def block_digests(log: Log, begin: int, end: int) -> tuple[bytes, ...]:
    """Return the digests that a span for this range of *log* has."""
    return tuple(
        blake3(log.read(offset, min(BLOCK, end - offset))).digest()
        for offset in range(begin, end, BLOCK)
    )


def written(span: Span, names: Names) -> bytes:
    """Return *span* as bytes."""
    parts = [
        bytes([span.rule]),
        segment.written(span.segment, names),
        number(span.begin),
        number(span.end),
        number(span.size),
        span.last,
        number(span.transactions),
        number(span.records),
        *span.digests,
    ]
    if span.rule is Rule.PACKED:
        parts += [string(span.chosen), number(len(span.lenders))]
        parts += [segment.written(lender, names) for lender in span.lenders]
        parts.append(number(len(span.loans)))
        parts += [b"".join(map(number, loan)) for loan in span.loans]
    if span.rule is Rule.MOVED:
        parts += [number(span.floor), number(len(span.pointers) // _POINTER), span.pointers]
    parts.append(number(len(span.corrections)))
    end = 0
    for offset, right in span.corrections:
        parts.append(number(offset - end) + string(right))
        end = offset + len(right)
    return b"".join(parts)


def read(fields: Fields) -> Span:
    """Return the next span of *fields*.  Raises IntegrityError if it does not fit together."""
    rule = fields.take(1)[0]
    if rule not in list(Rule):
        raise fields.damaged(f"the rule {rule} of a span is not known here")
    found = segment.read(fields)
    begin, end, size = fields.number(), fields.number(), fields.number()
    if not begin < end <= found.size or size < SMALLEST:
        raise fields.damaged("the range of a span does not fit its segment")
    last, transactions, records = Tid(fields.take(_TID)), fields.number(), fields.number()
    if (-(-size // BLOCK)) * _DIGEST > fields.left:
        raise fields.damaged("a span is larger than its digests")
    digests = tuple(fields.take(_DIGEST) for _block in range(0, size, BLOCK))
    packed, moved = rule == Rule.PACKED, rule == Rule.MOVED
    return Span(
        rule=Rule(rule),
        segment=found,
        begin=begin,
        end=end,
        size=size,
        last=last,
        transactions=transactions,
        records=records,
        digests=digests,
        chosen=fields.string() if packed else b"",
        lenders=tuple(_lenders(fields)) if packed else (),
        loans=tuple(_loans(fields)) if packed else (),
        floor=fields.number() if moved else 0,
        pointers=fields.take(fields.count(_POINTER) * _POINTER) if moved else b"",
        corrections=tuple(_corrections(fields, size)),
    )


def _lenders(fields: Fields) -> Iterator[Segment]:
    for _lender in range(fields.count(_SMALLEST_LENDER)):
        yield segment.read(fields)


def _loans(fields: Fields) -> Iterator[Loan]:
    for _loan in range(fields.count(3)):
        yield Loan(fields.number(), fields.number(), fields.number())


def _corrections(fields: Fields, size: int) -> Iterator[tuple[int, bytes]]:
    end = 0
    for _correction in range(fields.count(2)):
        offset = end + fields.number()
        right = fields.string()
        end = offset + len(right)
        if end > size:
            raise fields.damaged("a correction is not within its span")
        yield offset, right

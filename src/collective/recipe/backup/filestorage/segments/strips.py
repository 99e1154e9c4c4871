"""Consecutive live transactions that come from one segment by one rule, on their way to a span."""

from __future__ import annotations

import struct

from collective.recipe.backup.filestorage.format import Transaction
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.segments import spans
from collective.recipe.backup.filestorage.segments.logstate import HEAVIEST
from collective.recipe.backup.filestorage.segments.matching import (
    Correction,
    Match,
    most_corrections,
)
from collective.recipe.backup.filestorage.segments.rows import OPAQUE
from collective.recipe.backup.filestorage.segments.segment import Segment
from collective.recipe.backup.filestorage.segments.spans import Loan, Rule, Span
from collective.recipe.backup.filestorage.segments.storedsegments import StoredData


class Strip:
    """Live transactions from *begin* to *end* in the log, of which ``matches`` came in order."""

    def __init__(self, transaction: Transaction, match: Match) -> None:
        """Begin with one transaction."""
        self.begin = transaction.begin
        self.end = transaction.end
        self._found = match.found
        self._rule = match.rule
        self._floor = match.floor
        self._first = self._last = match.found.number
        self._last_tid = transaction.tid
        self._transactions = self._records = 0
        self._bits = bytearray()
        self._base = match.found.rows.start  # the row of the first bit
        self._lenders: dict[Segment, int] = {}
        self._loans: list[Loan] = []
        self._pointers = bytearray()
        self._corrections: list[Correction] = []
        self.add(transaction, match)

    @property
    def size(self) -> int:
        """Bytes of the log."""
        return self.end - self.begin

    @property
    def share(self) -> float:
        """The fraction of its segment that it uses; a pack may make it greater than 1."""
        return self.size / self._found.segment.size

    @property
    def is_worth_it(self) -> bool:
        """Tell whether its span takes fewer bytes than would be worth a new segment."""
        details = len(self._bits) + 8 * len(self._loans) + len(self._pointers)
        few = len(self._corrections) <= most_corrections(self.size)
        return few and details <= HEAVIEST

    def joins(self, transaction: Transaction, match: Match) -> bool:
        """Tell whether a transaction goes on where this ends."""
        return (
            transaction.begin == self.end
            and match.found.segment is self._found.segment
            and match.rule is self._rule
            and match.floor == self._floor
            and self._may_follow(match.found.number)
        )

    def _may_follow(self, number: int) -> bool:
        """Tell whether that transaction of the segment is the next one, by the rule."""
        left_out = self._found.index.statuses[self._last + 1 : number]
        if self._rule is Rule.PACKED:
            # the record index does not have the records of opaque transactions
            return number > self._last and OPAQUE not in left_out
        return number == self._last + 1

    def add(self, transaction: Transaction, match: Match) -> None:
        """Add a transaction that joins."""
        self.end = transaction.end
        self._last = match.found.number
        self._last_tid = transaction.tid
        self._transactions += 1
        self._records += len(match.rows)
        self._loans += map(self._loan, match.loans)
        self._pointers += struct.pack(f">{len(match.pointers)}Q", *match.pointers)
        self._corrections += match.corrections
        if match.rule is Rule.PACKED:
            self._set_bits(match)

    def span(self, log: Log) -> Span:
        """Return the span; *log* is read once more, for the digests."""
        segment, index = self._found.segment, self._found.index
        records = index.starts[self._last + 1] - index.starts[self._first]
        return Span(
            rule=self._rule,
            segment=segment,
            begin=index.begins[self._first],
            end=index.begins[self._last + 1],
            size=self.size,
            last=self._last_tid,
            transactions=self._transactions,
            records=self._records,
            digests=spans.block_digests(log, self.begin, self.end),
            chosen=b"" if records == self._records else bytes(self._bits),
            lenders=tuple(self._lenders),
            loans=tuple(self._loans),
            floor=self._floor,
            pointers=bytes(self._pointers),
            corrections=tuple(
                (offset - self.begin, right) for offset, right in sorted(self._corrections)
            ),
        )

    def _loan(self, data: StoredData | None) -> Loan:
        if data is None:
            return Loan(0, 0, 0)
        lender = self._lenders.setdefault(data.segment, len(self._lenders))
        return Loan(lender, data.offset, data.size)

    def _set_bits(self, match: Match) -> None:
        stop = match.found.rows.stop - self._base
        self._bits += bytes((stop + 7 >> 3) - len(self._bits))
        bits, base = self._bits, self._base
        for row in match.rows:
            bit = row - base
            bits[bit >> 3] |= 1 << (bit & 7)

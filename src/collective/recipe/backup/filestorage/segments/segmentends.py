"""The places where a log is cut into segments.

A segment ends where a transaction ends.  It has 1 MiB at least and 4 MiB at most, but for three
cases: the last one of a log or of a stretch has what is left; the segment before a transaction
that does not fit any more ends before it; and a transaction of more than 4 MiB is a segment of
its own.

From 1 MiB on, a transaction is the last of its segment if the number that its tid draws (see
keys) is low enough.  Its chance is its length in MiB, so there is an end in each MiB on
average, whether transactions are small or large.  A cut depends on the cut before it, on tids
and on lengths, and on nothing that follows: in a log that grows, cuts never move.  Two logs
with equal transactions and different cuts before them are soon cut at one place, and from there
on alike, since both accept the same transactions.
"""

from __future__ import annotations

from collective.recipe.backup.filestorage.format import Transaction
from collective.recipe.backup.filestorage.segments.segmentkeys import Keys

LEAST = 1 << 20
GREATEST = 1 << 22
MEAN = 1 << 20
"""Bytes among which one transaction is accepted as the last of a segment, on average."""


class Cutter:
    """Decides where the segments of a stretch of the log end.  Transactions come in order.

    For each transaction, ask ``ends_before`` and then ``ends_after``.
    """

    def __init__(self, keys: Keys, begin: int) -> None:
        """Begin the first segment at the offset *begin*."""
        self._keys = keys
        self.begin = begin  # of the segment that is open, an offset in the log

    def ends_before(self, transaction: Transaction) -> bool:
        """Tell whether the segment ends before *transaction*, since both are too large for one."""
        ends = self.begin < transaction.begin and transaction.end - self.begin > GREATEST
        if ends:
            self.begin = transaction.begin
        return ends

    def ends_after(self, transaction: Transaction) -> bool:
        """Tell whether the segment ends with *transaction*."""
        size = transaction.end - self.begin
        ends = size >= LEAST and (size > GREATEST or self._is_accepted(transaction))
        if ends:
            self.begin = transaction.end
        return ends

    def _is_accepted(self, transaction: Transaction) -> bool:
        length = transaction.end - transaction.begin
        return self._keys.lot(transaction.tid) * MEAN < length << 64

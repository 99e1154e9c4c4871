"""A live log as spans: of stored segments where they have it, of new ones where they do not.

Transactions that come from stored segments make up strips, and each strip a span.  All others
go into new segments.  A span takes room too, so these strips are stored anew as well:

* one that needs many corrections;
* one that uses less than a given share of its segment (see capturing);
* an *island*: less than 64 KiB of strips between new segments.
"""

from __future__ import annotations

from collections.abc import Iterable

from collective.recipe.backup.filestorage.format import Transaction
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.segments.matching import Match, Matcher
from collective.recipe.backup.filestorage.segments.newsegments import SegmentWriter, Target
from collective.recipe.backup.filestorage.segments.newstate import LogStateWriter
from collective.recipe.backup.filestorage.segments.rows import RowReader, Rows
from collective.recipe.backup.filestorage.segments.segmentends import Cutter
from collective.recipe.backup.filestorage.segments.storedsegments import StoredSegments
from collective.recipe.backup.filestorage.segments.strips import Strip
from collective.recipe.backup.progress import Advance
from collective.recipe.backup.times import ZERO_TID, Tid

ISLAND = 1 << 16
"""Bytes of strips for which the new segment before them ends."""


class Selector:
    """Turns consecutive transactions of a log into spans of a new state."""

    def __init__(self, log: Log, target: Target, writer: LogStateWriter) -> None:
        """Store new segments of *log* as *target* says; add spans to *writer*."""
        self.packed = ZERO_TID  # the greatest tid of those that a pack rewrote
        self.selected = 0  # bytes of the log that stored segments had
        self.settled = 0  # the last cut, after select
        self._log = log
        self._target = target
        self._writer = writer
        self._rows = RowReader(log, target.keys)
        self._segments: SegmentWriter | None = None  # new segments, up to the strip
        self._island: list[Strip] = []  # strips that follow the run
        self._strip: Strip | None = None  # the one that is growing

    def resume(self, begin: int, cutter: Cutter) -> None:
        """Take what comes from *begin* on for new, cut by *cutter*."""
        self._segments = SegmentWriter(self._log, begin, cutter, self._target.chunks)

    def select(self, all_rows: Iterable[Rows], known: StoredSegments, advance: Advance) -> None:
        """Add the spans of the last transactions of the log, given the *known* segments."""
        matcher = Matcher(known)
        for rows in all_rows:
            transaction = rows.transaction
            if self._target.blobs is not None:
                self._target.blobs.note(transaction, None if rows.opaque else rows.blobs)
            match = matcher.match(rows)
            if match is None:
                self._end_strip()
                self._store_island()
                self._store(rows)
            else:
                self._grow_strip(transaction, match)
            if transaction.packed:
                self.packed = max(self.packed, transaction.tid)
            advance(transaction.end - transaction.begin)
        self._end_strip()
        self._finish()

    def _grow_strip(self, transaction: Transaction, match: Match) -> None:
        if self._strip and self._strip.joins(transaction, match):
            self._strip.add(transaction, match)
        else:
            self._end_strip()
            self._strip = Strip(transaction, match)

    def _end_strip(self) -> None:
        """Decide what the strip that was growing becomes."""
        strip, self._strip = self._strip, None
        if strip is None:
            return
        if not strip.is_worth_it or strip.share < self._target.least_share:
            self._store_island()
            self._store_strip(strip)
            return
        self._island.append(strip)
        if self._segments is None or strip.end - self._island[0].begin >= ISLAND:
            self._end_run()
            for each in self._island:
                self.selected += each.size
                self._writer.add(each.span(self._log))
            self._island.clear()

    def _store_island(self) -> None:
        for strip in self._island:
            self._store_strip(strip)
        self._island.clear()

    def _store_strip(self, strip: Strip) -> None:
        for transaction in self._log.transactions(strip.begin, strip.end):
            self._store(self._rows.rows(transaction))

    def _store(self, rows: Rows) -> None:
        """Store a transaction anew."""
        if self._segments is None:
            begin = rows.transaction.begin
            self.resume(begin, Cutter(self._target.keys, begin))
        assert self._segments is not None  # noqa: S101  for mypy: resume made one
        for span in self._segments.add(rows):
            self._writer.add(span)

    def _end_run(self) -> None:
        for span in self._segments.finish() if self._segments else ():
            self._writer.add(span)
        self._segments = None

    def _finish(self) -> None:
        """Add the remaining transactions; the next state may supersede their spans."""
        self._store_island()
        self.settled = self._writer.size
        if self._segments:
            self.settled = self._segments.settled
            for span in self._segments.finish():
                self._writer.add_last(span)


def last_packed(log: Log, stop: int) -> Tid:
    """Return the greatest tid of the transactions up to *stop* that a pack rewrote; zeros: none."""
    tids = (each.tid for each in log.transactions(stop=stop) if each.packed)
    return max(tids, default=ZERO_TID)

"""Capture: make a state of a filestorage as it is now, storing little more than the changes.

The spans of the last state that still stand are kept: as long as the file has only grown, that is
all of them.  From the first one that differs on, the log is read and each transaction is looked for
in the stored segments; see selecting.  So it is after a pack, after a restore to an earlier moment,
and with a copy of a site.

Transactions after the last cut lie in short segments that the next capture may supersede.  Each new
one is merged with those before it that are not larger than twice its size.  So there are few of
them, and a capture each minute stores no byte more often than a few times.

A segment is kept as a whole as long as a span uses a part of it.  Once no state needs the rest,
that is a waste: with *least_share* of a Target, a capture stores spans anew that would use less
than that share of their segment.
"""

from __future__ import annotations

from itertools import chain, islice, takewhile
from typing import NamedTuple

from collective.recipe.backup.filestorage.format import MAGIC_SIZE, MAGICS
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.logcut import LogEnd
from collective.recipe.backup.filestorage.segments.logstate import LogState
from collective.recipe.backup.filestorage.segments.newsegments import Target
from collective.recipe.backup.filestorage.segments.newstate import LogStateWriter
from collective.recipe.backup.filestorage.segments.rowsahead import RowsWanted, rows_of
from collective.recipe.backup.filestorage.segments.segmentends import Cutter
from collective.recipe.backup.filestorage.segments.selecting import Selector, last_packed
from collective.recipe.backup.filestorage.segments.spans import Span
from collective.recipe.backup.filestorage.segments.storedsegments import StoredSegments
from collective.recipe.backup.filestorage.segments.unchanged import unchanged_spans
from collective.recipe.backup.times import ZERO_TID, Tid

_NOTHING = LogState(
    magic=MAGICS[0],
    size=MAGIC_SIZE,
    settled=MAGIC_SIZE,
    first=ZERO_TID,
    last=ZERO_TID,
    packed=ZERO_TID,
)
"""The state of a filestorage without transactions."""


class Captured(NamedTuple):
    """The state of a filestorage, and the origin of its bytes."""

    state: LogState  # the new state
    kept: int  # bytes of the filestorage in spans of the last state
    selected: int  # bytes in other spans of stored segments
    added: int  # bytes in new segments


def capture(
    log: Log, end: LogEnd, target: Target, last: LogState | None = None, *, grown: bool = False
) -> Captured:
    """Return the state of *log* up to *end*, and store what it needs and *last* does not have.

    *last* is the state of an earlier capture, of this file or of a similar one; the more they
    have in common, the less is stored.  *grown*: *last* is of this very file, which has only
    grown since (see has_grown).  Otherwise each byte is compared.

    Raises IntegrityError for a damaged log, or if the chunks of *last* are damaged.
    """
    return _Capture(log, end, target).run(last or _NOTHING, grown=grown)


class _Capture:
    """The steps of ``capture``."""

    def __init__(self, log: Log, end: LogEnd, target: Target) -> None:
        self._log = log
        self._stop = end.offset
        self._target = target
        self._chunks = target.chunks
        self._writer = LogStateWriter(target.chunks)
        self._selector = Selector(log, target, self._writer)

    def run(self, last: LogState, *, grown: bool) -> Captured:
        magic = self._log.read(0, MAGIC_SIZE)
        count = self._standing(last, grown=grown)
        if last.size == self._stop and count == last.span_count and last.magic == magic:
            return Captured(last, self._stop - MAGIC_SIZE, 0, 0)
        if count == last.span_count:
            self._go_on(last)
        else:
            self._keep(last, count)
        rest = islice(last.all_spans(self._chunks), count, None)
        segments = chain.from_iterable((span.segment, *span.lenders) for span in rest)
        known = StoredSegments(self._chunks, segments)
        begin, greatest = self._writer.size, self._writer.last
        with self._target.progress.phase("reading the filestorage", self._stop - begin) as advance:
            wanted = RowsWanted(begin, self._stop, greatest)
            blobs = self._target.blobs is not None
            rows = rows_of(self._log, wanted, self._target.keys, blobs=blobs)
            self._selector.select(rows, known, advance)
        state = self._writer.state(
            magic=magic,
            settled=self._selector.settled,
            first=self._first(),
            packed=self._packed(last, begin, greatest),
        )
        selected = self._selector.selected
        return Captured(state, begin - MAGIC_SIZE, selected, self._stop - begin - selected)

    def _standing(self, last: LogState, *, grown: bool) -> int:
        """Return how many of the first spans of *last* the log still has, and are to be kept."""
        least = self._target.least_share
        if grown and not least:
            return last.span_count
        if grown:
            spans = last.all_spans(self._chunks)
        else:
            spans = unchanged_spans(last, self._chunks, self._log, self._stop)
        return sum(1 for _span in takewhile(lambda span: span.share >= least, spans))

    def _keep(self, last: LogState, count: int) -> None:
        """Take over the first *count* spans of *last*."""
        for page in last.pages:
            if count < page.spans:
                break
            self._writer.keep(page)
            count -= page.spans
        for span in islice(last.all_spans(self._chunks, skip=self._writer.pages), count):
            self._writer.add(span)

    def _go_on(self, last: LogState) -> None:
        """Take over all spans of *last*, and cut on from the last cut."""
        for page in last.pages:
            self._writer.keep(page)
        tail: list[Span] = []
        for span in last.spans:
            if self._writer.size < last.settled:
                self._writer.add(span)
            else:
                tail.append(span)
        size = self._stop - last.size
        if self._is_cut(last.settled):
            tail.clear()
        while tail and tail[-1].size <= 2 * size:
            size += tail.pop().size
        for span in tail:
            self._writer.add_last(span)
        self._selector.resume(self._writer.size, Cutter(self._target.keys, last.settled))

    def _is_cut(self, settled: int) -> bool:
        """Tell whether there is a cut after that at *settled*."""
        cutter = Cutter(self._target.keys, settled)
        return any(
            cutter.ends_before(transaction) or cutter.ends_after(transaction)
            for transaction in self._log.transactions(settled, self._stop)
        )

    def _first(self) -> Tid:
        """Return the tid of the first transaction of the log; zeros: it has none."""
        if self._stop == MAGIC_SIZE:
            return ZERO_TID
        return next(self._log.transactions(stop=self._stop)).tid

    def _packed(self, last: LogState, begin: int, greatest: Tid) -> Tid:
        """Return the greatest tid of the transactions that a pack rewrote; zeros: of none.

        *greatest* is the greatest tid up to *begin*, where the spans of *last* end.
        """
        if self._selector.packed != ZERO_TID or begin == MAGIC_SIZE:
            return self._selector.packed
        if last.packed <= greatest:
            return last.packed
        # another file, which only begins like that of the last state
        return last_packed(self._log, begin)

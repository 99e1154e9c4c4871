"""New segments: transactions that no stored segment has, cut, indexed and stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field

from blake3 import blake3

from collective.recipe.backup.filestorage.blobrecords import NamedBlobs
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.segments.chunkstore import GREATEST, ChunkKind, ChunkStore
from collective.recipe.backup.filestorage.segments.recordindex import IndexWriter
from collective.recipe.backup.filestorage.segments.rows import RowReader, Rows
from collective.recipe.backup.filestorage.segments.segment import Segment, SegmentPiece
from collective.recipe.backup.filestorage.segments.segmentends import Cutter
from collective.recipe.backup.filestorage.segments.segmentkeys import Keys
from collective.recipe.backup.filestorage.segments.spans import BLOCK, Rule, Span
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.progress import Progress, Silent
from collective.recipe.backup.times import ZERO_TID


@dataclass(frozen=True, kw_only=True)
class Target:
    """The place of new segments, and the keys for them."""

    chunks: ChunkStore  # to which they are put
    keys: Keys  # for cuts and digests
    least_share: float = 0.0  # of a segment that a span must use to be kept; see capturing
    blobs: NamedBlobs | None = None  # which notes those that the capture passes; None: none does
    progress: Progress = field(default_factory=Silent)  # progress of long work


def record_index_of(log: Log, keys: Keys, begin: int, end: int) -> bytes:
    """Return the record index of the segment that a range of *log* would be.

    Raises IntegrityError if no transaction begins or ends there.
    """
    rows, index, greatest = RowReader(log, keys), IndexWriter(), ZERO_TID
    for transaction in log.transactions(begin, end):
        index.add(rows.rows(transaction, odd=transaction.tid <= greatest))
        greatest = max(greatest, transaction.tid)
    return index.encoded()


class SegmentWriter:
    """Consecutive transactions on their way into new segments.

    Pieces have the size of the blocks that a span has digests for: both are read at once.
    """

    def __init__(self, log: Log, begin: int, cutter: Cutter, chunks: ChunkStore) -> None:
        """Begin at the offset *begin* of *log*, and store the segments in *chunks*."""
        self._log = log
        self._begin = self._end = begin
        self._cutter = cutter
        self._chunks = chunks
        self._index = IndexWriter()
        self._last = ZERO_TID  # the greatest tid so far

    @property
    def settled(self) -> int:
        """The offset of the last cut."""
        return self._cutter.begin

    def add(self, rows: Rows) -> Iterator[Span]:
        """Add the next transaction; yield spans of finished segments."""
        transaction = rows.transaction
        if self._cutter.ends_before(transaction):
            yield self._stored()
        self._index.add(rows)
        self._end = transaction.end
        self._last = max(self._last, transaction.tid)
        if self._cutter.ends_after(transaction):
            yield self._stored()

    def finish(self) -> Iterator[Span]:
        """Yield the span of the last segment, if there is one."""
        if len(self._index):
            yield self._stored()

    def _stored(self) -> Span:
        """Store the segment that ends here, and return its span."""
        index, self._index = self._index, IndexWriter()
        begin, self._begin = self._begin, self._end
        pieces, digests = [], []
        for offset in range(begin, self._end, BLOCK):
            data = self._log.read(offset, min(BLOCK, self._end - offset))
            digests.append(blake3(data).digest())
            pieces.append(SegmentPiece(self._chunks.put(ChunkKind.SEGMENT, data), len(data)))
        segment = Segment(
            base=begin,
            first=index.first,
            last=index.last,
            pieces=tuple(pieces),
            index=tuple(self._put(index.encoded())),
        )
        return Span(
            rule=Rule.VERBATIM,
            segment=segment,
            begin=0,
            end=segment.size,
            size=segment.size,
            last=self._last,
            transactions=len(index),
            records=index.records,
            digests=tuple(digests),
        )

    def _put(self, index: bytes) -> Iterator[bytes]:
        for offset in range(0, len(index), GREATEST):
            yield self._chunks.put(ChunkKind.INDEX, index[offset : offset + GREATEST])

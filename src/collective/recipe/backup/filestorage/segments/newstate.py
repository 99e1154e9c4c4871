"""A new state, while its spans become known one after the other."""

from __future__ import annotations

from dataclasses import replace

from collective.recipe.backup.filestorage.format import MAGIC_SIZE
from collective.recipe.backup.filestorage.segments.chunkstore import ChunkKind, ChunkStore
from collective.recipe.backup.filestorage.segments.logstate import (
    HEAVIEST,
    SPANS_OF_A_PAGE,
    LogState,
    SpanPage,
    page_of,
    written_page,
)
from collective.recipe.backup.filestorage.segments.spans import Span
from collective.recipe.backup.times import ZERO_TID, Tid


class LogStateWriter:
    """Collects the spans of a new state, and puts pages of them aside."""

    def __init__(self, chunks: ChunkStore) -> None:
        """Put pages into *chunks*."""
        self._chunks = chunks
        self._pages: list[SpanPage] = []
        self._spans: list[Span] = []
        self._weight = 0  # about how many bytes they take
        self.size = MAGIC_SIZE  # of the filestorage, up to the end of the last span
        self.last = ZERO_TID  # the greatest tid up to there

    @property
    def pages(self) -> int:
        """The number of pages."""
        return len(self._pages)

    def keep(self, page: SpanPage) -> None:
        """Take over a page of an earlier state.  Only before the first span is added."""
        self._pages.append(page)
        self.size += page.size
        self.last = page.last

    def add(self, span: Span) -> None:
        """Add a span that no later state supersedes.  It may not refer to spans before it."""
        self.add_last(span)
        self._weight += span.weight
        if len(self._spans) == SPANS_OF_A_PAGE or self._weight >= HEAVIEST:
            name = self._chunks.put_linked(ChunkKind.SPANS, written_page(self._spans))
            self._pages.append(page_of(name, self._spans))
            self._spans.clear()
            self._weight = 0

    def add_last(self, span: Span) -> None:
        """Add a span that the next state may supersede; only such may follow."""
        self.last = max(self.last, span.last)
        self._spans.append(span if span.last == self.last else replace(span, last=self.last))
        self.size += span.size

    def state(self, *, magic: bytes, settled: int, first: Tid, packed: Tid) -> LogState:
        """Return the state of the added spans; the arguments are those of LogState."""
        return LogState(
            magic=magic,
            size=self.size,
            settled=settled,
            first=first,
            last=self.last,
            packed=packed,
            pages=tuple(self._pages),
            spans=tuple(self._spans),
        )

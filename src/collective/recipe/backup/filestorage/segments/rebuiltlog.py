"""A state as the filestorage that it stands for: read at any place, and cut at any moment."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup import times
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage import tail
from collective.recipe.backup.filestorage.format import MAGIC_SIZE
from collective.recipe.backup.filestorage.framing import DAMAGE_HINT
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.logcut import LogEnd
from collective.recipe.backup.filestorage.segments.chunkstore import Chunks
from collective.recipe.backup.filestorage.segments.logstate import LogState, read_page
from collective.recipe.backup.filestorage.segments.nearsegments import NearSegments
from collective.recipe.backup.filestorage.segments.pieces import SegmentPieces
from collective.recipe.backup.filestorage.segments.rebuilding import rebuilt
from collective.recipe.backup.filestorage.segments.spans import BLOCK, Rule, Span
from collective.recipe.backup.times import ZERO_TID, Tid

_HELD = 3
"""Blocks in memory: a walk through a log reads at two places that are near."""
_GROUPS = 3
"""Pages of spans in memory: that of the reader, and those of what is read ahead."""


class _Place(NamedTuple):
    """The place of a span in the log."""

    begin: int  # offset
    end: int  # offset after it
    greatest: Tid  # before it; zeros: there is none


class RebuiltLog(Log):
    """The log of a state: every byte that it returns has been compared with a digest.

    It holds a few segments in memory, and gets only those that a read needs.  All methods raise
    IntegrityError if a chunk that they need is missing or damaged.
    """

    damage_hint = DAMAGE_HINT

    def __init__(self, state: LogState, chunks: Chunks, path: Path) -> None:
        """Read *state* from *chunks*.  Errors call it *path*."""
        super().__init__(path)
        self._state = state
        self._pieces = SegmentPieces(chunks)
        self._group = lru_cache(_GROUPS)(self._read_group)
        sizes = [page.size for page in state.pages]
        self._chunks = chunks
        # the offset of each page, and then of each span that is in no page
        self._offsets = list(accumulate(sizes, initial=MAGIC_SIZE))
        self._block = lru_cache(_HELD)(self._read_block)
        self._open: tuple[int, int] = (-1, -1)  # offset of the span that is being rebuilt, and
        self._blocks: Iterator[bytes] = iter(())  # its blocks, from this number on
        self._near: NearSegments | None = None

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self._state.size

    def read_at(self, offset: int, size: int) -> bytes:
        """Return the bytes from *offset* on, *size* at most, fewer only where the log ends."""
        return b"".join(self.stream(offset, min(offset + size, self.size)))

    def stream(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from *start* to *stop* (None: the end), in parts of 4 MiB at most."""
        stop = self.size if stop is None else min(stop, self.size)
        if start < min(MAGIC_SIZE, stop):
            yield self._state.magic[start:stop]
            start = MAGIC_SIZE
        while start < stop:
            _span, offset = self._span_at(start)
            number = (start - offset) // BLOCK
            begin = offset + number * BLOCK
            part = self._block(offset, number)[start - begin : stop - begin]
            yield part
            start += len(part)

    def flow(self, start: int, stop: int, near: Log | None = None) -> Iterator[bytes]:
        """Yield the bytes from *start* to *stop*; read pieces ahead, since all of them are wanted.

        Bytes that *near*, another log, has as well are not fetched from the store.
        """
        self._near = None if near is None else NearSegments(near, self._chunks)
        try:
            with self._pieces.coming(self._names(start, stop)):
                yield from self.stream(start, stop)
        finally:
            self._near = None

    def _names(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the names of the pieces from *start* to *stop*, but for those that are borrowed."""
        last, start = b"", max(start, MAGIC_SIZE)
        while start < stop:
            span, offset = self._span_at(start)
            if self._near is not None and self._near.may_have(span):
                start = offset + span.size
                continue
            skip = (start - offset) // BLOCK * BLOCK if span.rule is Rule.VERBATIM else 0
            begin = span.begin + skip
            for extent in span.segment.extents(begin, span.end - begin):
                if extent.name != last:
                    yield extent.name
                last = extent.name
            start = offset + span.size

    def block_at(self, offset: int) -> tuple[int, int]:
        """Return where the block begins and ends that has the byte at *offset*."""
        if offset < MAGIC_SIZE:
            return 0, MAGIC_SIZE
        span, start = self._span_at(offset)
        begin = offset - (offset - start) % BLOCK
        return begin, min(begin + BLOCK, start + span.size)

    def cut(self, when: datetime | Tid, start: int = MAGIC_SIZE, stop: int | None = None) -> LogEnd:
        """Return where the first transaction later than *when* begins, at most *stop*.

        Only the span that has it is read.
        """
        limit = times.tid_at(when) if isinstance(when, datetime) else when
        place = self._span_with(limit)
        return self._completed(super().cut(limit, max(start, place.begin), stop), place)

    def cut_of(self, log: Log, tid: Tid, size: int) -> LogEnd | None:
        """Return where the first transaction later than *tid* begins, by reading *log*.

        The first *size* bytes of that are those of this one.  None if they do not tell.
        """
        place = self._span_with(tid)
        if place.end > size:
            return None
        return self._completed(log.cut(tid, place.begin, place.end), place)

    def _completed(self, end: LogEnd, place: _Place) -> LogEnd:
        """Return *end*, found from *place* on, completed by the facts about all before."""
        if end.tid is None:
            return end
        tid = max(end.tid, place.greatest) if end.offset >= place.begin else end.tid
        packed = self._state.packed
        if end.packed is None and ZERO_TID < packed <= tid:
            return end._replace(tid=tid, packed=packed)
        return end._replace(tid=tid)

    def _tail(self, begin: int, after: Tid) -> str | None:
        """Judge the bytes after the last complete transaction: there are none."""
        if begin != self.size:
            raise IntegrityError(
                f"no transaction stands at byte {begin}", where=self.path, hint=self.damage_hint
            )
        return tail.NONE

    def _read_group(self, number: int) -> tuple[list[Span], list[int]]:
        """Return the spans of a page, or those that are in none, and where each begins."""
        pages = self._state.pages
        found = (
            read_page(self._chunks, pages[number])
            if number < len(pages)
            else list(self._state.spans)
        )
        sizes = (span.size for span in found)
        return found, list(accumulate(sizes, initial=self._offsets[number]))

    def _span_at(self, offset: int) -> tuple[Span, int]:
        """Return the span that has the byte at *offset*, and where it begins."""
        spans, offsets = self._group(bisect_right(self._offsets, offset) - 1)
        number = bisect_right(offsets, offset) - 1
        return spans[number], offsets[number]

    def _span_with(self, tid: Tid) -> _Place:
        """Return where the span lies that has the first transaction later than *tid*.

        If there is none, that is the end.
        """
        ends = [page.last for page in self._state.pages]
        number = bisect_right(ends, tid)
        spans, offsets = self._group(number)
        ends = [ends[number - 1] if number else ZERO_TID, *(span.last for span in spans)]
        place = bisect_right(ends, tid) - 1
        return _Place(offsets[place], offsets[min(place + 1, len(spans))], ends[place])

    def _read_block(self, offset: int, number: int) -> bytes:
        """Return a block of the span at *offset*."""
        if self._open != (offset, number):
            span, _offset = self._span_at(offset)
            self._blocks = self._rebuilt(span, offset, number)
        self._open = (-1, -1)
        block = next(self._blocks)
        self._open = (offset, number + 1)
        return block

    def _rebuilt(self, span: Span, offset: int, number: int) -> Iterator[bytes]:
        """Yield the blocks of *span* from *number* on."""
        near = None if self._near is None else self._near.pieces(span)
        if near is not None:
            # of a live log that is damaged, or another one, a block may not be what it must be
            with suppress(IntegrityError):
                for block in rebuilt(span, offset, near, number):
                    yield block
                    number += 1
        if number < len(span.digests):
            yield from rebuilt(span, offset, self._pieces, number)

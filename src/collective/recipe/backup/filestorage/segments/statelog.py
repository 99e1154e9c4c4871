"""The log of a filestorage at one moment, read from a state: see StoredLog.

The spans have their greatest tids, so only the span with the moment is read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from functools import cached_property
from pathlib import Path

from blake3 import blake3

from collective.recipe.backup import times
from collective.recipe.backup.errors import IntegrityError, NoRestorePoint
from collective.recipe.backup.filestorage import tail
from collective.recipe.backup.filestorage.format import MAGIC_SIZE
from collective.recipe.backup.filestorage.framing import DAMAGE_HINT
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.logcut import LogEnd
from collective.recipe.backup.filestorage.manyplaces import ManyPlaces, places_between
from collective.recipe.backup.filestorage.segments.chunkstore import ChunkKind, Chunks
from collective.recipe.backup.filestorage.segments.logstate import LogState
from collective.recipe.backup.filestorage.segments.rebuiltlog import RebuiltLog
from collective.recipe.backup.filestorage.segments.recordplaces import places_in
from collective.recipe.backup.filestorage.segments.spans import BLOCK, Span
from collective.recipe.backup.filestorage.storedlog import (
    Block,
    LogRange,
    StoredLog,
)
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.progress import Advance
from collective.recipe.backup.times import LAST_TID, Tid, When


@dataclass(frozen=True, kw_only=True)
class StateMoment:
    """A moment of a state, and facts that a state does not have."""

    state: LogState  # the state
    path: Path  # its name in errors
    mode: int  # permissions of the filestorage that was captured
    until: Tid | None = None  # the last transaction that may be in it; None: all are


class StateLog(StoredLog):
    """The log of a state at a moment.  It is for one thread."""

    damage_hint = DAMAGE_HINT

    def __init__(self, moment: StateMoment, chunks: Chunks) -> None:
        """Read from *chunks*.  Raises NoRestorePoint if a pack rewrote the moment."""
        super().__init__(moment.path)
        self._state = moment.state
        self._chunks = chunks
        self._mode = moment.mode
        self._until = LAST_TID if moment.until is None else moment.until
        self._whole = RebuiltLog(moment.state, chunks, moment.path)
        if self._until < moment.state.packed:
            raise NoRestorePoint(
                "a pack rewrote what was there at that moment",
                where=moment.path,
                hint="ask for the stamp of a restore point (see the list)",
            )

    @property
    def mode(self) -> int:
        """The permissions of the filestorage that was captured."""
        return self._mode

    @cached_property
    def _end(self) -> LogEnd:
        return self._whole.cut(self._until)

    def end(self, start: int = MAGIC_SIZE) -> LogEnd:
        """Return its end; see StoredLog."""
        return self._end if start == MAGIC_SIZE else self._whole.cut(self._until, start)

    def cut(self, when: When, start: int = MAGIC_SIZE, stop: int | None = None) -> LogEnd:
        """Return where the first transaction later than *when* begins, at most *stop*."""
        tid = times.tid_at(when) if isinstance(when, datetime) else when
        return self._whole.cut(min(tid, self._until), start, stop)

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self._state.size if self._until >= self._state.last else self._end.offset

    def read_at(self, offset: int, size: int) -> bytes:
        """Return the bytes from *offset* on, *size* at most, fewer only where the log ends."""
        return self._whole.read_at(offset, max(0, min(size, self.size - offset)))

    def range_at(self, offset: int) -> LogRange:
        """Return the block that holds the byte at *offset*; it may go on behind a cut."""
        return LogRange(*self._whole.block_at(offset))

    def pieces(self, begin: int, advance: Advance, near: Log | None = None) -> Iterator[memoryview]:
        """Yield its bytes from *begin* on; see StoredLog."""
        for data in self._whole.flow(begin, self.size, near):
            advance(len(data))
            yield memoryview(data)

    def blocks(self) -> Iterator[Block]:
        """Yield what it must be; see StoredLog."""
        yield Block(0, MAGIC_SIZE, self.digest_of(self._state.magic))
        begin = MAGIC_SIZE
        for span in self._state.all_spans(self._chunks):
            end = begin + span.size
            for digest in span.digests:
                yield Block(begin, min(BLOCK, end - begin), digest)
                begin += BLOCK
            begin = end

    def digest_of(self, data: bytes) -> bytes:
        """Return the digest of *data*, as those of the blocks are."""
        return blake3(data).digest()

    def places(self, start: int) -> Iterator[ManyPlaces]:
        """Yield the place of each data record from *start* on, as record indexes tell them."""
        for span, offset, index in self._indexed(start):
            end = offset + span.size
            found = None
            if index is not None and start <= offset and end <= self.size:
                found = places_in(span, offset, index)
            if found is not None:
                yield found
            else:
                yield from places_between(self, max(start, offset), min(end, self.size))

    def _indexed(self, start: int) -> Iterator[tuple[Span, int, bytes | None]]:
        """Yield the spans that go on behind *start*, with their offsets and record indexes.

        Those are read ahead; None: it cannot be read.
        """
        waiting: deque[tuple[Span, int]] = deque()
        names = self._index_names(start, waiting)
        parts: list[bytes | None] = []
        with closing(self._chunks.ahead(ChunkKind.INDEX, names)) as found:
            for _name, data in found:
                parts.append(None if isinstance(data, IntegrityError) else data)
                if len(parts) == len(waiting[0][0].segment.index):
                    index = None if None in parts else b"".join(filter(None, parts))
                    yield (*waiting.popleft(), index)
                    parts = []

    def _index_names(self, start: int, waiting: deque[tuple[Span, int]]) -> Iterator[bytes]:
        """Yield the names of the record indexes of those spans, which come into *waiting*."""
        offset = MAGIC_SIZE
        for span in self._state.all_spans(self._chunks):
            if offset >= self.size:
                return
            if start < offset + span.size:
                waiting.append((span, offset))
                yield from span.segment.index
            offset += span.size

    def end_within(self, log: Log, size: int) -> LogEnd | None:
        """Return its end if that is known there; see StoredLog."""
        return self._whole.cut_of(log, self._until, size)

    def saved_index(self) -> Path | None:
        """Return no index: a state has none."""
        return None

    def _tail(self, begin: int, after: Tid) -> str | None:  # noqa: ARG002  as Log has it
        if begin == self.size:
            return tail.NONE
        raise self._no_boundary(self.size)

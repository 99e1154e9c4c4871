"""The bytes of stored segments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.framing import DAMAGE_HINT
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.segments.chunkstore import ChunkKind, Chunks
from collective.recipe.backup.filestorage.segments.segment import Extent, Segment
from collective.recipe.backup.times import Tid

_HELD = 3
"""Pieces that are held, of 4 MiB at most each."""


class SegmentPieces:
    """Gets pieces of segments, and holds the last few.  It is for one thread."""

    def __init__(self, chunks: Chunks) -> None:
        """Get them from *chunks*."""
        self._chunks = chunks
        self._coming: _Coming | None = None
        self.get = lru_cache(_HELD)(self._got)

    @contextmanager
    def coming(self, names: Iterable[bytes]) -> Iterator[None]:
        """Read pieces ahead during the body, which asks for those *names* in about that order.

        *names* are looked at little by little.
        """
        coming = _Coming(names, self._chunks)
        self._coming = coming
        try:
            yield
        finally:
            self._coming = None
            coming.close()

    def _got(self, name: bytes) -> bytes:
        data = self._coming.take(name) if self._coming is not None else None
        return self._chunks.get(ChunkKind.SEGMENT, name) if data is None else data

    def extent(self, extent: Extent) -> bytes:
        """Return some bytes of a piece.  Raises IntegrityError if it does not have them."""
        name, offset, size = extent
        data = self.get(name)[offset : offset + size]
        if len(data) != size:
            raise IntegrityError(
                f"the segment {name.hex()} is shorter than it should be", hint=DAMAGE_HINT
            )
        return data


class _Coming:
    """Pieces that are read ahead, in the order in which they are expected to be asked for."""

    def __init__(self, names: Iterable[bytes], chunks: Chunks) -> None:
        self._waiting: Counter[bytes] = Counter()  # names that were looked at, before the next
        self._found = chunks.ahead(ChunkKind.SEGMENT, self._noted(names))
        self._next: tuple[bytes, bytes | IntegrityError] | None = None

    def _noted(self, names: Iterable[bytes]) -> Iterator[bytes]:
        for name in names:
            self._waiting[name] += 1
            yield name

    def take(self, name: bytes) -> bytes | None:
        """Return a piece; None: it is not among those that come soon.

        Those before it are passed over.  Raises IntegrityError if it cannot be read.
        """
        found = self._next or self._step()
        if found is None or (found[0] != name and not self._waiting[name]):
            self._next = found
            return None
        while found is not None and found[0] != name:
            found = self._step()
        self._next = None
        data = None if found is None else found[1]
        if isinstance(data, IntegrityError):
            raise data
        return data

    def _step(self) -> tuple[bytes, bytes | IntegrityError] | None:
        found = next(self._found, None)
        if found is not None:
            self._waiting[found[0]] -= 1
            if not self._waiting[found[0]]:
                del self._waiting[found[0]]
        return found

    def close(self) -> None:
        """Read no more."""
        self._found.close()


class SegmentLog(Log):
    """A segment as the part of a log that it is, at its offset there."""

    damage_hint = DAMAGE_HINT

    def __init__(self, segment: Segment, pieces: SegmentPieces) -> None:
        """Read *segment* by way of *pieces*."""
        super().__init__(Path(f"segment {segment.pieces[0].name.hex()}"))
        self._segment = segment
        self._pieces = pieces

    @property
    def size(self) -> int:
        """The offset in the log where it ends."""
        return self._segment.base + self._segment.size

    def read_at(self, offset: int, size: int) -> bytes:
        """Return the bytes from *offset* on, *size* at most, fewer only where it ends."""
        extents = self._segment.extents(offset - self._segment.base, size)
        return b"".join(map(self._pieces.extent, extents))

    def _tail(self, begin: int, after: Tid) -> str | None:
        """Judge bytes that are no transaction: in a segment they are damage."""
        raise IntegrityError(f"no transaction stands at byte {begin}", where=self.path)

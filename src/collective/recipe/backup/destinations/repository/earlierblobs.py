"""The copies of blobs in earlier restore points, for blobs that are missing or changed now.

A blob never changes.  If the site lacks one now, or has other bytes, its earlier copy is taken
over, provided that all of it is still stored.  The newest restore point is asked first.  Where
that has no copy, or its page cannot be read, older ones are: most of their pages are equal, and
each page is read once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from collective.recipe.backup.destinations.repository.blobpages import (
    PIECE,
    BlobFile,
    BlobPage,
    PagedBlob,
    read_page,
    read_pieces,
)
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.segments import Linked
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.repository.writing import ChunkWriter
from collective.recipe.backup.times import Tid

_HELD = 8
"""Pages that are held."""


class EarlierBlobs:
    """The blobs of restore points of one site, the newest first."""

    def __init__(
        self,
        points: Sequence[Point],
        pages_of: Callable[[Point], Sequence[BlobPage]],
        reader: ChunkReader,
        writer: ChunkWriter,
    ) -> None:
        """Ask *points*, the newest first; *pages_of* returns those that *writer* may build on."""
        self._points = points
        self._pages_of = pages_of
        self._reader = reader
        self._writer = writer
        self._found: list[_Pages | None] = [None] * len(points)  # None: not asked yet
        self._shared: dict[BlobPage, BlobPage] = {}  # so that equal pages take memory once
        self._page = lru_cache(_HELD)(self._read_page)

    def file(self, blob: BlobId) -> BlobFile | None:
        """Return the newest file of *blob* whose page can be read; None: there is none."""
        asked: set[bytes] = set()
        for page in self._pages_about(blob):
            if page.name in asked:
                continue
            asked.add(page.name)
            blobs = self._page(page)
            place = bisect_left(blobs, (blob.tid, blob.oid))
            # bits of a page tell nothing here: what was packed away there is the same blob
            if place < len(blobs) and blobs[place].blob == blob and blobs[place].file:
                return blobs[place].file
        return None

    def _pages_about(self, blob: BlobId) -> Iterator[BlobPage]:
        """Yield the pages that may have *blob*, those of the newest restore point first."""
        for number, point in enumerate(self._points):
            if point.tid and blob.tid.hex() > point.tid:
                continue  # its list need not be read
            pages = self._pages(number)
            yield from pages.about(blob.tid)
            if not point.tid and pages.all and blob.tid > pages.lasts[-1]:
                return  # no log tells, but older ones have nothing that is newer

    def _pages(self, number: int) -> _Pages:
        found = self._found[number]
        if found is None:
            pages = self._pages_of(self._points[number])
            shared = tuple(self._shared.setdefault(page, page) for page in pages)
            found = self._found[number] = _Pages(shared, [page.last for page in shared])
        return found

    def _read_page(self, page: BlobPage) -> list[PagedBlob]:
        """Return the blobs of a page; none if that is damaged."""
        try:
            node = self._reader.node(ChunkId(page.name))
            return read_page(page, Linked(node.refs, node.payload))
        except IntegrityError:
            return []

    def is_stored(self, file: BlobFile) -> bool:
        """Tell whether all chunks of *file* are stored, as far as is known."""
        needed = set(map(ChunkId, file.chunks))
        try:
            for name in file.chunks if file.size > PIECE else ():
                node = self._reader.node(ChunkId(name))
                needed.update(map(ChunkId, read_pieces(Linked(node.refs, node.payload))))
        except IntegrityError:
            return False
        return self._writer.known(needed) == needed


class _Pages(NamedTuple):
    """The pages of a restore point."""

    all: Sequence[BlobPage]  # in the order of tids
    lasts: Sequence[Tid]  # tid of the last blob of each

    def about(self, tid: Tid) -> Iterator[BlobPage]:
        """Yield those that may have blobs of the transaction *tid*."""
        for place in range(bisect_left(self.lasts, tid), len(self.all)):
            if self.all[place].first > tid:
                return
            yield self.all[place]

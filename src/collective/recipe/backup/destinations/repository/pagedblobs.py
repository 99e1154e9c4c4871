"""The blobs of a restore point in a repository, up to a transaction: see StoredBlobs.

Each page is read when something of it is asked for.  Files are written in the order of the
pages, in which their bytes lie beside each other in the store.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.layout import Kind, Layout, blob_of, order
from collective.recipe.backup.blobs.storedblobs import StoredContents, StoredFile
from collective.recipe.backup.contents import laid_out_in
from collective.recipe.backup.destinations.repository.blobpages import (
    PIECE,
    BlobFile,
    BlobList,
    BlobPage,
    PagedBlob,
    read_page,
    read_pieces,
)
from collective.recipe.backup.destinations.repository.blobwriting import BlobWriting
from collective.recipe.backup.destinations.repository.filesahead import (
    FileAt,
    files_ahead,
    pages_ahead,
)
from collective.recipe.backup.destinations.repository.piecefile import file_of_pieces
from collective.recipe.backup.errors import BackupError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.segments import Linked
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.progress import Advance, Progress
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.times import Tid

_HELD = 2
"""Pages that are held."""
_SECOND = 10**9
_LISTED = struct.Struct(">Qq32s")
"""Size, time and digest of a file, behind its path."""
_OF_DIRECTORIES = 0o700
"""Permissions of directories; ZODB makes them so as well."""


class PagedBlobs:
    """The blobs of *found* up to the transaction *until*, for one thread; see StoredBlobs."""

    has_digests = True

    def __init__(self, found: BlobList, until: Tid, reader: ChunkReader) -> None:
        self._list = found
        self._until = until
        self._reader = reader
        self._page = lru_cache(_HELD)(self._read_page)
        self._lasts = [page.last for page in found.pages]
        firsts = [page.first for page in found.pages]
        self._is_in_order = firsts == sorted(firsts)

    @property
    def layout(self) -> Layout | None:
        """See StoredBlobs."""
        return self._list.layout

    def count(self) -> int:
        """Return how many there are, those of a page that is cut as well."""
        return sum(page.there for page in self._pages())

    def listed(self) -> Iterator[StoredFile]:
        """Yield what there is, 150 bytes of memory for each; see StoredBlobs."""
        layout = self._list.layout
        # one object for each: no path begins another one, so these have the order of the paths
        found = [
            order(layout.path(each.blob)) + _LISTED.pack(file.size, file.time, file.digest)
            for each, file in self.files()
        ]
        found.sort()
        for each in found:
            path = os.fsdecode(each[: -_LISTED.size].replace(b"\0", b"/"))
            size, time, digest = _LISTED.unpack_from(each, len(each) - _LISTED.size)
            yield StoredFile(path, Kind.BLOB, size, time, digest.hex())

    def open(self, blob: BlobId) -> BinaryIO:
        """Return *blob*; see StoredBlobs."""
        file = self.file(blob)
        if file is None:
            raise KeyError(blob)
        return file_of_pieces(self.pieces_of(file))

    def has(self, blob: BlobId) -> bool:
        """Tell whether *blob* is one of them; nothing of it is read."""
        return self.file(blob) is not None

    def file(self, blob: BlobId) -> BlobFile | None:
        """Return the file of *blob*; None: there is none.  Raises IntegrityError."""
        if blob.tid > self._until:
            return None
        # pages are in the order of their last tids, and one transaction may be in several
        for page in islice(self._list.pages, bisect_left(self._lasts, blob.tid), None):
            if page.first > blob.tid:
                if self._is_in_order:
                    break
                continue
            blobs = self._page(page)
            place = bisect_left(blobs, (blob.tid, blob.oid))
            if place < len(blobs) and blobs[place].blob == blob and page.belongs(place):
                return blobs[place].file
        return None

    def sizes(self, blobs: Iterable[BlobId]) -> Iterator[int | None]:
        """Yield what the pages say; see StoredBlobs."""
        for blob in blobs:
            file = self.file(blob)
            yield None if file is None else file.size

    def file_of(self, blob: BlobId) -> Path | None:  # noqa: ARG002  as StoredBlobs has it
        """Return none: its pieces are chunks."""
        return None

    def contents(self, wanted: Callable[[str], bool]) -> Iterator[StoredContents]:
        """Yield the wanted blobs, in the order of the pages; see StoredBlobs."""
        layout = self._list.layout
        for page in self._pages():
            small: list[tuple[StoredFile, BlobFile]] = []
            large: list[tuple[StoredFile, BlobFile]] = []
            for each, file in self._files_of(page):
                stored = StoredFile(
                    layout.path(each.blob), Kind.BLOB, file.size, file.time, file.digest.hex()
                )
                if wanted(stored.path):
                    (small if 0 < file.size <= PIECE else large).append((stored, file))
            data = self._reader.each(ChunkId(file.chunks[0]) for _stored, file in small)
            for (stored, _file), (_chunk, piece) in zip(small, data, strict=True):
                yield StoredContents(stored, iter([piece]))
            for stored, file in large:
                yield StoredContents(stored, self.pieces_of(file))

    def copy_into(
        self,
        directory: Path,
        *,
        wanted: Iterable[StoredFile] | None = None,
        live: Path | None = None,
        files: Files,
        progress: Progress,
    ) -> Copied:
        """Write the wanted files; see StoredBlobs."""
        paths = None if wanted is None else [file.path for file in wanted]
        named = None if paths is None else map(blob_of, paths)
        some = None if named is None else {blob for blob in named if blob is not None}
        with explained("cannot restore the blobs", directory):
            if some is None and laid_out_in(directory) is None:
                raise BackupError(
                    "the place to restore to is not empty", where=directory, hint="move it away"
                )
            files.make_directory(directory)
            writing = BlobWriting(directory, live if some is None else None, files)
            total = self.count() if some is None else len(some)
            pages = list(self._pages() if some is None else self._pages_of(some))
            with writing, progress.phase("restoring the blobs", total, "files") as advance:
                groups = chain(
                    self._coming(pages, some, writing, advance),
                    self._coming_foreign(paths, writing),
                )
                for (path, file), pieces in files_ahead(groups, self._reader):
                    writing.write(path, file, pieces)
                    advance(1)
            if some is None:
                writing.mark(self._list.layout)
            (files.sync_tree if some is None else files.sync_little_tree)(directory)
        return writing.sum()

    def _coming(
        self,
        pages: Sequence[BlobPage],
        some: Collection[BlobId] | None,
        writing: BlobWriting,
        advance: Advance,
    ) -> Iterator[list[FileAt]]:
        """Yield, page by page, the files that are to be read; link or make the others."""
        for page, blobs in pages_ahead(pages, self._reader):
            coming = []
            for each, file in self._there(page, blobs):
                if some is not None and each.blob not in some:
                    continue
                path = self._list.layout.path(each.blob)
                if not writing.needs_no_bytes(path, file):
                    coming.append(FileAt(path, file))
                    continue
                advance(1)
            yield coming

    def _coming_foreign(
        self,
        paths: Collection[str] | None,  # noqa: ARG002  there is nothing here
        writing: BlobWriting,  # noqa: ARG002
    ) -> Iterator[list[FileAt]]:
        """Yield the foreign files at *paths*; None: all of them.  Here there are none."""
        return iter(())

    def _pages(self) -> Iterator[BlobPage]:
        return (page for page in self._list.pages if page.first <= self._until)

    def _pages_of(self, blobs: Iterable[BlobId]) -> Iterator[BlobPage]:
        """Yield the pages that may have some of *blobs*."""
        tids = sorted(blob.tid for blob in blobs)
        for page in self._pages():
            first = bisect_left(tids, page.first)
            if first < len(tids) and tids[first] <= page.last:
                yield page

    def files(self) -> Iterator[tuple[PagedBlob, BlobFile]]:
        """Yield the blobs that have a file, in the order of the pages."""
        for page in self._pages():
            yield from self._files_of(page)

    def _files_of(self, page: BlobPage) -> Iterator[tuple[PagedBlob, BlobFile]]:
        return self._there(page, self._page(page))

    def _there(
        self, page: BlobPage, blobs: Sequence[PagedBlob]
    ) -> Iterator[tuple[PagedBlob, BlobFile]]:
        """Yield those *blobs* of a page that are there."""
        for place, each in enumerate(blobs):
            if each.file is not None and each.tid <= self._until and page.belongs(place):
                yield each, each.file

    def _read_page(self, page: BlobPage) -> list[PagedBlob]:
        node = self._reader.node(ChunkId(page.name))
        return read_page(page, Linked(node.refs, node.payload))

    def pieces_of(self, file: BlobFile) -> Iterator[bytes]:
        """Yield the bytes of a file, piece by piece, each proved by its name."""
        if file.size <= PIECE:
            yield from map(self._reader.get, map(ChunkId, file.chunks))
            return
        for name in file.chunks:
            node = self._reader.node(ChunkId(name))
            pieces = map(ChunkId, read_pieces(Linked(node.refs, node.payload)))
            for _chunk, data in self._reader.each(pieces):
                yield data

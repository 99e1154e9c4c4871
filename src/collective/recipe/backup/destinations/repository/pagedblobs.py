"""The blobs of a restore point in a repository, up to a transaction: see StoredBlobs.

Each page is read when something of it is asked for.  Files are written in the order of the
pages, in which their bytes lie beside each other in the store.
"""

from __future__ import annotations

import io
import os
import stat
import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.copying import How
from collective.recipe.backup.blobs.digesting import regular, same_time
from collective.recipe.backup.blobs.layout import MARKER, Kind, Layout, blob_of, order
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
from collective.recipe.backup.errors import BackupError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.segments import Linked
from collective.recipe.backup.held import Trail
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.progress import Progress
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
    """What *found* has up to the transaction *until*; see StoredBlobs.  It is for one thread."""

    has_digests = True

    def __init__(self, found: BlobList, until: Tid, reader: ChunkReader) -> None:
        self._list = found
        self._until = until
        self._reader = reader
        self._page = lru_cache(_HELD)(self._read_page)

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
            for each, file in self._files()
        ]
        found.sort()
        for each in found:
            path = os.fsdecode(each[: -_LISTED.size].replace(b"\0", b"/"))
            size, time, digest = _LISTED.unpack_from(each, len(each) - _LISTED.size)
            yield StoredFile(path, Kind.BLOB, size, time, digest.hex())

    def open(self, blob: BlobId) -> BinaryIO:
        """Return *blob*; see StoredBlobs."""
        for page in self._pages():
            if page.first <= blob.tid <= page.last and blob.tid <= self._until:
                blobs = self._page(page)
                place = bisect_left(blobs, (blob.tid, blob.oid))
                if place < len(blobs) and blobs[place].blob == blob and page.belongs(place):
                    file = blobs[place].file
                    if file is not None:
                        return io.BufferedReader(_Pieces(self._pieces_of(file)))
        raise KeyError(blob)

    def file_of(self, blob: BlobId) -> Path | None:  # noqa: ARG002  as StoredBlobs has it
        """Return none: its pieces are chunks."""
        return None

    def contents(self, wanted: Callable[[str], bool]) -> Iterator[StoredContents]:
        """Yield what is wanted, in the order of the pages; see StoredBlobs."""
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
                yield StoredContents(stored, self._pieces_of(file))

    def copy_into(
        self,
        directory: Path,
        *,
        wanted: Iterable[StoredFile] | None = None,
        live: Path | None = None,
        files: Files,
        progress: Progress,
    ) -> Copied:
        """Write what is wanted; see StoredBlobs."""
        named = None if wanted is None else (blob_of(file.path) for file in wanted)
        some = None if named is None else {blob for blob in named if blob is not None}
        with explained("cannot restore the blobs", directory):
            if some is None and laid_out_in(directory) is None:
                raise BackupError(
                    "the place to restore to is not empty", where=directory, hint="move it away"
                )
            files.make_directory(directory)
            writing = _Writing(directory, live if some is None else None, files)
            total = self.count() if some is None else len(some)
            pages = self._pages() if some is None else self._pages_of(some)
            with writing, progress.phase("restoring the blobs", total, "files") as advance:
                for page in pages:
                    found = self._files_of(page)
                    coming = [each for each in found if some is None or each[0].blob in some]
                    self._copy(coming, writing)
                    advance(len(coming))
            if some is None:
                writing.mark(self._list.layout)
            files.sync_tree(directory)
        return writing.sum()

    def _copy(self, coming: Iterable[tuple[PagedBlob, BlobFile]], writing: _Writing) -> None:
        """Write or link the files *coming*, of one page; small ones are read together."""
        small = []
        for each, file in coming:
            path = self._list.layout.path(each.blob)
            if writing.takes_live(path, file):
                continue
            if 0 < file.size <= PIECE:
                small.append((path, file))
            else:
                writing.write(path, file, self._pieces_of(file))
        data = self._reader.each(ChunkId(file.chunks[0]) for _path, file in small)
        for (path, file), (_chunk, piece) in zip(small, data, strict=True):
            writing.write(path, file, [piece])

    def _pages(self) -> Iterator[BlobPage]:
        return (page for page in self._list.pages if page.first <= self._until)

    def _pages_of(self, blobs: Iterable[BlobId]) -> Iterator[BlobPage]:
        """Yield the pages that may have some of *blobs*."""
        tids = sorted(blob.tid for blob in blobs)
        for page in self._pages():
            first = bisect_left(tids, page.first)
            if first < len(tids) and tids[first] <= page.last:
                yield page

    def _files(self) -> Iterator[tuple[PagedBlob, BlobFile]]:
        """Yield the blobs that have a file, in the order of the pages."""
        for page in self._pages():
            yield from self._files_of(page)

    def _files_of(self, page: BlobPage) -> Iterator[tuple[PagedBlob, BlobFile]]:
        for place, each in enumerate(self._page(page)):
            if each.file is not None and each.tid <= self._until and page.belongs(place):
                yield each, each.file

    def _read_page(self, page: BlobPage) -> list[PagedBlob]:
        node = self._reader.node(ChunkId(page.name))
        return read_page(page, Linked(node.refs, node.payload))

    def _pieces_of(self, file: BlobFile) -> Iterator[bytes]:
        """Yield the bytes of a file, piece by piece, each proved by its name."""
        if file.size <= PIECE:
            yield from map(self._reader.get, map(ChunkId, file.chunks))
            return
        for name in file.chunks:
            node = self._reader.node(ChunkId(name))
            pieces = map(ChunkId, read_pieces(Linked(node.refs, node.payload)))
            for _chunk, data in self._reader.each(pieces):
                yield data


class _Pieces(io.RawIOBase):
    """The bytes that an iterator yields, as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what io calls it with
        """Read what fits into *buffer*."""
        if not self._piece:
            self._piece = memoryview(next(self._pieces, b""))
        view = memoryview(buffer)
        found, self._piece = self._piece[: len(view)], self._piece[len(view) :]
        view[: len(found)] = found
        return len(found)


class _Writing:
    """Writes files into *directory*, or links to those that *live* has with equal size and time.

    A context manager: within the body, the directories on the way are held from one file to the
    next (see Trail).
    """

    def __init__(self, directory: Path, live: Path | None, files: Files) -> None:
        self._directory = directory
        self._top = os.fspath(directory)
        self._trail = Trail(self._top)
        self._live = live
        self._files = files
        self._owner = directory.stat()
        self._made: set[str] = set()  # directories that hold others
        self._last = ""  # the directory of the last file
        self._marker: How | None = None
        self._written = self._linked = self._size = self._linked_size = 0

    def __enter__(self) -> None:
        self._trail.__enter__()

    def __exit__(self, *exception: object) -> None:
        self._trail.__exit__(*exception)

    def write(self, path: str, file: BlobFile, pieces: Iterable[bytes]) -> None:
        """Write one file."""
        self._enter(path)
        target = self._trail.place(f"{self._top}/{path}")
        with self._files.filling(target, self._like(file)) as writer:
            for piece in pieces:
                writer.write(piece)
        self._written += 1
        self._size += file.size

    def _enter(self, path: str) -> None:
        """Make the directory of the file *path*, and those above it."""
        place = path.rpartition("/")[0]
        if place == self._last:
            return
        self._make_above(place)
        self._make(place)
        self._last = place

    def _make_above(self, place: str) -> None:
        above = place.rpartition("/")[0]
        if above and above not in self._made:
            self._make_above(above)
            self._make(above)
            self._made.add(above)

    def _make(self, place: str) -> None:
        """Make one directory, unless it is there."""
        self._files.make_directory(self._trail.place(f"{self._top}/{place}"), _OF_DIRECTORIES)

    def takes_live(self, path: str, file: BlobFile) -> bool:
        """Link to the live file, if that is the same; return whether that was done."""
        there = regular(self._live / path) if self._live is not None else None
        if self._live is None or there is None:
            return False
        if there.st_size != file.size or not same_time(there.st_mtime_ns, file.time):
            return False
        self._enter(path)
        if not self._files.link(self._live / path, self._directory / path):
            return False
        self._linked += 1
        self._linked_size += file.size
        return True

    def _like(self, file: BlobFile) -> os.stat_result:
        """Return what a file is to be like; its owner is that of the directory."""
        seconds, owner = file.time // _SECOND, self._owner
        return os.stat_result(
            (
                stat.S_IFREG | file.mode, 0, 0, 1, owner.st_uid, owner.st_gid, file.size,
                seconds, seconds, seconds,
            ),
            {"st_atime_ns": file.time, "st_mtime_ns": file.time},
        )  # fmt: skip

    def mark(self, layout: Layout) -> None:
        """Write ZODB's note of the layout."""
        self._files.write(self._directory / MARKER, layout.value.encode("ascii"))
        self._written += 1
        self._marker = How.COPIED

    def sum(self) -> Copied:
        """Return what was done."""
        return Copied(
            files=self._written,
            linked=self._linked,
            size=self._size,
            marker=self._marker,
            whole=self._size + self._linked_size,
        )

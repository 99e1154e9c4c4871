"""The origins of chunks: the bytes of a filestorage, or of a blob, that each was made of.

The live site, or any copy of it, has these bytes, and can make a lost chunk again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from typing import BinaryIO, NamedTuple, Protocol

from collective.recipe.backup.destinations.repository.blobpages import (
    PIECE,
    PIECES_OF_A_NODE,
    BlobFile,
    PagedBlob,
    read_list,
    read_page,
    read_pieces,
)
from collective.recipe.backup.destinations.repository.fileorigins import FileOrigins
from collective.recipe.backup.destinations.repository.foreignpages import (
    read_foreign_list,
    read_foreign_page,
)
from collective.recipe.backup.destinations.repository.kinds import (
    BLOB,
    BLOB_PIECES,
    RECORD_INDEX,
    SEGMENT,
)
from collective.recipe.backup.destinations.repository.logchunks import StoredChunks
from collective.recipe.backup.destinations.repository.newfiles import BlobSource, piece_list
from collective.recipe.backup.destinations.repository.pointcontents import contents_of
from collective.recipe.backup.errors import ConfigurationError, IntegrityError, printable
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.segments import (
    Keys,
    Linked,
    read_log_state,
    record_index_of,
)
from collective.recipe.backup.filestorage.segments.chunkstore import GREATEST
from collective.recipe.backup.filestorage.segments.logstate import read_page as read_span_page
from collective.recipe.backup.filestorage.segments.segment import Segment
from collective.recipe.backup.filestorage.segments.spans import Span
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.repository.chunks import ChunkId, encoded
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.times import show_tid

_STEP = 1 << 20
"""Bytes that are read at once when a stretch is passed over."""


class SiteCopy(Protocol):
    """A site, or a copy of one.

    All raise LookupError, OSError or BackupError for what it has not.
    """

    def log_with(self, segment: Segment | None) -> Log:
        """Return a log that may have *segment* where it was cut from; None: all of the log."""

    def blob_source(self, repository: Repository) -> BlobSource | None:
        """Return all that is known of its blobs; None: no more than their bytes."""

    def blob(self, blob: BlobId) -> BinaryIO:
        """Return the file of *blob*, to be read from its begin."""

    def among_blobs(self, path: str) -> BinaryIO:
        """Return the file at *path* below the blobstorage, opened; it is no blob."""

    def file_piece(self, path: bytes, number: int) -> bytes:
        """Return a piece of a further file; see PiecesOfFiles."""


class _Filed(NamedTuple):
    """A file of a blobstorage in a restore point."""

    file: BlobFile  # its size and its chunks
    what: str  # for the user
    opened: Callable[[SiteCopy], BinaryIO]  # returns that of a copy of the site


@dataclass(frozen=True)
class ChunkOrigin:
    """The origin of a chunk."""

    chunk: ChunkId  # id of the chunk
    point: Point  # the first that needs it, of those that were looked at
    what: str  # for the user: which bytes of what
    read: Callable[[SiteCopy], tuple[int, bytes]] | None = None  # returns its kind and its bytes;
    # None: it is a list of ours, which no site has


class ChunkOrigins:
    """Finds those of *lost* among what *points* need, as far as their nodes can be read."""

    def __init__(
        self, repository: Repository, points: Iterable[Point], lost: Collection[ChunkId]
    ) -> None:
        self._repository = repository
        self._points = points
        self._lost = lost
        self._reader = ChunkReader(repository)
        self._keys = Keys(repository.keyring.master)
        self._seen: set[bytes] = set()  # nodes, and chunks that were yielded

    def found(self) -> Iterator[ChunkOrigin]:
        """Yield where they came from, each once."""
        for point in self._points:
            self._point = point
            with suppress(IntegrityError, ConfigurationError):
                contents = contents_of(point)
                if contents.log is not None:
                    yield from self._of_log(contents.log.root)
                if contents.blobs is not None:
                    yield from self._of_blobs(contents.blobs.root)
                    yield from self._of_foreign(contents.blobs.foreign)
                if contents.files is not None:
                    origins = FileOrigins(self._opened, self._lacks)
                    for each in origins.found(contents.files.root):
                        yield self._origin(*each)

    def _opened(self, name: bytes) -> Linked | None:
        """Return a node, once; None: it is lost, or was seen before."""
        if name in self._seen:
            return None
        self._seen.add(name)
        try:
            node = self._reader.node(ChunkId(name))
        except IntegrityError:
            return None
        return Linked(node.refs, node.payload)

    def _lacks(self, name: bytes) -> bool:
        """Tell whether a chunk is lost; once."""
        if name not in self._lost or name in self._seen:
            return False
        self._seen.add(name)
        return True

    def _origin(
        self, name: bytes, what: str, read: Callable[[SiteCopy], tuple[int, bytes]] | None = None
    ) -> ChunkOrigin:
        return ChunkOrigin(ChunkId(name), self._point, what, read)

    # the filestorage

    def _of_log(self, root: ChunkId) -> Iterator[ChunkOrigin]:
        if self._lacks(root):
            yield self._origin(root, "what the filestorage consists of")
            return
        linked = self._opened(root)
        if linked is None:
            return
        state = read_log_state(linked)
        chunks = StoredChunks(self._reader)
        for page in state.pages:
            if self._lacks(page.name):
                yield self._origin(page.name, "a part of what the filestorage consists of")
            elif page.name not in self._seen:
                self._seen.add(page.name)
                with suppress(IntegrityError):
                    yield from self._of_spans(read_span_page(chunks, page))
        yield from self._of_spans(state.spans)

    def _of_spans(self, spans: Iterable[Span]) -> Iterator[ChunkOrigin]:
        for span in spans:
            for segment in (span.segment, *span.lenders):
                yield from self._of_segment(segment)

    def _of_segment(self, segment: Segment) -> Iterator[ChunkOrigin]:
        tids = f"transactions {show_tid(segment.first)} to {show_tid(segment.last)}"
        begin = segment.base
        for piece in segment.pieces:
            if self._lacks(piece.name):
                end = begin + piece.size
                what = f"bytes {begin:,} to {end:,} of a filestorage: {tids}"
                read = partial(_log_bytes, segment, begin, piece.size)
                yield self._origin(piece.name, what, read)
            begin += piece.size
        for number, name in enumerate(segment.index):
            if self._lacks(name):
                read = partial(_index_bytes, segment, self._keys, number)
                yield self._origin(name, f"the record index of {tids}", read)

    # the blobs

    def _of_blobs(self, root: ChunkId) -> Iterator[ChunkOrigin]:
        if self._lacks(root):
            yield self._origin(root, "the list of the blobs")
            return
        linked = self._opened(root)
        for page in read_list(linked).pages if linked else ():
            if self._lacks(page.name):
                yield self._origin(page.name, "a part of the list of the blobs")
                continue
            opened = self._opened(page.name)
            if opened is not None:
                for each in read_page(page, opened):
                    yield from self._of_blob(each)

    def _of_blob(self, each: PagedBlob) -> Iterator[ChunkOrigin]:
        if each.file is not None:
            opened = partial(_opened_blob, each.blob)
            yield from self._of_file(_Filed(each.file, f"the blob {each.blob}", opened))

    def _of_foreign(self, root: ChunkId | None) -> Iterator[ChunkOrigin]:
        if root is None:
            return
        if self._lacks(root):
            yield self._origin(root, "the list of what lies among the blobs")
            return
        linked = self._opened(root)
        for page in read_foreign_list(linked).pages if linked else ():
            if self._lacks(page.name):
                yield self._origin(page.name, "a part of the list of what lies among the blobs")
                continue
            opened = self._opened(page.name)
            for each in read_foreign_page(page, opened) if opened else ():
                if each.file is not None:
                    what = f"the file {printable(each.path)} among the blobs"
                    filed = _Filed(each.file, what, partial(_opened_among_blobs, each.path))
                    yield from self._of_file(filed)

    def _of_file(self, each: _Filed) -> Iterator[ChunkOrigin]:
        if each.file.size <= PIECE:
            yield from self._of_pieces(each, 0, each.file.chunks)
            return
        share = PIECES_OF_A_NODE * PIECE
        for begin, name in zip(count(0, share), each.file.chunks, strict=False):
            if self._lacks(name):
                read = partial(_piece_list, each, begin, self._repository)
                yield self._origin(name, f"the list of the pieces of {each.what}", read)
                continue
            opened = self._opened(name)
            if opened is not None:
                yield from self._of_pieces(each, begin, read_pieces(opened))

    def _of_pieces(
        self, each: _Filed, begin: int, pieces: Iterable[bytes]
    ) -> Iterator[ChunkOrigin]:
        for at, name in zip(count(begin, PIECE), pieces, strict=False):
            if self._lacks(name):
                end = min(at + PIECE, each.file.size)
                what = f"bytes {at:,} to {end:,} of {each.what}"
                yield self._origin(name, what, partial(_file_bytes, each, at))


def _opened_blob(blob: BlobId, copy: SiteCopy) -> BinaryIO:
    return copy.blob(blob)


def _opened_among_blobs(path: str, copy: SiteCopy) -> BinaryIO:
    return copy.among_blobs(path)


def _log_bytes(segment: Segment, begin: int, size: int, copy: SiteCopy) -> tuple[int, bytes]:
    return SEGMENT, copy.log_with(segment).read(begin, size)


def _index_bytes(segment: Segment, keys: Keys, number: int, copy: SiteCopy) -> tuple[int, bytes]:
    log, end = copy.log_with(segment), segment.base + segment.size
    index = record_index_of(log, keys, segment.base, end)
    return RECORD_INDEX, index[number * GREATEST : (number + 1) * GREATEST]


def _file_bytes(each: _Filed, begin: int, copy: SiteCopy) -> tuple[int, bytes]:
    with _from(each, begin, copy) as file:
        return BLOB, file.read(PIECE)


def _piece_list(
    each: _Filed, begin: int, repository: Repository, copy: SiteCopy
) -> tuple[int, bytes]:
    names: list[ChunkId] = []
    with _from(each, begin, copy) as file:
        while len(names) < PIECES_OF_A_NODE and (data := file.read(PIECE)):
            names.append(repository.keyring.chunk_id(BLOB, data))
    linked = piece_list(names)
    return BLOB_PIECES, encoded(linked.data, [ChunkId(name) for name in linked.names])


@contextmanager
def _from(each: _Filed, begin: int, copy: SiteCopy) -> Iterator[BinaryIO]:
    """Yield the file that *copy* has, from the byte *begin* on."""
    with each.opened(copy) as file:
        if file.seekable():
            file.seek(begin)
            begin = 0
        while begin and (passed := file.read(min(begin, _STEP))):
            begin -= len(passed)
        yield file

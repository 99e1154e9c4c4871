"""The files of blobs that are new: read once, named by their bytes, and stored in pieces."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from blake3 import blake3

from collective.recipe.backup.blobs.copied import NAMED, REASONS
from collective.recipe.backup.blobs.layout import Layout
from collective.recipe.backup.blobs.marker import laid_out, place_of
from collective.recipe.backup.blobs.packduringbackup import packed_away
from collective.recipe.backup.destinations.repository.blobpages import (
    PIECE,
    BlobFile,
    PagedBlob,
    grouped,
)
from collective.recipe.backup.destinations.repository.changedblobs import NONE, ChangedBlobs
from collective.recipe.backup.destinations.repository.earlierblobs import EarlierBlobs
from collective.recipe.backup.destinations.repository.kinds import BLOB, BLOB_PIECES
from collective.recipe.backup.destinations.repository.sinks import ChunkSink
from collective.recipe.backup.errors import explained, from_os_error
from collective.recipe.backup.filestorage.segments import Linked
from collective.recipe.backup.filestorage.segments.fields import Names
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.held import Trail
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.progress import Advance, ignore
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.smallfile import regular_status
from collective.recipe.backup.unreadable import CannotReadError, CutShortError, unreadable


@dataclass(frozen=True, kw_only=True)
class BlobSource:
    """The blobs of a site, and the repository that they go to."""

    root: Path  # the blobstorage
    layout: Layout  # paths of blobs in the blobstorage
    repository: Repository  # to which they are backed up
    copies: EarlierBlobs | None = None  # of blobs that the site lacks or has otherwise; None: none
    changed: ChangedBlobs = NONE  # that the restore point built on names as lost or changed
    is_named: bool = True  # whether a log says which blobs there are, and not the walk

    @classmethod
    def at(cls, root: Path, repository: Repository) -> BlobSource:
        """Return that at *root*.  Raises BackupError if it cannot be looked at."""
        with explained("cannot read the blobstorage", root):
            return cls(root=root, layout=laid_out(root), repository=repository)


class NewFiles:
    """Stores files of *source*, in the body of a ``with``, and counts what became of them."""

    def __init__(self, source: BlobSource, writer: ChunkSink) -> None:
        self._source = source
        self._writer = writer
        self._trail = Trail(os.fspath(source.root))
        self._old = Trail(os.fspath(packed_away(source.root)))  # what a pack took away
        self.advance: Advance = ignore  # called with 1 for each
        self.count = self.size = 0  # files that were stored, and their bytes
        self.missing: list[BlobId] = []  # blobs without one, NAMED of them at most
        self.reasons: list[str] = []  # why some could not be read

    def __enter__(self) -> NewFiles:
        self._trail.__enter__()
        self._old.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._trail.__exit__(*exception)
        self._old.__exit__(*exception)

    def stored(self, blob: BlobId) -> PagedBlob:
        """Store a blob that is new; if that cannot be, say why."""
        self.advance(1)
        file = self._file(blob)
        if file is None:
            if len(self.missing) < NAMED:
                self.missing.append(blob)
        else:
            self.count += 1
            self.size += file.size
        return PagedBlob(blob.tid, blob.oid, file)

    def _file(self, blob: BlobId) -> BlobFile | None:
        """Store the file of *blob*, wherever it lies; None: there is none that can be read."""
        why = None
        for path, trail in self._places(blob):
            try:
                return self._file_at(path, trail)
            except FileNotFoundError:
                continue
            except NotADirectoryError as error:
                why = why or self._reason(error, path)
            except OSError as error:
                why = self._reason(error, path)
                break
        if why is not None and len(self.reasons) < REASONS:
            self.reasons.append(why)
        return None

    def _places(self, blob: BlobId) -> Iterator[tuple[str, Trail]]:
        """Yield where the file of *blob* may lie; a place is looked for when it is asked for.

        A pack may have removed the file since the log was opened.
        """
        root, layout = self._source.root, self._source.layout
        yield f"{root}/{layout.path(blob)}", self._trail
        yield f"{root}/{place_of(root, layout, blob)}", self._trail
        if self._source.is_named:
            yield f"{packed_away(root)}/{layout.path(blob)}", self._old

    @staticmethod
    def _reason(error: OSError, path: str) -> str:
        """Return why the file at *path* cannot be read.  Raises OSError if that is no reason."""
        why = unreadable(error, path)
        if not isinstance(why, CannotReadError):
            raise why from error
        return str(from_os_error(why, "cannot read a blob", path))

    def is_gone(self, blob: BlobId) -> bool:
        """Tell whether there is no file of *blob* at all."""
        root, layout = self._source.root, self._source.layout
        places = (layout.path(blob), place_of(root, layout, blob))
        return not any(os.path.lexists(f"{root}/{place}") for place in places)

    def file_at(self, path: str) -> BlobFile:
        """Store the file at *path*, absolute.  Raises OSError if it cannot be read to its end."""
        return self._file_at(path, self._trail)

    def _file_at(self, path: str, trail: Trail) -> BlobFile:
        flags = os.O_RDONLY | os.O_NOFOLLOW
        descriptor, status = regular_status(trail.place(path), flags)
        try:
            digest = blake3()
            pieces = self._added(_pieces(descriptor, path, status.st_size), digest)
            if status.st_size <= PIECE:
                chunks = tuple(pieces)
            else:
                groups = (piece_list(group) for group in grouped(pieces))
                chunks = tuple(put_node(self._writer, BLOB_PIECES, group) for group in groups)
        finally:
            os.close(descriptor)
        mode, time = status.st_mode & 0o777, status.st_mtime_ns
        return BlobFile(mode, time, status.st_size, digest.digest(), chunks)

    def _added(self, pieces: Iterable[bytes], digest: blake3) -> Iterator[bytes]:
        """Store *pieces*, and put them into *digest*; yield their names."""
        for piece in pieces:
            digest.update(piece)
            yield self._writer.add(BLOB, piece)


def put_node(writer: ChunkSink, kind: int, linked: Linked) -> ChunkId:
    """Store a chunk that names others."""
    return writer.add_node(linked.data, [ChunkId(name) for name in linked.names], kind)


def piece_list(pieces: Iterable[bytes]) -> Linked:
    """Return the chunk that names *pieces*, of which some may be equal."""
    names = Names()
    data = b"".join(map(names.name, pieces))
    return names.linked(data)


def _pieces(descriptor: int, path: str, size: int) -> Iterator[bytes]:
    """Yield the bytes of a file of *size* bytes.  Raises CutShortError if it has others."""
    left = size
    while left > PIECE:
        piece = _read(descriptor, PIECE, PIECE)
        left -= len(piece)
        if len(piece) < PIECE:
            raise CutShortError.of(path, size, size - left)
        yield piece
    # one more than there should be, which is not there
    piece = _read(descriptor, left, left + 1)
    if len(piece) != left:
        raise CutShortError.of(path, size, size - left + len(piece))
    if piece:
        yield piece


def _read(descriptor: int, enough: int, room: int) -> bytes:
    """Return *enough* bytes, and *room* at most; fewer only where the file ends."""
    data = os.read(descriptor, room)
    while len(data) < enough and (more := os.read(descriptor, room - len(data))):
        data += more
    return data

"""The contents of further files: read once, holes told from bytes, and stored in pieces."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import BinaryIO

from collective.recipe.backup.destinations.repository.filecuts import cut_pieces
from collective.recipe.backup.destinations.repository.kinds import FILE, FILE_PIECES
from collective.recipe.backup.destinations.repository.sinks import ChunkSink
from collective.recipe.backup.destinations.repository.treepages import (
    PIECES_NAMED,
    PIECES_OF_A_LIST,
)
from collective.recipe.backup.filestorage.segments.fields import Names
from collective.recipe.backup.furtherfiles import FileSort, FurtherFile
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.smallfile import open_regular
from collective.recipe.backup.unreadable import CutShortError

_LEAST_HOLE, _MOST_HOLES = 64 << 10, 4096
"""Bytes of a hole that is worth its name, and how many of one file are; others are zeros."""
_BLOCK = 512
"""Bytes that st_blocks counts."""


class ChangedError(Exception):
    """A file changed while it was read."""

    def __init__(self, file: FurtherFile, status: os.stat_result) -> None:
        """Say how many bytes were read of *file*, and its *status* before."""
        super().__init__()
        self.file = file
        self.status = status


def store_contents(path: str, store: ChunkSink) -> tuple[FurtherFile, os.stat_result]:
    """Store what the file at *path* holds; return it, without its path, and its status before.

    Raises ChangedError, and OSError if it cannot be read to its end.
    """
    with open_regular(path, follow=False) as file:
        status = os.fstat(file.fileno())
        found = _looked_at(file, status)
        pieces, is_large = _stored(cut_pieces(_Reading(file, path, found).read), store)
        found = found._replace(pieces=pieces, is_large=is_large)
        after = os.fstat(file.fileno())
        if _look(after) != _look(status):
            raise ChangedError(found, status)
    return found, status


def pieces_at(path: bytes) -> Iterator[bytes]:
    """Yield the pieces of the file at *path*.  Raises OSError."""
    real = os.path.realpath(os.fsdecode(path))
    with open_regular(real, follow=False) as file:
        found = _looked_at(file, os.fstat(file.fileno()))
        yield from cut_pieces(_Reading(file, real, found).read)


def _looked_at(file: BinaryIO, status: os.stat_result) -> FurtherFile:
    return FurtherFile(
        path=b"",
        sort=FileSort.FILE,
        mode=status.st_mode & 0o7777,
        owner=status.st_uid,
        group=status.st_gid,
        time=status.st_mtime_ns,
        size=status.st_size,
        holes=_holes_of(file, status),
    )


def _look(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _stored(pieces: Iterator[bytes], store: ChunkSink) -> tuple[tuple[bytes, ...], bool]:
    """Store *pieces*; return what names them, and whether these are lists of them."""
    lists: list[bytes] = []
    found: list[ChunkId] = []
    for piece in pieces:
        if len(found) == PIECES_OF_A_LIST:
            lists.append(_list_of(found, store))
            found = []
        found.append(store.add(FILE, piece))
    if not lists and len(found) <= PIECES_NAMED:
        return tuple(found), False
    return (*lists, _list_of(found, store)), True


def _list_of(pieces: list[ChunkId], store: ChunkSink) -> ChunkId:
    names = Names()
    linked = names.linked(b"".join(map(names.name, pieces)))
    return store.add_node(linked.data, [ChunkId(name) for name in linked.names], FILE_PIECES)


def _holes_of(file: BinaryIO, status: os.stat_result) -> tuple[tuple[int, int], ...]:
    """Return the holes of a file, where its file system tells."""
    if status.st_blocks * _BLOCK >= status.st_size:
        return ()
    found: list[tuple[int, int]] = []
    at, descriptor = 0, file.fileno()
    while at < status.st_size and len(found) < _MOST_HOLES:
        begin = min(os.lseek(descriptor, at, os.SEEK_HOLE), status.st_size)
        try:
            at = min(os.lseek(descriptor, begin, os.SEEK_DATA), status.st_size)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            at = status.st_size  # no data follows
        if at - begin >= _LEAST_HOLE:
            found.append((begin, at - begin))
    return tuple(found)


class _Reading:
    """Reads the bytes of a file between its holes."""

    def __init__(self, file: BinaryIO, path: str, found: FurtherFile) -> None:
        self._file = file
        self._path = path
        self._size = found.size
        self._parts = found.parts
        self._at = self._left = 0  # of the part that is read

    def read(self, size: int) -> bytes:
        """Return the next bytes.  Raises CutShortError if the file has no more of them."""
        while not self._left:
            length, is_hole = next(self._parts, (0, True))
            if not length:
                return b""
            if is_hole:
                self._at += length
            else:
                self._left = length
                self._file.seek(self._at)
        data = self._file.read(min(size, self._left))
        if not data:
            raise CutShortError.of(self._path, self._size, self._at)
        self._at += len(data)
        self._left -= len(data)
        return data

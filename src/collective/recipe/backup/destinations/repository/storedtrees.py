"""The further files of a restore point in a repository: see FurtherFiles."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from collective.recipe.backup.destinations.repository.blobpages import read_pieces
from collective.recipe.backup.destinations.repository.pointcontents import FilesPart, contents_of
from collective.recipe.backup.destinations.repository.treepages import (
    TreeEntry,
    TreeRoot,
    read_tree_page,
    read_tree_root,
)
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.framing import DAMAGE_HINT
from collective.recipe.backup.filestorage.segments import Linked
from collective.recipe.backup.furtherfiles import FileSort, FurtherFile
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.reading import ChunkReader


def tree_root(reader: ChunkReader, root: ChunkId) -> TreeRoot:
    """Return a tree.  Raises IntegrityError."""
    node = reader.node(root)
    return read_tree_root(Linked(node.refs, node.payload))


def tree_entries(reader: ChunkReader, pages: Iterable[bytes]) -> Iterator[TreeEntry]:
    """Yield the entries of a directory with these *pages*; one page is in memory at a time.

    Raises IntegrityError, also if a name is not after the one before it.
    """
    last = b""  # which is no name
    for page in pages:
        node = reader.node(ChunkId(page))
        for entry in read_tree_page(Linked(node.refs, node.payload)):
            if entry.name <= last:
                raise IntegrityError(
                    "a directory of files is damaged: its names are not in order",
                    hint=DAMAGE_HINT,
                )
            last = entry.name
            yield entry


_TOGETHER = 256
"""Files that are read together."""


class _Opened(NamedTuple):
    """A directory during a listing."""

    path: bytes  # of the directory
    entries: Iterator[TreeEntry]  # that are not yielded yet


class PagedFiles:
    """The further files of *part*, which *reader* reads; see FurtherFiles."""

    def __init__(self, part: FilesPart, reader: ChunkReader) -> None:
        self._part = part
        self._reader = reader

    @property
    def count(self) -> int:
        """See FurtherFiles."""
        return self._part.files

    @property
    def size(self) -> int:
        """See FurtherFiles."""
        return self._part.size

    def listed(self, below: bytes = b"/") -> Iterator[FurtherFile]:
        """Yield the files; see FurtherFiles."""
        wanted = below.rstrip(b"/")
        stack = [_Opened(b"", iter(tree_root(self._reader, self._part.root).entries))]
        while stack:
            here = stack[-1]
            entry = next(here.entries, None)
            if entry is None:
                stack.pop()
                continue
            path = here.path.rstrip(b"/") + b"/" + entry.name if here.path else entry.name
            is_inside = _is_below(path, wanted)
            if not is_inside and not _is_below(wanted, path):
                continue
            file = entry.file._replace(path=path)
            if is_inside:
                yield file
            if file.sort is FileSort.DIRECTORY:
                stack.append(_Opened(path, tree_entries(self._reader, file.pieces)))

    def contents(self, below: bytes = b"/") -> Iterator[tuple[FurtherFile, Iterator[bytes]]]:
        """Yield files with their bytes; those of small files are read together."""
        listed = self.listed(below)
        while some := list(islice(listed, _TOGETHER)):
            small = [file for file in some if file.sort is FileSort.FILE and not file.is_large]
            data = self._reader.each(ChunkId(name) for file in small for name in file.pieces)
            for file in some:
                pieces: Iterator[bytes] = iter(())
                if file.sort is FileSort.FILE:
                    near = (piece for _chunk, piece in islice(data, len(file.pieces)))
                    pieces = self.data(file) if file.is_large else near
                yield file, pieces
                if not file.is_large:
                    deque(pieces, maxlen=0)  # pieces that the caller did not take

    def data(self, file: FurtherFile) -> Iterator[bytes]:
        """Yield the bytes of *file*; see FurtherFiles."""
        groups: Iterable[Iterable[bytes]] = [file.pieces]
        if file.is_large:
            groups = map(self._list, file.pieces)
        for pieces in groups:
            for _chunk, data in self._reader.each(map(ChunkId, pieces)):
                yield data

    def _list(self, name: bytes) -> list[bytes]:
        node = self._reader.node(ChunkId(name))
        return read_pieces(Linked(node.refs, node.payload))


def _is_below(path: bytes, other: bytes) -> bool:
    """Tell whether *path* is *other* or lies in it."""
    return path == other or path.startswith(other + b"/")


def stored_files(repository: Repository, point: Point) -> PagedFiles | None:
    """Return the further files of *point*; None: it has none.  Raises IntegrityError."""
    part = contents_of(point).files
    return None if part is None else PagedFiles(part, ChunkReader(repository))

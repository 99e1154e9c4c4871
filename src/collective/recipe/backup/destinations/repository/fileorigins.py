"""The origins of chunks of further files: the file and the piece that each was made of.

An unchanged file is cut in the same places again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from typing import NamedTuple, Protocol

from collective.recipe.backup.destinations.repository.blobpages import read_pieces
from collective.recipe.backup.destinations.repository.kinds import FILE
from collective.recipe.backup.destinations.repository.treepages import (
    PIECES_OF_A_LIST,
    TreeEntry,
    read_tree_page,
    read_tree_root,
)
from collective.recipe.backup.errors import IntegrityError, printable
from collective.recipe.backup.filestorage.segments import Linked
from collective.recipe.backup.furtherfiles import FileSort, FurtherFile


class PiecesOfFiles(Protocol):
    """Has the further files of a site, as they are cut."""

    def file_piece(self, path: bytes, number: int) -> bytes:
        """Return one piece of a file, from 0.  Raises LookupError, OSError or BackupError."""


class LostOfFile(NamedTuple):
    """The origin of a lost chunk."""

    name: bytes  # path of the file
    what: str  # for the user
    read: Callable[[PiecesOfFiles], tuple[int, bytes]] | None  # None: it is a list of ours


class FileOrigins:
    """Finds the origins of lost chunks of a tree.

    *opened* returns a node that was not seen yet, None if it cannot be read; *lacks* tells of
    each chunk once whether it is lost.
    """

    def __init__(
        self, opened: Callable[[bytes], Linked | None], lacks: Callable[[bytes], bool]
    ) -> None:
        self._opened = opened
        self._lacks = lacks

    def found(self, root: bytes) -> Iterator[LostOfFile]:
        """Yield the lost chunks of the tree with this root, as far as its nodes can be read."""
        if self._lacks(root):
            yield LostOfFile(root, "the list of further files", None)
            return
        linked = self._opened(root)
        waiting: list[tuple[bytes, Sequence[TreeEntry]]] = []
        if linked is not None:
            waiting.append((b"", read_tree_root(linked).entries))
        while waiting:
            above, entries = waiting.pop()
            for entry in entries:
                path = above + entry.name
                if entry.file.sort is FileSort.FILE:
                    yield from self._of_file(path, entry.file)
                    continue
                for page in entry.file.pieces:
                    if self._lacks(page):
                        yield LostOfFile(page, f"a part of the list of {_shown(path)}", None)
                    else:
                        waiting.append((path.rstrip(b"/") + b"/", self._entries(page)))

    def _entries(self, page: bytes) -> Sequence[TreeEntry]:
        with suppress(IntegrityError):
            linked = self._opened(page)
            return [] if linked is None else read_tree_page(linked)
        return []

    def _of_file(self, path: bytes, file: FurtherFile) -> Iterator[LostOfFile]:
        if not file.is_large:
            yield from self._of_pieces(path, 0, file.pieces)
            return
        for begin, name in zip(count(0, PIECES_OF_A_LIST), file.pieces, strict=False):
            if self._lacks(name):
                yield LostOfFile(name, f"a list of the pieces of {_shown(path)}", None)
                continue
            linked = self._opened(name)
            if linked is not None:
                yield from self._of_pieces(path, begin, read_pieces(linked))

    def _of_pieces(self, path: bytes, begin: int, names: Sequence[bytes]) -> Iterator[LostOfFile]:
        for number, name in enumerate(names, begin):
            if self._lacks(name):
                what = f"piece {number} of the file {_shown(path)}"
                yield LostOfFile(name, what, partial(_piece, path, number))


def _piece(path: bytes, number: int, copy: PiecesOfFiles) -> tuple[int, bytes]:
    return FILE, copy.file_piece(path, number)


def _shown(path: bytes) -> str:
    return printable(path.decode("utf-8", "surrogateescape"))


class PiecesInOrder:
    """The pieces of files that *cut* returns, which are asked for one after the other."""

    def __init__(self, cut: Callable[[bytes], Iterator[bytes]]) -> None:
        self._cut = cut
        self._path = b""
        self._pieces: Iterator[bytes] = iter(())
        self._next = 0

    def piece(self, path: bytes, number: int) -> bytes:
        """Return a piece.  Errors of *cut* pass.  Raises LookupError if there is no such piece."""
        if path != self._path or number < self._next:
            self._path, self._pieces, self._next = path, self._cut(path), 0
        for data in self._pieces:
            self._next += 1
            if self._next > number:
                return data
        raise LookupError(path)

"""Storing the foreign files in a blobstorage: only those that changed since the last backup.

A file with its former size and modification time is not read again, unless that time is so close to
the earlier backup that another change could have the same time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from collective.recipe.backup.blobs.layout import Entry, Kind, order
from collective.recipe.backup.blobs.refusing import refusal
from collective.recipe.backup.destinations.repository.foreignpages import (
    ForeignEntry,
    ForeignList,
    ForeignPage,
    ends_page,
    in_order,
    read_foreign_list,
    read_foreign_page,
    written_foreign_page,
)
from collective.recipe.backup.destinations.repository.kinds import FOREIGN_LIST, FOREIGN_PAGE
from collective.recipe.backup.destinations.repository.newfiles import NewFiles, put_node
from collective.recipe.backup.destinations.repository.pointcontents import contents_of
from collective.recipe.backup.destinations.repository.sinks import ChunkSink
from collective.recipe.backup.destinations.repository.treewalk import SETTLED
from collective.recipe.backup.filestorage.segments import Linked
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.unreadable import CannotReadError, unreadable


class EarlierForeign:
    """The foreign files of an earlier restore point; paths must be asked for in order."""

    def __init__(self, entries: Iterator[ForeignEntry], taken: int) -> None:
        """Take *entries* from a backup that was *taken* then, in ns since 1970."""
        self._entries = entries
        self._settled = taken - SETTLED
        self._next: ForeignEntry | None = None

    def same(self, path: str, status: os.stat_result) -> ForeignEntry | None:
        """Return the file at *path*, if that is as it was.  Raises IntegrityError."""
        while self._next is None or order(self._next.path) < order(path):
            self._next = next(self._entries, None)
            if self._next is None:
                return None
        found = self._next
        if found.path != path or found.file is None or found.time >= self._settled:
            return None
        looks = found.file.mode, found.file.size, found.time
        now = status.st_mode & 0o777, status.st_size, status.st_mtime_ns
        return found if looks == now else None


class NewForeign:
    """Stores foreign files by *files* and *sink*; counts those that cannot be copied."""

    def __init__(
        self, root: Path, files: NewFiles, sink: ChunkSink, earlier: EarlierForeign | None
    ) -> None:
        self._root = root  # of the blobstorage
        self._earlier = earlier
        self._files = files
        self._sink = sink
        self._pages: list[ForeignPage] = []
        self._open: list[ForeignEntry] = []  # of the page that comes next
        self.left_out = 0
        self.left = ""  # the path of the first of these, of a directory of ZODB if there is one
        self._has_unread = False  # whether there is

    def add(self, entry: Entry) -> None:
        """Store the file at *entry*.

        Raises IntegrityError if the list of the earlier ones is damaged, and OSError for an error
        that is not about this file.
        """
        try:
            found = None if refusal(entry, self._root) else self._stored(entry)
        except FileNotFoundError:  # it has just gone
            return
        except OSError as error:
            path = f"{self._root}/{entry.path}"
            if not isinstance(unreadable(error, path), CannotReadError):
                raise
            found = None
        if found is None:
            if not self.left or (not entry.foreign and not self._has_unread):
                self.left = entry.path
            self._has_unread = self._has_unread or not entry.foreign
            self.left_out += 1
            return
        self._open.append(found)
        if ends_page(self._open):
            self._end_page()

    def _stored(self, entry: Entry) -> ForeignEntry:
        path = f"{self._root}/{entry.path}"
        status = os.lstat(path)
        if entry.kind is Kind.DIRECTORY:
            return ForeignEntry(entry.path, entry.kind, mode=status.st_mode & 0o777)
        if entry.kind is Kind.LINK:
            text = os.fsencode(os.readlink(path))
            return ForeignEntry(entry.path, entry.kind, status.st_mtime_ns, text=text)
        before = self._earlier.same(entry.path, status) if self._earlier else None
        if before is not None:
            return before
        file = self._files.file_at(path)
        return ForeignEntry(entry.path, entry.kind, file.time, file)

    def _end_page(self) -> None:
        name = put_node(self._sink, FOREIGN_PAGE, written_foreign_page(self._open))
        size = sum(each.size for each in self._open if each.file)
        self._pages.append(ForeignPage(name, len(self._open), size))
        self._open = []

    def root(self) -> tuple[ChunkId | None, int]:
        """Store the list; return its root, None if there is nothing, and the bytes of the files."""
        if self._open:
            self._end_page()
        if not self._pages:
            return None, 0
        found = ForeignList(tuple(self._pages))
        return put_node(self._sink, FOREIGN_LIST, found.root()), found.size


def foreign_list(reader: ChunkReader, root: ChunkId) -> ForeignList:
    """Return a list.  Raises IntegrityError."""
    node = reader.node(root)
    return read_foreign_list(Linked(node.refs, node.payload))


def foreign_entries(reader: ChunkReader, found: ForeignList) -> Iterator[ForeignEntry]:
    """Yield all entries of a list, one page of which is held at a time.  Raises IntegrityError."""
    return in_order(
        entry
        for page in found.pages
        for node in [reader.node(ChunkId(page.name))]
        for entry in read_foreign_page(page, Linked(node.refs, node.payload))
    )


def earlier_foreign(reader: ChunkReader, point: Point) -> EarlierForeign | None:
    """Return what *point* has; None: it has nothing.  Raises IntegrityError."""
    contents = contents_of(point)
    if contents.blobs is None or contents.blobs.foreign is None:
        return None
    manifest = contents.manifest
    taken = point.moment if manifest is None else manifest.taken
    found = foreign_list(reader, contents.blobs.foreign)
    return EarlierForeign(foreign_entries(reader, found), int(taken.timestamp() * 10**9))

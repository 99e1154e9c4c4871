"""The further files of a site, stored as a tree that shares what an earlier one has.

A file that has the size, the times, the inode and the file system that it had is not read
again.  One that was changed less than SETTLED before the earlier backup may have been changed
once more within one tick of its clock, and is read.

Nothing that is wrong with a file ends the backup: it is named, and tried again next time.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime

from collective.recipe.backup.destinations.repository.kinds import TREE, TREE_PAGE
from collective.recipe.backup.destinations.repository.sinks import ChunkSink
from collective.recipe.backup.destinations.repository.storedtrees import tree_entries
from collective.recipe.backup.destinations.repository.treefiles import (
    ChangedError,
    store_contents,
)
from collective.recipe.backup.destinations.repository.treepages import (
    FileTimes,
    TreeEntry,
    TreeRoot,
    ends_page,
    size_of,
    written_tree_page,
)
from collective.recipe.backup.destinations.repository.treetally import NewTree, TreeTally
from collective.recipe.backup.destinations.repository.wantedfiles import Exclusions, WantedFiles
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.segments import Linked
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.furtherfiles import FileSort, FurtherFile
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.unreadable import CannotReadError

SETTLED = 2 * 10**9
"""Nanoseconds before a backup in which no file may have been changed, lest it be read again."""


@dataclass(frozen=True)
class EarlierTree:
    """A tree of an earlier restore point."""

    root: TreeRoot  # of that tree
    reader: ChunkReader  # of the repository
    taken: datetime  # when that was begun, as the clock said


class DamagedTreeError(Exception):
    """An earlier tree cannot be read."""


class OtherwiseError(Exception):
    """A file looks otherwise, and a tree is only compared."""


class _Directory:
    """A directory while its entries are stored."""

    def __init__(
        self,
        paths: tuple[str, str],
        entry: TreeEntry,
        names: Sequence[bytes],
        earlier: Iterator[TreeEntry],
    ) -> None:
        self.path, self.real = paths  # as it was asked for, and without links
        self.entry = entry
        self.names = iter(names)
        self.pages: list[ChunkId] = []
        self.open: list[TreeEntry] = []  # of the page that comes next
        self.size = 0  # bytes of these
        self._earlier = earlier
        self._next: TreeEntry | None = None

    def earlier(self, name: bytes) -> TreeEntry | None:
        """Return what had this *name*; it is asked for one after the other."""
        while self._next is None or self._next.name < name:
            self._next = next(self._earlier, None)
            if self._next is None:
                return None
        return self._next if self._next.name == name else None


class NewTrees:
    """Stores the further files of a site by *store*."""

    def __init__(
        self,
        wanted: WantedFiles,
        store: ChunkSink,
        earlier: EarlierTree | None,
        progress: Progress,
        *,
        only_same: bool = False,
    ) -> None:
        self._wanted = wanted
        self._exclusions = Exclusions(wanted)
        self._store = store
        self._earlier = earlier
        self._progress = progress
        self._only_same = only_same
        self._devices: dict[int, int] = {}  # number of each among those of the tree
        self._tally = TreeTally()

    def stored(self) -> NewTree:
        """Store all of it.

        Raises DamagedTreeError, and OtherwiseError at once if it is to be one with *only_same*
        files as the earlier one, and is not.
        """
        with self._progress.phase("storing the files", 0, "files") as self._advance:
            root = TreeRoot(tuple(self._roots()))
        return self._tally.sum(self._node(root.linked(), TREE))

    def _roots(self) -> Iterator[TreeEntry]:
        """Yield the paths that are wanted; one that is itself a link is followed."""
        before = {each.name: each for each in self._earlier.root.entries} if self._earlier else {}
        for path in sorted(map(os.fsencode, self._wanted.roots())):
            entry = self._tree(path, before.get(path))
            if entry is not None:
                yield entry

    def _tree(self, name: bytes, before: TreeEntry | None) -> TreeEntry | None:
        """Store the path *name* with all that lies below it; None: it cannot be read."""
        top = _Directory(("", ""), _NOTHING, [name], iter([before] if before else []))
        stack = [top]
        while stack:
            here = stack[-1]
            following = next(here.names, None)
            if following is not None:
                below = self._entered(here, following)
                if below is not None:
                    stack.append(below)
                continue
            stack.pop()
            if stack:
                self._end_page(here)
                file = here.entry.file._replace(pieces=tuple(here.pages))
                self._add(stack[-1], here.entry._replace(file=file))
        return top.open[0] if top.open else None

    def _entered(self, here: _Directory, name: bytes) -> _Directory | None:
        """Store the entry *name*; for a directory, return it to be walked."""
        path = os.path.join(here.path, os.fsdecode(name))
        real = os.path.join(here.real, os.fsdecode(name)) if here.path else os.path.realpath(path)
        try:
            status = os.lstat(real)
            is_directory = stat.S_ISDIR(status.st_mode)
            if here.path and self._exclusions.leave_out(path, is_directory=is_directory):
                return None
            if not here.path and self._exclusions.is_kept_out(path):
                self._tally.mentions(
                    path, "it belongs to the storages or to backups, and is left out"
                )
                return None
            if is_directory:
                return self._opened(here, name, (path, real), status)
            entry = self._entry(here.earlier(name), name, real, status)
        except OSError as error:
            self._tally.unreadable(real, error, is_wanted=not here.path)
            return None
        if entry is not None:
            self._add(here, entry)
        return None

    def _opened(
        self, here: _Directory, name: bytes, paths: tuple[str, str], status: os.stat_result
    ) -> _Directory:
        names = sorted(os.listdir(os.fsencode(paths[1])))
        before = here.earlier(name)
        pages = before.file.pieces if before and before.file.sort is FileSort.DIRECTORY else ()
        entry = TreeEntry(name, _file(FileSort.DIRECTORY, status))
        return _Directory(paths, entry, names, self._earlier_entries(pages))

    def _earlier_entries(self, pages: Sequence[bytes]) -> Iterator[TreeEntry]:
        if self._earlier is None:
            return
        try:
            yield from tree_entries(self._earlier.reader, pages)
        except IntegrityError as error:
            raise DamagedTreeError from error

    def _entry(
        self, before: TreeEntry | None, name: bytes, path: str, status: os.stat_result
    ) -> TreeEntry | None:
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(os.fsencode(path))
            return TreeEntry(name, _file(FileSort.LINK, status)._replace(mode=0, target=target))
        if not stat.S_ISREG(status.st_mode):
            self._tally.leaves_out(path)
            return None
        self._advance(1)
        looks_same = before is not None and self._looks_as(before, status)
        if self._only_same and not looks_same:
            raise OtherwiseError
        if before is not None and looks_same and self._is_settled(status):
            entry = before
        else:
            entry = self._new(name, path)
        self._tally.has(entry.file)
        return entry

    def _looks_as(self, before: TreeEntry, status: os.stat_result) -> bool:
        looks = before.file.size, before.file.time
        same = looks == (status.st_size, status.st_mtime_ns)
        return same and before.times == self._times(status)

    def _is_settled(self, status: os.stat_result) -> bool:
        if self._earlier is None:
            return False
        return status.st_ctime_ns + SETTLED < self._earlier.taken.timestamp() * 10**9

    def _times(self, status: os.stat_result) -> FileTimes:
        return FileTimes(
            changed=status.st_ctime_ns,
            inode=status.st_ino,
            device=self._devices.setdefault(status.st_dev, len(self._devices)),
            has_others=status.st_nlink > 1,
        )

    def _new(self, name: bytes, path: str) -> TreeEntry:
        """Store a file that is new; one that changes meanwhile is read twice.  Raises OSError."""
        self._tally.read += 1
        with suppress(ChangedError, CannotReadError):
            return self._read_entry(name, path)
        try:
            return self._read_entry(name, path)
        except ChangedError as error:
            why = "it changed while it was read, twice: what was read is stored"
            self._tally.mentions(path, why)
            return TreeEntry(name, error.file, self._times(error.status))

    def _read_entry(self, name: bytes, path: str) -> TreeEntry:
        file, status = store_contents(path, self._store)
        return TreeEntry(name, file, self._times(status))

    def _add(self, here: _Directory, entry: TreeEntry) -> None:
        here.open.append(entry)
        here.size += size_of(entry)
        if here.path and ends_page(here.open, here.size):
            self._end_page(here)

    def _end_page(self, here: _Directory) -> None:
        if here.open:
            here.pages.append(self._node(written_tree_page(here.open), TREE_PAGE))
            here.open, here.size = [], 0

    def _node(self, linked: Linked, kind: int) -> ChunkId:
        return self._store.add_node(linked.data, [ChunkId(name) for name in linked.names], kind)


def _file(sort: FileSort, status: os.stat_result) -> FurtherFile:
    return FurtherFile(
        path=b"",
        sort=sort,
        mode=status.st_mode & 0o7777,
        owner=status.st_uid,
        group=status.st_gid,
        time=status.st_mtime_ns,
    )


_NOTHING = TreeEntry(b"", FurtherFile(b"", FileSort.DIRECTORY, 0, 0, 0, 0))

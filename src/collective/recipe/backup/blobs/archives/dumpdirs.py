"""The changes to the tree that the dumpdirs of one incremental archive of GNU tar ask for."""

from __future__ import annotations

import os

from collective.recipe.backup.blobs.archives.archivereading import relative
from collective.recipe.backup.blobs.archives.gnu import D, Dumpdir
from collective.recipe.backup.blobs.archives.ground import Ground, Refused, shown, with_parents
from collective.recipe.backup.blobs.layout import blob_of
from collective.recipe.backup.times import Tid


class DumpdirFollower:
    """Follows the dumpdirs of one archive; ``moved`` tells whether it renamed anything.

    All that it takes for granted must be there, but for blobs later than *until*.
    """

    def __init__(self, ground: Ground, until: Tid) -> None:
        self.moved = False
        self._ground = ground
        self._until = until
        self._doubtful: set[str] = set()

    def follow(self, path: str, dumpdir: Dumpdir, *, new: bool) -> None:
        """Bring the directory *path* to the state of *dumpdir*, but for the files to come."""
        for source, target in dumpdir.renames:
            if target is None:
                self._set_aside(_path(source or b""))
            elif source is None:
                self._take_back(_path(target))
            else:
                self._rename(_path(source), _path(target))
        if not new:
            self._purge(path, dumpdir)
        self._check_unchanged(path, dumpdir)

    def finish(self) -> None:
        """Raise Refused if something was left half done."""
        if self._ground.has_aside:
            raise Refused("the list of renamed directories is incomplete")

    def _rename(self, source: str, path: str) -> None:
        """Rename a path as the source did, instead of unpacking it again.

        GNU tar knows directories by their inodes, which are used again.  So it calls it a
        rename if a pack has removed one and ZODB then made another, and some of these make
        no sense here.  They do no harm as long as all that the other one holds is new.
        """
        is_there = self._ground.has_directory(source)
        if not self._is_free(path) or not is_there:
            self._doubtful.add(path)
            return
        if path.startswith(f"{source}/"):
            raise Refused(f"{shown(path)} was renamed into itself")
        self._ground.move(source, path)
        self.moved = True

    def _take_back(self, path: str) -> None:
        """Rename the entry that was set aside; see _rename."""
        if not self._is_free(path) or not self._ground.has_aside:
            self._doubtful.add(path)
            self._ground.drop_aside()
            return
        self._ground.take_back(path)
        self.moved = True

    def _is_free(self, path: str) -> bool:
        self._ground.enter(os.path.dirname(path))
        return not self._ground.holds(path)

    def _set_aside(self, source: str) -> None:
        """Rename to a temporary name, until the other half of a swap is done."""
        if self._ground.has_aside:
            raise Refused("the list of renamed directories is incomplete")
        if self._ground.has_directory(source):
            self._ground.set_aside(source)

    def _purge(self, path: str, dumpdir: Dumpdir) -> None:
        """Remove paths that the source has deleted."""
        names = dumpdir.names()
        gone = [
            name
            for name, is_directory in self._ground.names(path)
            if (letter := names.get(os.fsencode(name))) is None or (letter == D) != is_directory
        ]
        for name in gone:
            self._ground.clear(f"{path}/{name}" if path else name)

    def _check_unchanged(self, path: str, dumpdir: Dumpdir) -> None:
        """See to it that earlier archives have brought what this one takes for granted."""
        doubtful = not self._doubtful.isdisjoint(with_parents(path))
        for name in dumpdir.unchanged():
            below = f"{path}/{os.fsdecode(name)}" if path else os.fsdecode(name)
            blob = blob_of(below)
            if blob and blob.tid > self._until:
                continue
            if doubtful:
                raise Refused(f"it does not tell which {shown(below)} is meant")
            if not self._ground.holds(below):
                raise Refused(f"an earlier archive that holds {shown(below)} is missing")


def _path(name: bytes) -> str:
    try:
        return relative(name)
    except ValueError as error:
        raise Refused(str(error)) from error

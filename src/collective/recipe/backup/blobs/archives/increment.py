"""What the dumpdirs of one incremental archive of GNU tar change in the tree."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from collective.recipe.backup.blobs.archives.gnu import D, Dumpdir
from collective.recipe.backup.blobs.archives.ground import Ground, Refused, shown
from collective.recipe.backup.blobs.archives.reading import relative
from collective.recipe.backup.blobs.layout import blob_of
from collective.recipe.backup.files import Files
from collective.recipe.backup.times import Tid


class Increment:
    """Follows the dumpdirs of one archive; ``moved`` tells whether it renamed anything.

    What it takes for granted must be there, but for blobs later than *until*.
    """

    def __init__(self, ground: Ground, until: Tid, files: Files) -> None:
        self.moved = False
        self._ground = ground
        self._until = until
        self._files = files
        self._aside: Path | None = None
        self._doubtful: set[str] = set()

    def follow(self, path: str, dumpdir: Dumpdir, *, new: bool) -> None:
        """Bring the directory *path* to the state of *dumpdir*, but for the files to come."""
        for source, target in dumpdir.renames:
            self._ground.changed()
            if target is None:
                self._set_aside(source or b"")
            else:
                self._rename(source, _path(target))
        if not new:
            self._purge(path, dumpdir)
        self._check_unchanged(path, dumpdir)

    def finish(self) -> None:
        """Raise Refused if something was left half done."""
        if self._aside:
            raise Refused("a directory was renamed half")

    def _rename(self, source: bytes | None, path: str) -> None:
        """Rename what was renamed at the source, instead of unpacking it again.

        GNU tar knows directories by their inodes, which are used again.  So it calls it a
        rename if a pack has removed one and ZODB then made another, and some of these make
        no sense here.  They do no harm as long as all that the other one holds is new.
        """
        place = self._aside if source is None else self._ground.directory(_path(source))
        if source is None:
            self._aside = None
        self._ground.enter(os.path.dirname(path))
        if place is None or self._ground.holds(path):
            self._doubtful.add(path)
            if place and source is None:
                self._files.clear(place)
            return
        target = self._ground.root / path
        if place in target.parents:
            raise Refused(f"{shown(path)} was renamed into itself")
        self._files.rename(place, target)
        self.moved = True

    def _set_aside(self, source: bytes) -> None:
        """Rename to a temporary name, until the other half of a swap is done."""
        place = self._ground.directory(_path(source))
        if self._aside:
            raise Refused("a directory was renamed half")
        if place:
            self._aside = self._files.partial_name(self._ground.root / "renamed")
            self._files.rename(place, self._aside)

    def _purge(self, path: str, dumpdir: Dumpdir) -> None:
        """Remove what was deleted at the source."""
        directory, names = self._ground.root / path, dumpdir.names()
        with os.scandir(os.fsencode(directory)) as entries:
            gone = [
                entry.name
                for entry in entries
                if (letter := names.get(entry.name)) is None
                or (letter == D) != entry.is_dir(follow_symlinks=False)
            ]
        for name in gone:
            place = directory / os.fsdecode(name)
            if place != self._aside:
                self._files.clear(place)
                self._ground.changed()

    def _check_unchanged(self, path: str, dumpdir: Dumpdir) -> None:
        """See to it that earlier archives have brought what this one takes for granted."""
        doubtful = not self._doubtful.isdisjoint(_with_parents(path))
        for name in dumpdir.unchanged():
            below = f"{path}/{os.fsdecode(name)}" if path else os.fsdecode(name)
            blob = blob_of(below)
            if blob and blob.tid > self._until:
                continue
            if doubtful:
                raise Refused(f"it does not tell which {shown(below)} is meant")
            if not self._ground.holds(below):
                raise Refused(f"an earlier archive that holds {shown(below)} is missing")


def _with_parents(path: str) -> Iterator[str]:
    """Yield *path* and the directories that it lies in."""
    while path:
        yield path
        path = os.path.dirname(path)


def _path(name: bytes) -> str:
    try:
        return relative(name)
    except ValueError as error:
        raise Refused(str(error)) from error

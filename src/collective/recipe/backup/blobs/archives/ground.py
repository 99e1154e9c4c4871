"""The tree that archives are unpacked to, in which nobody else writes.

Nothing is followed: each directory on the way to a name is one that was made here, or it
is an error.  But a link to the room of another disk (see ``contents``), which was there
before, counts as the directory that it leads to.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from collective.recipe.backup.blobs.archives.gnu import show
from collective.recipe.backup.contents import laid_out_in
from collective.recipe.backup.files import Files


class Refused(Exception):
    """A member does not fit what is there, or would reach out of the tree."""


class Ground:
    """The directories below *root*, which is one itself."""

    def __init__(self, root: Path, files: Files) -> None:
        self.root = root
        self.rooms = laid_out_in(root) or frozenset()
        self._files = files
        self._made: list[str] = []

    def enter(self, path: str, like: os.stat_result | None = None) -> bool:
        """Make the directory *path* as far as it is not there; True if it was not.

        Raises Refused if something else stands in its place or on the way to it.
        """
        names = path.split("/")
        if not path or (like is None and names == self._made[: len(names)]):
            return False
        common = len(os.path.commonprefix([self._made, names]))
        new = False
        for depth in range(min(common, len(names) - 1), len(names)):
            last = depth == len(names) - 1
            new = self._make("/".join(names[: depth + 1]), like if last else None)
        self._made = names
        return new

    def _make(self, path: str, like: os.stat_result | None) -> bool:
        place = self.root / path
        try:
            there = place.lstat()
        except FileNotFoundError:
            there = None
        if there and not stat.S_ISDIR(there.st_mode) and path not in self.rooms:
            raise Refused(f"{shown(path)} is no directory, although something lies below it")
        if like:
            self._files.make_directory_like(place, like)
        elif not there:
            self._files.make_directory(place, 0o700)
        return there is None

    def changed(self) -> None:
        """Believe nothing of what was there before: something was removed or renamed."""
        self._made = []

    def holds(self, path: str) -> bool:
        """Tell whether something lies at *path*, whose directory was entered."""
        return os.path.lexists(os.path.join(self.root, path))

    def directory(self, path: str) -> Path | None:
        """Return where the directory *path* is, None if there is none."""
        return self.root / path if self._is(path, stat.S_IFDIR) else None

    def file(self, path: str) -> Path | None:
        """Return where the regular file *path* is, None if there is none."""
        return self.root / path if self._is(path, stat.S_IFREG) else None

    def _is(self, path: str, kind: int) -> bool:
        names = path.split("/")
        kinds = [stat.S_IFDIR] * (len(names) - 1) + [kind]
        for depth, expected in enumerate(kinds):
            place = "/".join(names[: depth + 1])
            if place in self.rooms and expected == stat.S_IFDIR:
                continue
            try:
                status = os.lstat(self.root / place)
            except FileNotFoundError:
                return False
            if stat.S_IFMT(status.st_mode) != expected:
                return False
        return bool(path)


def shown(path: str) -> str:
    """Return a path as messages have it."""
    return show(os.fsencode(path))

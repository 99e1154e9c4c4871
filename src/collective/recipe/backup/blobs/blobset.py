"""Blob sets: for each chain one directory with all its blobs, and digests of them.

::

    blobstorage.2026-03-01-03-00-00/
        blobstorage/               the tree, as it is at the source
        checksums, checksums.added
        about                      the format of these, and how much is there besides blobs
    latest -> blobstorage.2026-03-01-03-00-00

Sets that rsync made for older releases are the same without the files beside the tree.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from collective.recipe.backup import listings
from collective.recipe.backup.blobs.checksums import Checksums
from collective.recipe.backup.blobs.marker import layout_of
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import BlobId, Problem
from collective.recipe.backup.smallfile import UnfitError, read_small
from collective.recipe.backup.times import is_stamp

ABOUT_NAME = "about"

_ABOUT_SIZE = 1000
_ABOUT = re.compile(rb"blob set 1\nforeign (\d{1,19})\n")


@dataclass(frozen=True)
class BlobSet:
    """A directory of blobs, and in it the tree of a blobstorage."""

    path: Path  # of the directory
    storage: str  # name of the blobstorage, and of the tree

    @property
    def name(self) -> str:
        """The name of the directory, ``STORAGE.STAMP``."""
        return self.path.name

    @property
    def stamp(self) -> str:
        """The stamp of the chain that it was begun for."""
        return self.name[len(self.storage) + 1 :]

    @property
    def number(self) -> int | None:
        """Its place in a rotation, None since it has a stamp in its name (see numbered)."""
        return None

    def verify_stamp(self) -> Iterator[Problem]:
        """Yield nothing: the stamp is in the name."""
        return iter(())

    @property
    def root(self) -> Path:
        """The tree of blobs."""
        return self.path / self.storage

    @property
    def elsewhere(self) -> Path | None:
        """The path of the tree if a symbolic link leads to it, else None."""
        linked = self.path.is_symlink() or self.root.is_symlink()
        return Path(os.path.realpath(self.root)) if linked else None

    @property
    def room(self) -> Path:
        """A directory on the disk of the tree, for files that are copied there."""
        return Path(os.path.realpath(self.root)) if self.root.is_symlink() else self.path

    @property
    def has_tree(self) -> bool:
        """Tell whether its tree is there.

        A link to another disk counts as what it leads to: an administrator has moved it there.
        One that leads nowhere, or to a directory that holds the set, is no tree.
        """
        root = self.root
        if not root.is_dir():
            return False
        if not root.is_symlink():
            return True
        return not Path(os.path.realpath(self.path)).is_relative_to(os.path.realpath(root))

    @property
    def checksums(self) -> Checksums:
        """The expected size and digest of each file of the tree."""
        return Checksums(self.path)

    @property
    def ours(self) -> bool:
        """Tell whether we made it: rsync and older releases wrote nothing but the tree."""
        return self.about.exists() or self.checksums.exist()

    @property
    def about(self) -> Path:
        """The file that says what kind of set this is."""
        return self.path / ABOUT_NAME

    @property
    def foreign(self) -> int:
        """The number of foreign files, which no log mentions when they change.

        0 for sets that older releases made, whose files were not counted.  Raises IntegrityError.
        """
        try:
            data = read_small(self.about, _ABOUT_SIZE)
        except UnfitError:
            data = b""
        if data is None:
            return 0
        found = _ABOUT.fullmatch(data)
        if not found:
            raise IntegrityError(
                "this is damaged, or of a newer release",
                where=self.about,
                hint="make a full backup to get a new set",
            )
        return int(found[1])

    @property
    def plain(self) -> bool:
        """Tell whether we made it and it holds nothing but what a log and our list name."""
        try:
            return self.ours and not self.foreign
        except IntegrityError:  # verify says so; a new set mends it
            return False


def find_sets(directory: Path, name: str) -> list[BlobSet]:
    """Return the sets of the storage *name* in *directory*, oldest first.

    A directory that is not there holds none.  Partial ones are never among them.
    """
    try:
        names = [entry.name for entry in listings.entries(directory)]
    except FileNotFoundError:
        return []
    prefix = f"{name}."
    found = [
        BlobSet(directory / each, name)
        for each in sorted(names)
        if each.startswith(prefix) and is_stamp(each[len(prefix) :])
    ]
    return [each for each in found if each.has_tree]


def missing(blob_set: BlobSet, ids: Iterable[BlobId]) -> Iterator[BlobId]:
    """Yield those of *ids* whose blobs are not in the set."""
    layout, root = layout_of(blob_set.root), os.fspath(blob_set.root)
    for blob in ids:
        if not os.path.isfile(f"{root}/{layout.path(blob)}"):
            yield blob


def remove(blob_set: BlobSet, files: Files) -> None:
    """Remove a set; for readers it vanishes at once, though the removal takes its time.

    If the tree lies elsewhere, only the link is removed.
    """
    partial = files.partial_name(blob_set.path)
    files.rename(blob_set.path, partial)
    files.remove_tree(partial)

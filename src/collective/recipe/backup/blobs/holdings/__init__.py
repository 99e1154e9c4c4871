"""Holdings of blobs in a directory of backups: trees and archives, ours and of older releases.

::

    NAME.STAMP/NAME      NAME.NUMBER/NAME           trees
    NAME.STAMP.tar[.gz]  NAME.NUMBER.tar[.gz]       archives
    NAME.STAMP.delta.tar[.gz]                       incremental ones
    latest  NAME.STAMP.snar  *.partial  and so on   no holdings

They may lie mixed in one directory, as an option was changed over the years.  A holding is
known by the name that it would have with its stamp, whatever its number is just now.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from collective.recipe.backup import listings
from collective.recipe.backup.blobs.holdings.archiveholdings import Archived, find_archived, flaws
from collective.recipe.backup.blobs.holdings.treeholdings import Tree, find_trees
from collective.recipe.backup.errors import explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.times import STAMP, Tid

if TYPE_CHECKING:
    from collective.recipe.backup.blobs.copied import Copied
    from collective.recipe.backup.blobs.storedblobs import StoredBlobs

_HOLDING = re.compile(rf"(.+)\.(?:[0-9]+|{STAMP})(?:(?:\.delta)?\.tar(?:\.gz)?)?", re.DOTALL)
"""Pattern of the name of a holding: the name of the storage and an ending."""


class Holding(Protocol):
    """Blobs that were backed up together.

    *certain* tells whether the stamp is its own; where not, it is the modification time of
    something that an older release has numbered.
    """

    @property
    def name(self) -> str:
        """The name that restore points have for it."""

    @property
    def stamp(self) -> str:
        """The time at which it was made, or begun."""

    @property
    def certain(self) -> bool:
        """Tell whether the stamp was recorded."""

    @property
    def number(self) -> int | None:
        """Its present place in a rotation, 0 the newest; None if it is not in one."""

    @property
    def ours(self) -> bool:
        """Tell whether we made it.  Raises IntegrityError if it is too damaged to tell."""

    @property
    def paths(self) -> list[Path]:
        """The paths on the disk that a restore of it needs, its own last."""

    @property
    def begins(self) -> str:
        """The stamp of the first holding that it needs: its own, if it builds on none."""

    @property
    def stored(self) -> int:
        """Its own bytes; 0 for a tree, whose files were not counted.

        Raises OSError.
        """

    def blob_at(self, path: Path) -> BlobId | None:
        """Return the blob whose file is at *path*, None if none has a file of its own there."""

    def lacking(self, ids: Iterable[BlobId]) -> Iterator[BlobId]:
        """Yield those of *ids* whose blobs it does not hold.

        Of an archive all is read for it: ask for few.  Raises IntegrityError.
        """

    def still_lacks(self, source: Path) -> Copied | None:
        """Return what *source* has and cannot be copied; None if it has anything else that is new.

        Raises BackupError if either of them cannot be read.
        """

    def has_foreign_of(self, source: Path, others: str, left_out: int) -> bool:
        """Tell whether what *source* has besides blobs is as it was; no log tells of that.

        *others* and *left_out* are what its restore point says (see Manifest).
        """

    def open(self, until: Callable[[], Tid], size: int | None) -> StoredBlobs:
        """Return its blobs up to the transaction that *until* returns, to be read.

        Its files have *size* bytes in all (None: unknown).
        """

    def remove(self, files: Files) -> bool:
        """Remove it, but not what it builds on; False if it has to stay, which is logged."""


Some = TypeVar("Some", bound=Holding)


class Holdings(Mapping[str, Holding]):
    """Holdings by name, oldest first: all of them, the *trees* and the *archives*.

    A caller that asks for one of a kind finds none where something of the other kind has the name.
    """

    def __init__(self, trees: Iterable[Tree] = (), archives: Iterable[Archived] = ()) -> None:
        self.trees = _by_name(trees)
        self.archives = _by_name(archives)
        self._all: dict[str, Holding] = _by_name([*self.trees.values(), *self.archives.values()])

    @property
    def newest(self) -> Holding | None:
        """The last of all, None if there is none."""
        return next(reversed(self._all.values()), None)

    def flaws(self) -> Mapping[str, str]:
        """Return why some cannot be restored, by name, as far as a quick look tells."""
        return flaws(self.archives.values())

    def __getitem__(self, name: str) -> Holding:
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


def _by_name(found: Iterable[Some]) -> dict[str, Some]:
    return {each.name: each for each in sorted(found, key=_age)}


def _age(holding: Holding) -> tuple[str, bool, int, str]:
    """Return what sorts holdings; of two with one name the one whose own it is comes last."""
    return holding.stamp, holding.certain, -(holding.number or 0), holding.name


def find(directory: Path, storage: str) -> Holdings:
    """Return what holds blobs of the storage *storage* in *directory*.

    A directory that is not there holds none.
    """
    return listings.once(directory, ("holdings", storage), partial(_find, directory, storage))


def _find(directory: Path, storage: str) -> Holdings:
    return Holdings(find_trees(directory, storage), find_archived(directory, storage))


def storages(directory: Path) -> set[str]:
    """Return the names of the storages whose blobs something in *directory* holds.

    A directory that is not there holds none.
    """
    if not directory.exists():
        return set()
    with explained("cannot look for blobs", directory), os.scandir(directory) as entries:
        named = {found[1] for entry in entries if (found := _HOLDING.fullmatch(entry.name))}
    return {each for each in named if find(directory, each)}

"""Blob sets in a numbered rotation, as ``blob_timestamps = false`` has them.

::

    blobstorage.0/             the newest
        blobstorage/           the tree
        checksums, about       as in every set of ours
        stamp                  the stamp of the restore point that it belongs to
    blobstorage.1/             the one before

Numbers change with each backup, so we rely on the stamp in a set of ours instead.  Sets of older
releases have none; there the modification time of the directory is the time of the set.

A set is begun and becomes whole under a name with its stamp.  Only then the others move up, the
highest number first, and it becomes number 0. A run that dies on the way leaves a gap in the
numbers, or the new set under its stamp, and loses no set.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path

from collective.recipe.backup import listings
from collective.recipe.backup.blobs.blobset import BlobSet
from collective.recipe.backup.blobs.rotation import moving
from collective.recipe.backup.errors import BackupError, IntegrityError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import Problem
from collective.recipe.backup.mounts import mounts_in
from collective.recipe.backup.smallfile import UnfitError, read_small
from collective.recipe.backup.times import is_stamp, stamp

STAMP_NAME = "stamp"
_STAMP_LIMIT = 1000

_HINT = "the blobs may be whole: write the stamp of their restore point into this file"
_NUMBER = re.compile(r"0|[1-9][0-9]*")


@dataclass(frozen=True)
class NumberedSet(BlobSet):
    """A set with a number in the place of a stamp in its name; see BlobSet."""

    @property
    def number(self) -> int:
        """0 is the newest."""
        return int(self.path.name[len(self.storage) + 1 :])

    @property
    def recorded(self) -> str | None:
        """The stamp that it was made for, None if an older release made it.

        Raises IntegrityError if that is damaged.
        """
        path = self.path / STAMP_NAME
        try:
            data = read_small(path, _STAMP_LIMIT)
        except UnfitError:
            data = b""
        if data is None:
            return None
        text = data.decode("ascii", "replace").removesuffix("\n")
        if not is_stamp(text):
            raise IntegrityError(
                "this does not say when the blobs beside it were backed up",
                where=path,
                hint=_HINT,
            )
        return text

    @property
    def stamp(self) -> str:
        """The time at which it was made."""
        return self.recorded or stamp_of(self.path)

    def verify_stamp(self) -> Iterator[Problem]:
        """Yield problems with the record of its stamp."""
        try:
            if self.recorded is None and self.ours:
                yield Problem(where=os.fspath(self.path / STAMP_NAME), what="missing", hint=_HINT)
        except IntegrityError as error:
            yield Problem(where=error.where, what=error.what, hint=error.hint)


def stamp_of(path: Path) -> str:
    """Return the stamp of the moment at which *path* was last changed."""
    return stamp(datetime.fromtimestamp(int(path.stat().st_mtime), timezone.utc))


def find_numbered(directory: Path, name: str) -> list[NumberedSet]:
    """Return the numbered sets of the storage *name* in *directory*, the oldest first.

    A directory that is not there holds none.
    """
    found = [NumberedSet(directory / f"{name}.{each}", name) for each in _numbers(directory, name)]
    return [each for each in found if each.has_tree]


def _numbers(directory: Path, name: str) -> list[int]:
    """Return the numbers that are in use, the highest first."""
    prefix = f"{name}."
    try:
        names = [entry.name for entry in listings.entries(directory)]
    except FileNotFoundError:
        return []
    rest = (each[len(prefix) :] for each in names if each.startswith(prefix))
    found = [int(each) for each in rest if _NUMBER.fullmatch(each)]
    # a link to another disk counts, as in find_sets
    there = (each for each in found if os.path.isdir(directory / f"{prefix}{each}"))
    return sorted(there, reverse=True)


def rotate_in(blob_set: BlobSet, files: Files) -> NumberedSet:
    """Make a whole set number 0; each of the others up to the first gap gets the next number."""
    directory, storage = blob_set.path.parent, blob_set.storage
    newest = directory / f"{storage}.0"
    with explained("cannot number the blob backups", directory):
        files.write(blob_set.path / STAMP_NAME, f"{blob_set.stamp}\n".encode("ascii"))
        going = moving(_numbers(directory, storage))
        _check_free(directory / f"{storage}.{len(going)}")
        _check_mounts([directory / f"{storage}.{number}" for number in reversed(going)])
        for number in going:
            place = directory / f"{storage}.{number}"
            files.rename(place, directory / f"{storage}.{number + 1}")
        files.rename(blob_set.path, newest)
    return NumberedSet(newest, storage)


def _check_free(place: Path) -> None:
    """Raise BackupError if a file stands where a directory is to go."""
    if os.path.lexists(place):
        raise BackupError(
            "this is in the way of the numbered blob backups",
            where=place,
            hint="only directories may have such a name: move it away",
        )


def _check_mounts(places: Iterable[Path]) -> None:
    """Raise BackupError if a disk is mounted in a set that gets another number."""
    for mount in (
        mount for place in places if not place.is_symlink() for mount in mounts_in(place)
    ):
        raise BackupError(
            "a disk is mounted in a numbered blob backup, whose number changes with each backup",
            where=mount,
            hint="unmount it, or let the backups have stamps: blob_timestamps = true",
        )

"""The archives in a directory, and which of them form a chain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from collective.recipe.backup import listings
from collective.recipe.backup.blobs.rotation import moving
from collective.recipe.backup.errors import IntegrityError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.times import STAMP, is_stamp

_ENDING = re.compile(rf"(?:({STAMP})(\.delta)?|(0|[1-9][0-9]*))\.tar(\.gz)?")
_SNAR = re.compile(rf"({STAMP})\.snar")


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One archive of blobs; it has a *stamp* or else a *number*."""

    path: Path  # of the archive
    storage: str  # name of the blobstorage
    stamp: str | None = None  # None: it has a number
    number: int | None = None  # 0 is the newest; None: it has a stamp
    delta: bool = False  # whether it is incremental
    compressed: bool = False  # whether it is gzip
    snar: Path | None = None  # the file from which GNU tar knows what is new; None: there is none

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.path.name

    @property
    def key(self) -> str:
        """The name by which it is told from other archives of its storage."""
        return f"{self.stamp or self.number}{'.delta' if self.delta else ''}"

    @property
    def age(self) -> tuple[str, int, bool]:
        """The key to sort archives by age: numbers, 0 the last, then stamps."""
        return self.stamp or "", -(self.number or 0), self.delta


def planned(
    directory: Path, storage: str, key: str | int, *, delta: bool = False, compressed: bool = False
) -> Archive:
    """Return an archive that is to be written; *key* is its stamp or its number."""
    ending = f"{'.delta' if delta else ''}.tar{'.gz' if compressed else ''}"
    return Archive(
        path=directory / f"{storage}.{key}{ending}",
        storage=storage,
        stamp=key if isinstance(key, str) else None,
        number=key if isinstance(key, int) else None,
        delta=delta,
        compressed=compressed,
    )


def find_archives(directory: Path, storage: str) -> list[Archive]:
    """Return the archives of the storage *storage* in *directory*, oldest first.

    Of numbered ones 0 is the newest; those with stamps are newer than all of them.  Only
    names count, and each of them counts to its last byte.
    """
    if not directory.exists():
        return []
    start = f"{storage}."
    with explained("cannot look for archives", directory):
        names = [
            entry.name
            for entry in listings.entries(directory)
            if entry.name.startswith(start) and entry.is_file()
        ]
    snars = sorted(name for name in names if _snar_stamp(name[len(start) :]))
    found = (_archive(directory, storage, name[len(start) :], snars) for name in names)
    return sorted((archive for archive in found if archive), key=lambda each: each.age)


def _archive(directory: Path, storage: str, ending: str, snars: Sequence[str]) -> Archive | None:
    found = _ENDING.fullmatch(ending)
    if not found or (found[1] and not is_stamp(found[1])):
        return None
    stamp, delta = found[1], bool(found[2])
    own = f"{storage}.{stamp}.snar"
    fitting = [name for name in snars if name == own or (delta and name < own)]
    return Archive(
        path=directory / f"{storage}.{ending}",
        storage=storage,
        stamp=stamp,
        number=int(found[3]) if found[3] else None,
        delta=delta,
        compressed=bool(found[4]),
        snar=directory / fitting[-1] if stamp and fitting else None,
    )


def _snar_stamp(ending: str) -> str | None:
    found = _SNAR.fullmatch(ending)
    return found[1] if found and is_stamp(found[1]) else None


def find_chains(archives: Sequence[Archive]) -> list[list[Archive]]:
    """Return *archives*, which come oldest first, as chains that each begin with a full one.

    Archives before the first full one are a chain that begins with an incremental one and cannot be
    restored.
    """
    chains: list[list[Archive]] = []
    for archive in archives:
        if archive.delta and chains and chains[-1][0].stamp:
            chains[-1].append(archive)
        else:
            chains.append([archive])
    return chains


def chain_of(archives: Sequence[Archive], newest: Archive) -> list[Archive]:
    """Return what to unpack, in this order, for the state that *newest* holds.

    Raises IntegrityError if there is no full archive to begin with.
    """
    for chain in find_chains(archives):
        if newest in chain:
            if chain[0].delta:
                raise IntegrityError(
                    "the full archive that this one builds on is missing",
                    where=newest.path,
                    hint="restore another backup; this one holds only what had changed since",
                )
            return chain[: chain.index(newest) + 1]
    raise IntegrityError("the archive is missing", where=newest.path)


def remove(archive: Archive, files: Files) -> None:
    """Remove an archive, durably, and the file of GNU tar beside a full one.

    A caller that removes a chain begins with its newest archive, so that the others can be restored
    at any time.
    """
    with explained("cannot remove an archive", archive.path):
        if archive.snar and not archive.delta:
            files.clear(archive.snar)
        files.clear(archive.path)
        files.sync_directory(archive.path.parent)


def make_room(archives: Sequence[Archive], files: Files) -> None:
    """Free the number 0: each archive below the first free number gets the next one."""
    numbers = (archive.number for archive in archives if archive.number is not None)
    for number in moving(numbers):
        for archive in archives:
            if archive.number == number:
                _renumber(archive, number + 1, files)


def _renumber(archive: Archive, number: int, files: Files) -> None:
    new = planned(archive.path.parent, archive.storage, number, compressed=archive.compressed)
    with explained("cannot rename an archive", archive.path):
        files.rename(archive.path, new.path)

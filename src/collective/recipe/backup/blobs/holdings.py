"""What holds blobs in a directory of backups: trees and archives, ours and of older releases.

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
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from collective.recipe.backup.blobs.archives import names
from collective.recipe.backup.blobs.archives.names import Archive, find_archives, find_chains
from collective.recipe.backup.blobs.blobset import BlobSet, find_sets
from collective.recipe.backup.blobs.numbered import NumberedSet, find_numbered, stamp_of
from collective.recipe.backup.errors import IntegrityError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.times import Tid

if TYPE_CHECKING:
    from collective.recipe.backup.blobs.copied import Copied

_HOLDING = re.compile(
    r"(.+)\.(?:[0-9]+|[0-9]{4}(?:-[0-9]{2}){5})(?:(?:\.delta)?\.tar(?:\.gz)?)?", re.DOTALL
)
"""What the name of a holding looks like: the storage's name and an ending."""


class Holding(Protocol):
    """Blobs that were backed up together.

    *certain* tells whether the stamp is its own; where not, it is the modification time of
    something that an older release has numbered.
    """

    @property
    def name(self) -> str:
        """What restore points call it."""

    @property
    def stamp(self) -> str:
        """When it was made, or begun."""

    @property
    def certain(self) -> bool:
        """Tell whether the stamp was recorded."""

    @property
    def number(self) -> int | None:
        """Its present place in a rotation, 0 the newest; None if it is not in one."""

    @property
    def ours(self) -> bool:
        """Tell whether we made it.  Raises IntegrityError if it is too damaged to tell."""

    def stage(  # noqa: PLR0913  files and progress come from outside, as everywhere
        self,
        target: Path,
        *,
        live: Path | None,
        until: Tid,
        files: Files,
        progress: Progress,
        size: int | None = None,
    ) -> Copied:
        """Write its blobs up to *until* to *target* and verify them; *size*: see staging."""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A directory of blobs; see Holding."""

    blob_set: BlobSet
    name: str
    stamp: str
    certain: bool = True

    @property
    def number(self) -> int | None:
        """See Holding."""
        return self.blob_set.number if isinstance(self.blob_set, NumberedSet) else None

    @property
    def ours(self) -> bool:
        """Tell whether it is more than a tree."""
        return self.blob_set.ours

    def stage(  # noqa: PLR0913  see Holding
        self,
        target: Path,
        *,
        live: Path | None,
        until: Tid,
        files: Files,
        progress: Progress,
        size: int | None = None,
    ) -> Copied:
        """Copy or link its blobs."""
        from collective.recipe.backup.blobs import staging

        return staging.stage(
            self.blob_set,
            target,
            live=live,
            until=until,
            files=files,
            progress=progress,
            size=size,
        )


@dataclass(frozen=True, kw_only=True)
class Archived:
    """An archive, and what must be unpacked for its state: *chain*, which ends with it."""

    archive: Archive
    chain: tuple[Archive, ...]
    name: str
    stamp: str
    certain: bool = True

    @property
    def number(self) -> int | None:
        """See Holding."""
        return self.archive.number

    @property
    def ours(self) -> bool:
        """Tell whether it has our mark."""
        from collective.recipe.backup.blobs.archives.reading import mark_of

        return mark_of(self.archive) is not None

    def stage(  # noqa: PLR0913  see Holding
        self,
        target: Path,
        *,
        live: Path | None,
        until: Tid,
        files: Files,
        progress: Progress,
        size: int | None = None,
    ) -> Copied:
        """Unpack the chain."""
        from collective.recipe.backup.blobs.archives import staging

        return staging.stage(
            self.chain, target, live=live, until=until, files=files, progress=progress, size=size
        )


def find(directory: Path, storage: str) -> list[Holding]:
    """Return what holds blobs of the storage *storage* in *directory*, oldest first.

    A directory that is not there holds none.
    """
    found: list[Holding] = [*_trees(directory, storage), *_archives(directory, storage)]
    return sorted(found, key=_age)


def _age(holding: Holding) -> tuple[str, bool, int, str]:
    """Return what sorts holdings; of two with one name the one whose own it is comes last."""
    return holding.stamp, holding.certain, -(holding.number or 0), holding.name


def storages(directory: Path) -> set[str]:
    """Return the names of the storages whose blobs something in *directory* holds.

    A directory that is not there holds none.
    """
    if not directory.exists():
        return set()
    with explained("cannot look for blobs", directory), os.scandir(directory) as entries:
        named = {found[1] for entry in entries if (found := _HOLDING.fullmatch(entry.name))}
    return {each for each in named if find(directory, each)}


def _trees(directory: Path, storage: str) -> Iterator[Tree]:
    for numbered in find_numbered(directory, storage):
        try:
            recorded = numbered.recorded
        except IntegrityError:  # verify says so; the blobs stay in their place
            recorded = None
        if recorded is None:
            stamp = stamp_of(numbered.path)
            yield Tree(blob_set=numbered, name=numbered.name, stamp=stamp, certain=False)
        else:
            yield Tree(blob_set=numbered, name=f"{storage}.{recorded}", stamp=recorded)
    for stamped in find_sets(directory, storage):
        yield Tree(blob_set=stamped, name=stamped.name, stamp=stamped.stamp)


def _archives(directory: Path, storage: str) -> Iterator[Archived]:
    for chain in find_chains(find_archives(directory, storage)):
        for number, archive in enumerate(chain, 1):
            yield _archived(archive, tuple(chain[:number]))


def _archived(archive: Archive, chain: tuple[Archive, ...]) -> Archived:
    if archive.stamp:
        return Archived(archive=archive, chain=chain, name=archive.name, stamp=archive.stamp)
    recorded = _recorded(archive)
    if recorded is None:
        stamp = stamp_of(archive.path)
        return Archived(archive=archive, chain=chain, name=archive.name, stamp=stamp, certain=False)
    own = names.planned(
        archive.path.parent, archive.storage, recorded, compressed=archive.compressed
    )
    return Archived(archive=archive, chain=chain, name=own.name, stamp=recorded)


def _recorded(archive: Archive) -> str | None:
    """Return the stamp that a numbered archive of ours was made for."""
    from collective.recipe.backup.blobs.archives.reading import mark_of

    try:
        mark = mark_of(archive)
    except IntegrityError:  # verify says so
        return None
    return mark.stamp if mark else None

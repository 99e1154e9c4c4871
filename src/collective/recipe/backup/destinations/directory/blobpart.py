"""The blob part of a directory destination: finding, adding and removing blobs.

All blobs in the directory can be restored, whichever release or option stored them.  A style
decides how a backup keeps its blobs; see the rooms of ``blobstyles``.

Most runs have no blobs to add, and are over in a moment.  So each method imports the rooms that it
alone needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from collective.recipe.backup import times
from collective.recipe.backup.blobs import holdings
from collective.recipe.backup.blobs.holdings import Holding, Holdings, archiveholdings
from collective.recipe.backup.blobs.holdings.archiveholdings import Archived
from collective.recipe.backup.blobs.marker import flaw_of
from collective.recipe.backup.blobs.older import disordered
from collective.recipe.backup.destinations import Reads
from collective.recipe.backup.destinations.directory.blobstyles import (
    BlobPlace,
    Style,
    Trust,
    WantedBlobs,
)
from collective.recipe.backup.destinations.directory.newblobs import (
    blobs_between,
    wanted_of,
    wanted_of_all,
)
from collective.recipe.backup.destinations.manifest import Manifest
from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.filestorage.log import MAGIC_SIZE
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.model import BlobId, Problem
from collective.recipe.backup.times import ZERO_TID, Tid

if TYPE_CHECKING:
    from collective.recipe.backup.blobs.copied import Copied
    from collective.recipe.backup.blobs.storedblobs import StoredBlobs
    from collective.recipe.backup.destinations.room import Need
    from collective.recipe.backup.repozo.backuporder import Taken

MakeStyle = Callable[[BlobPlace], Style]


def each_chain(workshop: BlobPlace) -> Style:
    """Return the style that there is if no other is asked for: a tree for each chain."""
    from collective.recipe.backup.destinations.directory.blobstyles.treestyles import EachChain

    return EachChain(workshop)


class BlobPart:
    """The blobs of one source in one directory."""

    def __init__(self, workshop: BlobPlace, style: MakeStyle = each_chain) -> None:
        self.source = workshop.source
        self.directory = workshop.directory
        self.storage = workshop.storage
        self._shop = workshop
        self._make_style = style

    @cached_property
    def _style(self) -> Style:
        return self._make_style(self._shop)

    def found(self) -> Holdings:
        """Return what there is."""
        return holdings.find(self.directory, self._shop.storage)

    # backup

    def can_complete(self, log: TransactionLog, taken: Taken) -> bool:
        """Tell whether the restore point *taken* can get its blobs without a new chain.

        It cannot if an older release left blobs under its stamp: that release may have died, so
        they may be incomplete, and nothing can be added to blobs without digests.
        """
        found = self.found()
        for each in found.values():
            if each.certain and each.stamp == taken.stamp and not _is_ours(each):
                named = blobs_between(log, MAGIC_SIZE, taken.end)
                return each.name in found.trees and next(each.lacking(named), None) is None
        return True

    def is_current(self, known: Manifest) -> bool:
        """Tell whether the blobs of *known* are there, and the foreign files are unchanged."""
        holding = self.found().get(known.blobs or "")
        if holding is None:
            return False
        return holding.has_foreign_of(self.source, known.others, known.left_out)

    def doubts(self) -> Iterator[str]:
        """Yield in a sentence what keeps ZODB from finding the blobs of the site."""
        flaw = flaw_of(self.source)
        if flaw is not None:
            yield f"{flaw} ({flaw.hint})"

    def back_up(
        self,
        log: TransactionLog,
        taken: Taken,
        before: Manifest | None,
        now: datetime,
        *,
        trust: Trust,
    ) -> tuple[str, Copied]:
        """Store the blobs that records of *log* up to the end of *taken* name.

        *before* is the newest restore point of the chain, which may be that of *taken* itself, if
        that lacks something.  Returns the name of their holding.
        """
        there = self.found().get(before.blobs or "") if before else None
        demand = replace(wanted_of(log, taken, before, there), trust=trust)
        if there and before and before.stamp == taken.stamp:
            # no name can be used twice: of what is replaced restore points were made
            stamp = there.stamp if self.is_current(before) else self.unused(now)
            demand = replace(demand, stamp=stamp)
        return self.store(demand)

    def back_up_all(
        self, stamp: str, *, before: Archived | None, trust: Trust
    ) -> tuple[str, Copied]:
        """Store all blobs that the source has: no log says which of them are new.

        If *before* is given, an archive may build on it.  Returns the name of their holding.
        """
        return self.store(replace(wanted_of_all(self.source, stamp, before), trust=trust))

    def unused(self, now: datetime) -> str:
        """Return the stamp of *now*, a later one if that is not the newest then."""
        newest = max((each.stamp for each in self.found().values()), default="")
        return times.free_stamp(newest, now)

    def needs(self) -> Iterator[Need]:
        """Yield the room that the blobs of a full backup take.  Raises OSError or BackupError."""
        least, most = self._style.share(self.found())
        if most:
            from collective.recipe.backup.destinations.room import Need, size_of_blobs

            total = size_of_blobs(self.source, self._shop.progress)
            yield Need(self.directory, int(least * total), int(most * total))

    def sweep(self) -> list[Path]:
        """Remove what runs that died left half made, or half removed; return what that was."""
        return self._shop.files.sweep(self.directory)

    def store(self, demand: WantedBlobs) -> tuple[str, Copied]:
        """Store what *demand* says, in the style of this destination."""
        self.sweep()
        return self._style.back_up(demand, self.found())

    # restore

    def open(self, name: str, until: Callable[[], Tid], size: int | None) -> StoredBlobs:
        """Return the blobs of *name* up to the transaction that *until* returns, to be read.

        Its files have *size* bytes in all (None: unknown).  Raises BackupError if they are gone.
        """
        holding = self.found().get(name)
        if holding is None:
            raise BackupError(
                "the blobs of this restore point are gone",
                where=self.directory / name,
                hint="a backup may have removed them just now: look at the list again",
            )
        return holding.open(until, size)

    # housekeeping

    def lacking(self, name: str, ids: Iterable[BlobId]) -> Iterator[BlobId]:
        """Yield those of *ids* whose blobs *name* does not hold; all if there is no such name."""
        holding = self.found().get(name)
        return holding.lacking(ids) if holding else iter(ids)

    def verify(
        self,
        needed: Mapping[str, Tid],
        *,
        only: bool,
        reads: Reads | None,
        sizes: Mapping[str, int] | None = None,
    ) -> Iterator[Problem]:
        """Yield problems of the blobs.

        *needed* has, for each holding, the transaction up to which it must be whole, and *sizes*
        the bytes of files that some of them have.  With *only*, only that holding is examined.
        *reads* tells which files to read; None: none of them.
        """
        found, progress = self.found(), self._shop.progress
        for name, tree in found.trees.items():
            if name in needed or not only:
                until = needed.get(name, ZERO_TID)
                yield from tree.verify(until=until, reads=reads, progress=progress)
        looked_at = [each for each in found.archives.values() if each.name in needed or not only]
        yield from archiveholdings.verify(
            looked_at, sizes=sizes or {}, reads=reads, progress=progress
        )
        if not only:
            yield from _untold(found)

    def remove_unneeded(self, needed: Iterable[str | None], oldest: str) -> Iterator[str]:
        """Remove holdings that are not *needed* and older than *oldest*; yield the names.

        An archive stays as long as another one builds on it.  A holding without a certain time
        stays too, because its restore points are unknown.
        """
        found, names_needed = self.found(), set(needed)
        untold = disordered(found)
        kept = [
            each
            for each in found.values()
            if each.name in names_needed or each.stamp >= oldest or each in untold
        ]
        built_on = {path for each in kept for path in each.paths}
        going = [each for each in found.values() if each.paths[-1] not in built_on]
        # the last of a chain of archives first: the others can be restored at any time
        for each in sorted(going, key=_age, reverse=True):
            if each.remove(self._shop.files):
                yield each.name


def _is_ours(holding: Holding) -> bool:
    try:
        return holding.ours
    except IntegrityError:
        # damaged: nothing can be built on it
        return False


def _age(holding: Holding) -> tuple[str, int]:
    return holding.stamp, len(holding.paths)


def _untold(found: Holdings) -> Iterator[Problem]:
    for each in disordered(found):
        yield Problem(
            where=str(each.paths[-1]),
            what="these numbered backups are not in the order of their times, so it is unknown "
            "which filestorage backups they belong to",
            hint="they were copied without their times: copy them again (cp -a), or remove them",
            harmless=True,
        )

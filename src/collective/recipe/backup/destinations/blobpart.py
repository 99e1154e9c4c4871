"""The blob part of a directory destination: what is there, what a backup adds, what can go.

Everything that lies in the directory can be restored, whichever release or option made it.
How a backup keeps its blobs is a matter of style; see the rooms of ``blobstyles``.

Most runs have no blobs to add, and are over in a moment.  So a method imports what only it needs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from collective.recipe.backup import times
from collective.recipe.backup.blobs import blobset, holdings
from collective.recipe.backup.blobs.archives import names
from collective.recipe.backup.blobs.holdings import Archived, Holding, Tree
from collective.recipe.backup.blobs.marker import flaw_of
from collective.recipe.backup.blobs.numbered import NumberedSet
from collective.recipe.backup.blobs.older import disordered
from collective.recipe.backup.destinations import Reads, Staged
from collective.recipe.backup.destinations.blobstyles import Demand, Style, Trust, Workshop
from collective.recipe.backup.destinations.manifest import Manifest
from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.filestorage.log import MAGIC_SIZE, TransactionLog
from collective.recipe.backup.model import BlobId, Problem
from collective.recipe.backup.mounts import mounts_in
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.times import ZERO_TID, Tid

if TYPE_CHECKING:
    from collective.recipe.backup.blobs.blobset import BlobSet
    from collective.recipe.backup.blobs.copied import Copied
    from collective.recipe.backup.destinations.room import Need
    from collective.recipe.backup.repozo.orders import Taken

logger = logging.getLogger("backup")

MakeStyle = Callable[[Workshop], Style]


def each_chain(workshop: Workshop) -> Style:
    """Return the style that there is if no other is asked for: a tree for each chain."""
    from collective.recipe.backup.destinations.blobstyles.trees import EachChain

    return EachChain(workshop)


class BlobPart:
    """The blobs of one source in one directory."""

    def __init__(self, workshop: Workshop, style: MakeStyle = each_chain) -> None:
        self.source = workshop.source
        self.directory = workshop.directory
        self.storage = workshop.storage
        self._shop = workshop
        self._make_style = style

    @cached_property
    def _style(self) -> Style:
        return self._make_style(self._shop)

    def found(self) -> Mapping[str, Holding]:
        """Return what there is, by name, oldest first."""
        found = holdings.find(self.directory, self._shop.storage)
        return {each.name: each for each in found}

    def flaws(self) -> Mapping[str, str]:
        """Return why some of it cannot be restored, by name, as far as a quick look tells."""
        archives = names.find_archives(self.directory, self._shop.storage)
        if not archives:
            return {}
        from collective.recipe.backup.blobs.archives.building import broken

        found = {}
        for together in names.find_chains(archives):
            if next(broken(together), None) is None:
                continue
            for number, archive in enumerate(together, 1):
                error = next(broken(together[:number]), None)
                if error:
                    found[archive.name] = error.what
        return found

    # backup

    def can_complete(self, log: TransactionLog, taken: Taken) -> bool:
        """Tell whether the restore point *taken* can get its blobs without a new chain.

        It cannot if an older release left something of its stamp that may lack blobs: that
        release may have died, and nothing can be added to what has no digests.
        """
        for each in self.found().values():
            if each.certain and each.stamp == taken.stamp and not _is_ours(each):
                if not isinstance(each, Tree):
                    return False
                named = _blobs(log, MAGIC_SIZE, taken.end)
                return next(blobset.missing(each.blob_set, named), None) is None
        return True

    def is_current(self, known: Manifest) -> bool:
        """Tell whether the blobs of *known* are there, and what no log tells of is the same."""
        holding = self.found().get(known.blobs or "")
        if isinstance(holding, Archived) and (known.others or known.left_out):
            from collective.recipe.backup.blobs.foreign import foreign_of

            now = foreign_of(self.source, read=known.left_out > 0)
            return now == (known.others, known.left_out)
        if not isinstance(holding, Tree) or not (known.left_out or _has_foreign(holding)):
            return holding is not None
        from collective.recipe.backup.blobs.snapshots import still_lacks

        now_lacking = still_lacks(holding.blob_set, self.source, blobs=False)
        return now_lacking is not None and now_lacking.left_out == known.left_out

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

        *before* is the newest restore point of the chain, which may be that of *taken*
        itself, if that lacks something.  Returns the name of what holds them.
        """
        named = partial(_blobs, log, MAGIC_SIZE, taken.end)
        new: Callable[[], Iterable[BlobId]] = named
        there = self.found().get(before.blobs or "") if before else None
        if before and there:
            if before.lost == len(before.missing):
                new = partial(_since, before, log, taken.end)
            else:  # there are more than it names
                new = partial(self._lacking_now, there.name, named)
        demand = Demand(
            stamp=taken.stamp,
            until=taken.tid or ZERO_TID,
            before=there.name if there else None,
            named=named,
            new=new,
            trust=trust,
            scan=bool(before and before.left_out),
            differing=before.differing if before else (),
            others=before.others if before else "",
        )
        if there and before and before.stamp == taken.stamp:
            # no name can be used twice: of what is replaced restore points were made
            stamp = there.stamp if self.is_current(before) else self.unused(now)
            demand = replace(demand, stamp=stamp)
        return self.store(demand)

    def _lacking_now(self, name: str, named: Callable[[], Iterable[BlobId]]) -> Iterator[BlobId]:
        return self.lacking(name, named())

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

    def store(self, demand: Demand) -> tuple[str, Copied]:
        """Store what *demand* says, in the style of this destination."""
        self.sweep()
        return self._style.back_up(demand, self.found())

    # restore

    def stage(  # noqa: PLR0913  progress is the workshop's, unless two parts are restored at once
        self,
        name: str,
        target: Path,
        *,
        live: Path | None,
        until: Tid,
        size: int | None = None,
        progress: Progress | None = None,
    ) -> Staged:
        """Restore the blobs of *name* up to *until* to *target*.

        These are *size* bytes, if that is known.  It may be only the difference to *live*
        that is staged (see transplant).
        Raises BackupError if they are gone, IntegrityError if they are damaged.
        """
        holding = self.found().get(name)
        if holding is None:
            raise BackupError(
                "the blobs of this restore point are gone",
                where=self.directory / name,
                hint="a backup may have removed them just now: look at the list again",
            )
        files, progress = self._shop.files, progress or self._shop.progress
        if live is not None and isinstance(holding, Tree):
            from collective.recipe.backup.blobs.differing import stage_difference

            difference = stage_difference(
                holding.blob_set,
                target,
                live=live,
                until=until,
                files=files,
                progress=progress,
                size=size,
            )
            if difference is not None:
                return _staged(holding, difference, difference=True)
            size = None  # whatever it is that differs, look at all of it
        copied = holding.stage(
            target, live=live, until=until, files=files, progress=progress, size=size
        )
        return _staged(holding, copied)

    # housekeeping

    def lacking(self, name: str, ids: Iterable[BlobId]) -> Iterator[BlobId]:
        """Yield those of *ids* whose blobs *name* does not hold; all if there is no such name."""
        holding = self.found().get(name)
        if isinstance(holding, Tree):
            return blobset.missing(holding.blob_set, ids)
        if isinstance(holding, Archived):
            from collective.recipe.backup.blobs.archives import verify

            return verify.missing(holding.chain, ids)
        return iter(ids)

    def verify(
        self,
        needed: Mapping[str, Tid],
        *,
        only: bool,
        reads: Reads | None,
        sizes: Mapping[str, int] | None = None,
    ) -> Iterator[Problem]:
        """Yield what is wrong.

        *needed* says up to which transaction each must be whole, *sizes* how many bytes of
        files some of them hold; with *only* nothing else is looked at.  *reads* tells which
        files to read, None: none of them.
        """
        found = self.found()
        looked_at = [each for each in found.values() if each.name in needed or not only]
        for each in looked_at:
            if isinstance(each, Tree):
                yield from self._verify_tree(each, needed.get(each.name, ZERO_TID), reads)
        yield from self._verify_archives(looked_at, reads, sizes or {})
        if not only:
            yield from _untold(found.values())

    def _verify_tree(self, tree: Tree, until: Tid, reads: Reads | None) -> Iterator[Problem]:
        from collective.recipe.backup.blobs import verify

        yield from _misread(tree)
        if isinstance(tree.blob_set, NumberedSet):
            yield from tree.blob_set.verify_stamp()
        if reads is None:
            yield from verify.verify_names(tree.blob_set, until=until)
            return
        asked = partial(_asked, reads, tree.name)
        yield from verify.verify_contents(
            tree.blob_set, until=until, progress=self._shop.progress, wants=asked
        )

    def _verify_archives(
        self, looked_at: Iterable[Holding], reads: Reads | None, sizes: Mapping[str, int]
    ) -> Iterator[Problem]:
        from collective.recipe.backup.blobs.archives import verify

        archived = [each for each in looked_at if isinstance(each, Archived)]
        # each with what it builds on, which is another's chain as well
        together = {archive: each for each in archived for archive in each.chain}
        ordered = sorted(together, key=lambda archive: archive.age)
        if reads is None:
            yield from verify.verify_names(ordered)
            return
        yield from verify.verify_contents(
            ordered,
            progress=self._shop.progress,
            wants=lambda archive: reads(archive.name),
            sizes={each.chain: sizes[each.name] for each in archived if each.name in sizes},
        )

    def remove_unneeded(self, needed: Iterable[str | None], oldest: str) -> Iterator[str]:
        """Remove what is not *needed* and older than *oldest*; yield the names.

        An archive stays as long as one stays that builds on it.  What has no certain time
        stays too: nobody knows what needs it.
        """
        found, names_needed = self.found(), set(needed)
        untold = disordered(found.values())
        kept = [
            each
            for each in found.values()
            if each.name in names_needed or each.stamp >= oldest or each in untold
        ]
        built_on = {path for each in kept for path in _paths(each)}
        going = [each for each in found.values() if not built_on.intersection(_paths(each)[-1:])]
        # the last of a chain of archives first: what is left can be restored at any time
        for each in sorted(going, key=_age, reverse=True):
            if isinstance(each, Tree):
                if _is_held(each.blob_set):
                    continue
                blobset.remove(each.blob_set, self._shop.files)
            elif isinstance(each, Archived):
                names.remove(each.archive, self._shop.files)
            yield each.name


def _is_held(blob_set: BlobSet) -> bool:
    """Tell whether a disk is mounted in a set, which would be emptied with it; say so.

    Of a set that lies elsewhere only the link goes, which is said as well.
    """
    if blob_set.elsewhere is not None:
        logger.warning(
            "%s is not needed any longer: the link to it goes, remove %s by hand",
            blob_set.name,
            blob_set.elsewhere,
        )
        return False
    for mount in mounts_in(blob_set.path):
        logger.warning(
            "%s is not needed any longer and stays, since a disk is mounted at %s: unmount it",
            blob_set.name,
            mount,
        )
        return True
    return False


def _misread(tree: Tree) -> Iterator[Problem]:
    """Yield what would keep ZODB from finding the blobs, if the tree was copied as it is."""
    with suppress(OSError):  # told of the tree itself
        flaw = flaw_of(tree.blob_set.root)
        if flaw is not None:
            hint = "a restore writes the one that belongs to the blobs; a copy of the tree needs it"
            yield Problem(where=flaw.where, what=flaw.what, hint=hint, harmless=True)


def _since(before: Manifest, log: TransactionLog, end: int) -> Iterator[BlobId]:
    """Yield the blobs that *before* lacks, and those of the records after it."""
    return chain(before.missing, _blobs(log, before.end, end))


def _blobs(log: TransactionLog, start: int, stop: int) -> Iterator[BlobId]:
    """Yield the blobs that the records between two boundaries name."""
    from collective.recipe.backup.filestorage.blobrecords import blobs

    return blobs(log, start, stop)


def _is_ours(holding: Holding) -> bool:
    try:
        return holding.ours
    except IntegrityError:
        # damaged: nothing can be built on it
        return False


def _staged(holding: Holding, copied: Copied, *, difference: bool = False) -> Staged:
    return Staged(difference=difference, unverified=copied.unverified, digests=_is_ours(holding))


def _has_foreign(tree: Tree) -> bool:
    try:
        return bool(tree.blob_set.foreign)
    except IntegrityError:
        return False


def _asked(reads: Reads, name: str, path: str) -> bool:
    return reads(f"{name}/{path}")


def _paths(holding: Holding) -> list[Path]:
    """Return what a holding needs, itself last."""
    if isinstance(holding, Archived):
        return [archive.path for archive in holding.chain]
    return [holding.blob_set.path] if isinstance(holding, Tree) else []


def _age(holding: Holding) -> tuple[str, int]:
    return holding.stamp, len(_paths(holding))


def _untold(found: Iterable[Holding]) -> Iterator[Problem]:
    for each in disordered(found):
        yield Problem(
            where=str(_paths(each)[-1]),
            what="the times of these numbered backups do not fall from number to number, so that "
            "nobody can tell what they belong to",
            hint="they were copied without their times: copy them again (cp -a), or remove them",
            harmless=True,
        )

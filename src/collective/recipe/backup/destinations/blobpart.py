"""The blob part of a directory destination: which blobs go where, and which come back.

The blobs of a chain lie in one set, which its first restore point begins and each later
one extends by what the records since then name.  So a set holds the blobs of every moment
of its chain, and a restore point says up to which transaction they are its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

from collective.recipe.backup.blobs import sets, staging, verify
from collective.recipe.backup.blobs.sets import BlobSet, Copied
from collective.recipe.backup.destinations.manifest import Manifest
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.blobrecords import blobs
from collective.recipe.backup.filestorage.log import MAGIC_SIZE, TransactionLog
from collective.recipe.backup.model import BlobId, Problem
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.repozo.backup import Taken
from collective.recipe.backup.times import ZERO_TID, Tid

PACKED_AWAY = ".old"
"""What ZODB adds to the name of a blobstorage for the blobs that a pack took out of it."""


class BlobPart:
    """The blobs of *source*, backed up to *directory*."""

    def __init__(self, source: Path, directory: Path, *, files: Files, progress: Progress) -> None:
        self.source = source
        self.directory = directory
        self._files = files
        self._progress = progress

    def found(self) -> Mapping[str, BlobSet]:
        """Return the sets that there are, by name, oldest first."""
        return {each.name: each for each in sets.find_sets(self.directory, self.source.name)}

    def name_for(self, stamp: str) -> str:
        """Return the name of a set that the restore point *stamp* begins."""
        return f"{self.source.name}.{stamp}"

    def can_complete(self, log: TransactionLog, taken: Taken) -> bool:
        """Tell whether the restore point *taken* can get its blobs without a new chain.

        It cannot if an older tool left a directory of its stamp that lacks blobs: that tool
        may have died, and nothing can be added to what has no checksums.
        """
        theirs = self.found().get(self.name_for(taken.stamp))
        if theirs is None or theirs.ours:
            return True
        return next(sets.missing(theirs, blobs(log, MAGIC_SIZE, taken.end)), None) is None

    def back_up(
        self, log: TransactionLog, taken: Taken, before: Manifest | None
    ) -> tuple[str, Copied]:
        """Store the blobs that records of *log* up to the end of *taken* name.

        They go to the set that *before* names, or else to a new one.  A set of this stamp
        that is there already was published by a run that died before its manifest: what it
        lacks is added.  Returns the name of the set.
        """
        self._files.sweep(self.directory)
        found = self.found()
        begun = found.get(before.blobs) if before and before.blobs else None
        if before is not None and begun is not None and begun.ours:
            new = blobs(log, before.end, taken.end)
            return begun.name, self._extend(begun, chain(before.missing, new))
        begun, copied = found.get(self.name_for(taken.stamp)), Copied()
        if begun is None:
            begun, copied = sets.begin(
                self.source,
                self.directory,
                taken.stamp,
                until=taken.tid or ZERO_TID,
                previous=max(found.values(), key=lambda old: old.stamp, default=None),
                files=self._files,
                progress=self._progress,
            )
        elif not begun.ours:
            return begun.name, Copied()
        # the pair is checked: a record may name what the scan did not find
        lacking = sets.missing(begun, blobs(log, MAGIC_SIZE, taken.end))
        return begun.name, copied + self._extend(begun, lacking)

    def _extend(self, begun: BlobSet, wanted: Iterable[BlobId]) -> Copied:
        """Add *wanted*, also from where a pack has just put it."""
        done = self._extend_from(self.source, begun, wanted)
        old = self.source.with_name(self.source.name + PACKED_AWAY)
        if not done.missing or not old.is_dir():
            return done
        rescued = self._extend_from(old, begun, done.missing)
        return Copied(
            files=done.files + rescued.files,
            size=done.size + rescued.size,
            lost=done.lost - len(done.missing) + rescued.lost,
            missing=rescued.missing,
        )

    def _extend_from(self, source: Path, begun: BlobSet, wanted: Iterable[BlobId]) -> Copied:
        return sets.extend(source, begun, wanted, files=self._files, progress=self._progress)

    def stage(self, name: str, target: Path, *, live: Path | None, until: Tid) -> None:
        """Restore the blobs of the set *name* up to *until* to *target*.

        Raises BackupError if the set is gone, IntegrityError if what it holds is damaged.
        """
        found = self.found().get(name)
        if found is None:
            raise BackupError(
                "the blobs of this restore point are gone",
                where=self.directory / name,
                hint="a backup may have removed them just now: look at the list again",
            )
        staging.stage(
            found, target, live=live, until=until, files=self._files, progress=self._progress
        )

    def verify(self, needed: Mapping[str, Tid], *, contents: bool) -> Iterator[Problem]:
        """Yield what is wrong with the sets; *needed* says up to which tid each must be whole."""
        for name, found in self.found().items():
            until = needed.get(name, ZERO_TID)
            if contents:
                yield from verify.verify_contents(found, until=until, progress=self._progress)
            else:
                yield from verify.verify_names(found, until=until)

    def remove_unneeded(self, needed: Iterable[str | None], oldest: str) -> Iterator[str]:
        """Remove the sets that are not *needed* and older than *oldest*; yield their names."""
        needed = set(needed)
        for name, found in self.found().items():
            if name not in needed and found.stamp < oldest:
                sets.remove(found, self._files)
                yield name

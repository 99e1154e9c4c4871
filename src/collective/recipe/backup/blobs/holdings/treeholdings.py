"""A tree of blobs as a holding: a blob set, with the name by which restore points know it.

Most runs only look whether it is there.  So a method imports what only it needs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from collective.recipe.backup.blobs import blobset
from collective.recipe.backup.blobs.blobset import BlobSet, find_sets
from collective.recipe.backup.blobs.layout import blob_of
from collective.recipe.backup.blobs.marker import flaw_of
from collective.recipe.backup.blobs.numbered import find_numbered, stamp_of
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import BlobId, Problem
from collective.recipe.backup.mounts import mounts_in
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.times import ZERO_TID, Tid

if TYPE_CHECKING:
    from collective.recipe.backup.blobs.copied import Copied
    from collective.recipe.backup.blobs.storedtree import TreeBlobs

logger = logging.getLogger("backup")


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A directory of blobs; see Holding."""

    blob_set: BlobSet  # its directory
    name: str  # in restore points
    stamp: str  # of the restore point
    certain: bool = True  # whether its time is certain

    @property
    def number(self) -> int | None:
        """See Holding."""
        return self.blob_set.number

    @property
    def ours(self) -> bool:
        """Tell whether it is more than a tree."""
        return self.blob_set.ours

    @property
    def paths(self) -> list[Path]:
        """Its directory alone."""
        return [self.blob_set.path]

    @property
    def begins(self) -> str:
        """Its own stamp."""
        return self.stamp

    @property
    def stored(self) -> int:
        """Nothing; see Holding."""
        return 0

    def blob_at(self, path: Path) -> BlobId | None:
        """See Holding."""
        root = self.blob_set.root
        return blob_of(path.relative_to(root).as_posix()) if path.is_relative_to(root) else None

    def lacking(self, ids: Iterable[BlobId]) -> Iterator[BlobId]:
        """Look for the file of each."""
        return blobset.missing(self.blob_set, ids)

    def still_lacks(self, source: Path) -> Copied | None:
        """Compare name by name; see Holding."""
        from collective.recipe.backup.blobs.snapshots import still_lacks

        return still_lacks(self.blob_set, source, blobs=True)

    def has_foreign_of(self, source: Path, others: str, left_out: int) -> bool:  # noqa: ARG002  of archives
        """Compare the foreign files of the source with those of the tree; see Holding."""
        if not left_out and not self._foreign:
            return True
        from collective.recipe.backup.blobs.snapshots import still_lacks

        lacking = still_lacks(self.blob_set, source, blobs=False)
        return lacking is not None and lacking.left_out == left_out

    @property
    def _foreign(self) -> int:
        """The number of foreign files, 0 if the tree is too damaged to tell."""
        with suppress(IntegrityError):
            return self.blob_set.foreign
        return 0

    def open(self, until: Callable[[], Tid], size: int | None) -> TreeBlobs:
        """See Holding."""
        from collective.recipe.backup.blobs.storedtree import TreeBlobs

        return TreeBlobs(self.blob_set, until=until, size=size)

    def verify(
        self, *, until: Tid, reads: Callable[[str], bool] | None, progress: Progress
    ) -> Iterator[Problem]:
        """Yield problems, as far as the transaction *until* needs the tree.

        ZERO_TID: no restore point needs it, so no blob in it is missed either.  *reads* is asked
        for each file, by the name of the tree and its path there, whether to read it; None: none of
        them.
        """
        from collective.recipe.backup.blobs import setcheck

        if until != ZERO_TID:
            yield from self._misread()
        yield from self.blob_set.verify_stamp()
        if reads is None:
            yield from setcheck.verify_names(self.blob_set, until=until)
            return
        yield from setcheck.verify_contents(
            self.blob_set,
            until=until,
            progress=progress,
            wants=lambda path: reads(f"{self.name}/{path}"),
        )

    def _misread(self) -> Iterator[Problem]:
        """Yield what would keep ZODB from finding the blobs, if the tree was copied as it is."""
        with suppress(OSError):  # told of the tree itself
            flaw = flaw_of(self.blob_set.root)
            if flaw is not None:
                yield Problem(where=flaw.where, what=flaw.what, hint=_COPIED, harmless=True)

    def remove(self, files: Files) -> bool:
        """Remove it; see Holding.

        It stays if a disk is mounted in it, which would be emptied with it.  If it lies
        elsewhere, only the link to it goes.
        """
        if self.blob_set.elsewhere is not None:
            logger.warning(
                "%s is not needed any longer: the link to it is removed; remove %s by hand",
                self.blob_set.name,
                self.blob_set.elsewhere,
            )
        else:
            for mount in mounts_in(self.blob_set.path):
                logger.warning(
                    "%s is not needed any longer and stays, since a disk is mounted at %s: unmount "
                    "that disk, then remove the directory",
                    self.blob_set.name,
                    mount,
                )
                return False
        blobset.remove(self.blob_set, files)
        return True


_COPIED = "a restore writes the one that belongs to the blobs; a copy of the tree needs it"


def find_trees(directory: Path, storage: str) -> Iterator[Tree]:
    """Yield the trees of the storage *storage* in *directory*."""
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

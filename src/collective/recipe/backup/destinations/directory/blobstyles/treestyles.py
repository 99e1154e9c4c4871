"""Blobs in directories: one for each chain, one for each backup, or numbered ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from collective.recipe.backup.blobs import blobset, latest, sets
from collective.recipe.backup.blobs.blobset import BlobSet
from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.copying import Transfer
from collective.recipe.backup.blobs.holdings import Holdings
from collective.recipe.backup.blobs.numbered import rotate_in
from collective.recipe.backup.blobs.packduringbackup import packed_away
from collective.recipe.backup.blobs.snapshots import still_differing
from collective.recipe.backup.blobs.taking_over import carry_over, rescue
from collective.recipe.backup.destinations.directory.blobstyles import BlobPlace, WantedBlobs
from collective.recipe.backup.model import BlobId


class EachBackup:
    """A tree for each backup; unchanged blobs are hard links to the newest tree before."""

    def __init__(self, workshop: BlobPlace, by: Callable[..., Transfer] = Transfer) -> None:
        """Take *by*, which makes the Transfer that copies."""
        self._shop = workshop
        self._by = by

    def back_up(self, demand: WantedBlobs, found: Holdings) -> tuple[str, Copied]:
        """Make a tree, unless a run that died has made it; see Style.

        The pair is checked: a record may name what the scan did not find.
        """
        name = f"{self._shop.storage}.{demand.stamp}"
        begun, copied = found.trees.get(name), Copied()
        if begun is not None:
            if not begun.ours:
                return name, copied
            blob_set, copied = begun.blob_set, self._differing(begun.blob_set, demand)
        else:
            blob_set, copied = self._begin(demand, found)
        before, wanted = found.trees.get(demand.before or ""), demand.named()
        if before is not None and before.ours:
            wanted = demand.new()
            if before.name != name:
                copied += carry_over(
                    before.blob_set, blob_set, until=demand.until, files=self._shop.files
                )
        copied += self.extend(blob_set, blobset.missing(blob_set, wanted))
        if copied.lost and not demand.trust.accept:
            copied = self._rescued(copied, blob_set, demand, found)
        return self.publish(blob_set), copied

    def _differing(self, blob_set: BlobSet, demand: WantedBlobs) -> Copied:
        """Return which of the blobs that were not as in the set are not so still."""
        still = tuple(still_differing(blob_set, self._shop.source, demand.differing))
        return Copied(differ=len(still), differing=still)

    def _rescued(
        self, copied: Copied, blob_set: BlobSet, demand: WantedBlobs, found: Holdings
    ) -> Copied:
        """Take lost blobs from earlier trees, the newest first; return the sum of all."""
        named = demand.new if demand.before == blob_set.name else demand.named
        for each in reversed(list(found.trees.values())):
            if each.name != blob_set.name:
                lost = blobset.missing(blob_set, named())
                copied += rescue(each.blob_set, blob_set, lost, self._shop.files)
        return copied.lacking(blobset.missing(blob_set, named()))

    def share(self, found: Holdings) -> tuple[float, float]:
        """Return nothing where there are blobs to link to; see Style."""
        if found.trees:
            return 0.0, 0.0
        # others may link to the source, or leave something out
        return (1.0 if self._by is Transfer else 0.0), 1.0

    def publish(self, blob_set: BlobSet) -> str:
        """Return the name of a set that is whole."""
        return blob_set.name

    def _begin(self, demand: WantedBlobs, found: Holdings) -> tuple[BlobSet, Copied]:
        trees = list(found.trees.values())
        by = self._by
        if trees and trees[-1].name in demand.trust.doubted:
            by = partial(by, doubted=True)
        return sets.begin(
            self._shop.source,
            self._shop.directory,
            demand.stamp,
            until=demand.until,
            previous=trees[-1].blob_set if trees else None,
            files=self._shop.files,
            progress=self._shop.progress,
            by=by,
            accept=demand.trust.accept,
        )

    def extend(self, blob_set: BlobSet, wanted: Iterable[BlobId]) -> Copied:
        """Add *wanted*, also from where a pack has just put it."""
        shop = self._shop
        return sets.extend(
            shop.source,
            blob_set,
            wanted,
            also=packed_away(shop.source),
            files=shop.files,
            progress=shop.progress,
        )


class EachChain(EachBackup):
    """A tree for each chain, extended by the blobs that the records of each backup name.

    Files that ZODB does not know are named by no record: where there is any, each backup needs a
    scan and so a tree of its own.
    """

    def back_up(self, demand: WantedBlobs, found: Holdings) -> tuple[str, Copied]:
        """Extend what the restore point before has, or begin; see Style."""
        before = found.trees.get(demand.before or "")
        if before is not None and before.blob_set.plain and not demand.scan:
            differing = self._differing(before.blob_set, demand)
            return before.name, differing + self.extend(before.blob_set, demand.new())
        return super().back_up(demand, found)


class Numbered(EachBackup):
    """A tree for each backup, the newest with the number 0."""

    def publish(self, blob_set: BlobSet) -> str:
        """Rotate the set in, unless it is there; return the name that its stamp gives it."""
        name = f"{blob_set.storage}.{blob_set.stamp}"
        if blob_set.number is None:
            rotate_in(blob_set, self._shop.files)
        # it would lead to another one after the next backup
        latest.forget(self._shop.directory, self._shop.files)
        return name

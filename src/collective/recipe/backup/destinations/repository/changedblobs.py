"""The blobs that a restore point names as lost or changed in the site, looked at again.

The next restore point that is built on it has their earlier copies too, and reads none of them.
So it looks at these few, and goes on to name them until the site has them as they were.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from collective.recipe.backup.blobs.digesting import checksum_of
from collective.recipe.backup.blobs.layout import Layout
from collective.recipe.backup.blobs.marker import place_of
from collective.recipe.backup.destinations.repository.blobpages import BlobPage, PagedBlob
from collective.recipe.backup.destinations.repository.pointcontents import contents_of
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.repository.points import Point


@dataclass(frozen=True, kw_only=True)
class ChangedBlobs:
    """Blobs of which a restore point has an earlier copy, and not what the site had."""

    named: Collection[BlobId] = frozenset()  # those that it names
    further: int = 0  # number of those that it only counts

    def may_be_in(self, page: BlobPage) -> bool:
        """Tell whether a page may have one that is named."""
        return any(page.first <= blob.tid <= page.last for blob in self.named)

    def still(self, blobs: Sequence[PagedBlob], root: Path, layout: Layout) -> Iterator[BlobId]:
        """Yield those of *blobs* that are named, and that *root* still has not as they were."""
        for each in blobs:
            if each.blob in self.named and not _has(root, layout, each):
                yield each.blob


NONE = ChangedBlobs()


def changed_in(point: Point | None) -> ChangedBlobs:
    """Return what *point* names; None: there is none."""
    manifest = None if point is None else contents_of(point).manifest
    if manifest is None:
        return NONE
    named = frozenset(manifest.differing)
    return ChangedBlobs(named=named, further=manifest.differ - len(named))


def _has(root: Path, layout: Layout, each: PagedBlob) -> bool:
    """Tell whether the site has a blob as it was stored, or a restore point names it as missing."""
    if each.file is None:
        return True
    path = place_of(root, layout, each.blob)
    with suppress(OSError):
        if os.lstat(f"{root}/{path}").st_size == each.file.size:
            found = checksum_of(root, path)
            return (found.size, found.digest) == (each.file.size, each.file.digest.hex())
    return False

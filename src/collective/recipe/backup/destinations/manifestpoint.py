"""From a manifest to the restore point that it makes, whatever kind of destination wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.blobs.layout import Entry, Kind
from collective.recipe.backup.destinations.manifest import Manifest
from collective.recipe.backup.errors import printable
from collective.recipe.backup.model import RestorePoint

if TYPE_CHECKING:
    from collective.recipe.backup.blobs.copied import Copied


def point_of(written: Manifest) -> RestorePoint:
    """Return the restore point that a manifest makes."""
    return RestorePoint(
        stamp=written.stamp,
        chain=written.chain,
        end=written.end,
        tid=written.tid,
        since=written.since,
        holes=written.holes,
        stays=written.stays,
        blobs=written.blobs,
        blob_bytes=written.blob_bytes,
        stored=written.stored,
        taken=written.taken,
        rights=written.rights,
        problems=tuple(what_is_lacking(written)),
        doubts=tuple(what_differs(written)),
    )


def what_is_lacking(found: Manifest | Copied) -> Iterator[str]:
    """Yield in sentences what the source had and the backup has not."""
    if found.lost:
        first = f", the first: {found.missing[0]}" if found.missing else ""
        lost = number_of(found.lost, "blob was", "blobs were")
        yield f"{lost} missing at the source or could not be read there{first}"
    if found.left_out:
        others = number_of(found.left_out, "file or directory", "files or directories")
        is_foreign = Entry(found.left, Kind.UNREADABLE).foreign  # else a directory of ZODB
        what = "not blobs" if is_foreign else "with the blobs below"
        yield f"{others}, {what}, could not be copied, the first: {printable(found.left)}"


def what_differs(found: Manifest | Copied) -> Iterator[str]:
    """Yield in a sentence what the backup has and the source has not, or otherwise."""
    if found.differ:
        first = f", the first: {found.differing[0]}" if found.differing else ""
        differ = number_of(
            found.differ,
            "blob of the site is gone, cannot be read or is not as it was",
            "blobs of the site are gone, cannot be read or are not as they were",
        )
        yield f"{differ} backed up once{first}"

"""Take over blobs from an earlier tree, by hard links, with the digests that are known there.

``carry_over`` takes blobs that a pack took out of the source while one chain lasts: its records
name them still.  ``rescue`` takes blobs that the source has lost or that cannot be read there: a
blob never changes, so a whole earlier copy is as good, but there is a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path

from collective.recipe.backup.blobs.blobset import BlobSet
from collective.recipe.backup.blobs.checksums import Checksum, side_by_side
from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.copying import Done, How, attempted, taken_over
from collective.recipe.backup.blobs.digesting import checksum_of, copied_whole, size_to_come
from collective.recipe.backup.blobs.layout import Entry, Kind, blob_of
from collective.recipe.backup.blobs.marker import layout_of
from collective.recipe.backup.blobs.sets import Addition, as_far_as_legible
from collective.recipe.backup.errors import BackupError, IntegrityError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.times import Tid

_BATCH = 1000


def carry_over(earlier: BlobSet, later: BlobSet, *, until: Tid, files: Files) -> Copied:
    """Link the blobs up to *until* that *earlier* has and *later* lacks into *later*."""
    lacking = _lacking(earlier, later, until)
    carried = Copied()
    with explained("cannot take over blobs from the backup before", earlier.path):
        while batch := dict(islice(lacking, _BATCH)):
            carried += CarryOver(earlier, later, batch, files).add(list(batch))
    return carried


def _lacking(earlier: BlobSet, later: BlobSet, until: Tid) -> Iterator[tuple[BlobId, Checksum]]:
    layout = layout_of(later.root)
    there = ((checksum.path, checksum) for checksum in later.checksums)
    for found, checksum in side_by_side(there, earlier.checksums):
        blob = None if found or checksum is None else blob_of(checksum.path)
        if checksum is None or blob is None or blob.tid > until:
            continue
        # the storage may have been migrated to another layout between the two
        if not (later.root / layout.path(blob)).is_file():
            yield blob, checksum


class CarryOver(Addition):
    """An Addition from another set, by hard links, with the digests that are known there."""

    def __init__(
        self, earlier: BlobSet, later: BlobSet, known: Mapping[BlobId, Checksum], files: Files
    ) -> None:
        super().__init__(earlier.root, later, files)
        self._earlier, self._later = earlier.root, later.root
        self._layout = layout_of(later.root)
        self._known = known
        self._files = files

    def publish(self, blob: BlobId) -> Done:
        """Link one blob; where the file system cannot, copy it and compare its digest."""
        entry = Entry(self._layout.path(blob), Kind.BLOB)
        return attempted(entry, lambda: self._carried(entry, self._known[blob]))

    def _carried(self, entry: Entry, known: Checksum) -> Done:
        source, target = self._earlier / known.path, self._later / entry.path
        expected = known._replace(path=entry.path)
        if self._files.link(source, target):
            return Done(entry, How.LINKED, expected)
        copy = partial(self._files.publish_copy, source, target)
        if copied_whole(entry.path, size_to_come(entry.path, source), copy) == expected:
            return Done(entry, How.COPIED, expected)
        self._files.remove(target)
        return Done(entry, How.LEFT_OUT, why=_damaged(source))


def rescue(earlier: BlobSet, later: BlobSet, ids: Iterable[BlobId], files: Files) -> Copied:
    """Link those of *ids* that *earlier* has, and has whole, into *later*.

    They are counted as differing from the source, none as lost.
    """
    rest, rescued = iter(ids), Copied()
    with explained("cannot take over blobs from an earlier backup", earlier.path):
        while batch := list(dict.fromkeys(islice(rest, _BATCH))):
            known = digests_in(earlier, batch)
            rescued += Rescue(earlier, later, known, files).add(list(known))
    return rescued.lacking(())


def digests_in(blob_set: BlobSet, ids: Iterable[BlobId]) -> dict[BlobId, Checksum]:
    """Return the checksums of those of *ids* that are in a set; files without one are read."""
    layout = layout_of(blob_set.root)
    paths = {layout.path(blob): blob for blob in ids}
    there = {path: blob for path, blob in paths.items() if (blob_set.root / path).is_file()}
    if not there:
        return {}
    if not blob_set.checksums.exist():
        return {blob: checksum_of(blob_set.root, path) for path, blob in there.items()}
    noted = as_far_as_legible(blob_set.checksums)
    return {there[each.path]: each for each in noted if each.path in there}


def _damaged(path: Path) -> BackupError:
    return IntegrityError("a blob of an earlier backup is damaged", where=path)


class Rescue(CarryOver):
    """A CarryOver of blobs that the source has lost: only whole ones, with a warning."""

    def _carried(self, entry: Entry, known: Checksum) -> Done:
        source = self._earlier / known.path
        if checksum_of(self._earlier, known.path) != known:
            return Done(entry, How.LEFT_OUT, why=_damaged(source))
        done = super()._carried(entry, known)
        why = taken_over("a blob", source)
        return done._replace(why=done.why or why)

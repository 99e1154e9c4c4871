"""A tree for each backup, in which whatever did not change is hard linked to the one before.

The engine is that of the sets; here is what trees need that are made again and again while
one chain lasts: blobs that a pack takes out of the source in that time are named by the
chain's records still, so each tree takes over from the one before what the source has lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from collective.recipe.backup.blobs.checksums import Checksum, side_by_side
from collective.recipe.backup.blobs.copied import Copied, Left
from collective.recipe.backup.blobs.copying import Done, How, Transfer, attempted
from collective.recipe.backup.blobs.digesting import (
    checksum_of,
    copied_whole,
    obstacle,
    regular,
    unchanged,
)
from collective.recipe.backup.blobs.layout import Entry, Kind, blob_of, layout_of, walk
from collective.recipe.backup.blobs.sets import Addition, BlobSet
from collective.recipe.backup.errors import IntegrityError, explained
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
        if copied_whole(entry.path, source, copy) == expected:
            return Done(entry, How.COPIED, expected)
        self._files.remove(target)
        why = IntegrityError("a blob of an earlier backup is damaged", where=source)
        return Done(entry, How.LEFT_OUT, why=why)


@dataclass(frozen=True, kw_only=True)
class LinkedFirst(Transfer):
    """A Transfer that, where there is no earlier tree, hard links blobs to the source itself."""

    def copy(self, path: str, known: Checksum | None) -> Checksum:
        """Link a blob, which never changes, once it has been read; copy anything else."""
        if self.earlier is None and blob_of(path):
            checksum = checksum_of(self.source, path)
            if self.files.link(self.source / path, self.target / path):
                return checksum
        return super().copy(path, known)


def still_lacks(blob_set: BlobSet, source: Path, *, blobs: bool) -> Copied | None:
    """Return what *source* has now that a set of ours lacks because it cannot be copied.

    None if they differ in anything else.  A blob is known by its name, since it never changes,
    anything else by size and time.  Without *blobs* only what ZODB does not know is looked at,
    of which no log says that it changed.
    """
    left, lacking = Left(), []
    for entry, checksum in _beside(blob_set, source):
        is_blob = entry.kind is Kind.BLOB if entry else checksum and blob_of(checksum.path)
        if is_blob and not blobs:
            continue
        try:
            why = obstacle(entry, source) if entry and _is_lacking(entry, checksum) else None
        except FileNotFoundError:  # it has just gone away
            continue
        if entry and why:
            left.add(entry, why)
            lacking += [blob] if (blob := blob_of(entry.path)) else []
        elif not _same(blob_set, source, (entry, checksum)):
            return None
    found = Copied(left_out=left.number, left=left.first, reasons=tuple(left.reasons))
    return found.lacking(lacking)


def _is_lacking(entry: Entry, checksum: Checksum | None) -> bool:
    return checksum is None and entry.kind is not Kind.DIRECTORY


Pair = tuple[Entry | None, Checksum | None]


def _beside(blob_set: BlobSet, source: Path) -> Iterator[Pair]:
    entries = ((entry.path, entry) for entry in walk(source))
    return side_by_side(entries, blob_set.checksums)


def _same(blob_set: BlobSet, source: Path, pair: Pair) -> bool:
    entry, checksum = pair
    if entry is not None and entry.kind is Kind.DIRECTORY:
        return (blob_set.root / entry.path).is_dir()
    if entry is None or checksum is None:
        return False
    if entry.kind is Kind.BLOB:
        return True
    if entry.kind is Kind.LINK:
        with suppress(OSError):
            return checksum_of(source, entry.path) == checksum
        return False
    here, there = regular(source / entry.path), regular(blob_set.root / entry.path)
    return bool(here and there and unchanged(here, there))

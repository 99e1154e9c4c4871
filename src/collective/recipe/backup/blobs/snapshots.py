"""Comparison of a tree of blobs with its source; and a first tree that is linked to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from collective.recipe.backup.blobs.blobset import BlobSet
from collective.recipe.backup.blobs.checksums import Checksum, side_by_side
from collective.recipe.backup.blobs.copied import NAMED, Copied, Left
from collective.recipe.backup.blobs.copying import Transfer, changed
from collective.recipe.backup.blobs.digesting import (
    checksum_of,
    obstacle,
    regular,
    unchanged,
)
from collective.recipe.backup.blobs.layout import MARKER, Entry, Kind, blob_of, walk
from collective.recipe.backup.blobs.marker import laid_out
from collective.recipe.backup.blobs.taking_over import digests_in
from collective.recipe.backup.model import BlobId


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

    None if they differ in anything else.  A blob is known by its name, since it never changes;
    one of another size is counted as differing.  All else is known by size and time.  Without
    *blobs* only what ZODB does not know is looked at, of which no log says that it changed.
    """
    left, lacking, differing = Left(), [], []
    for entry, checksum in _beside(blob_set, source, blobs=blobs):
        if entry and entry.kind is Kind.BLOB and checksum:
            if not _has_size(source, checksum) and (blob := entry.blob):
                differing.append(blob)
                left.give(changed(source / entry.path, blob_set.root / entry.path))
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
    found = Copied(
        left_out=left.number,
        left=left.first,
        differ=len(differing),
        differing=tuple(differing[:NAMED]),
        reasons=tuple(left.reasons),
    )
    return found.lacking(lacking)


def _has_size(source: Path, checksum: Checksum) -> bool:
    here = regular(source / checksum.path)
    return here is not None and here.st_size == checksum.size


def _is_lacking(entry: Entry, checksum: Checksum | None) -> bool:
    return checksum is None and entry.kind is not Kind.DIRECTORY


Pair = tuple[Entry | None, Checksum | None]


def _beside(blob_set: BlobSet, source: Path, *, blobs: bool) -> Iterator[Pair]:
    """Yield what *source* has beside what a set has of it, *blobs* only if they are asked for.

    A set has a marker that is right, whatever the source has: that is passed over.
    """
    entries = ((entry.path, entry) for entry in walk(source))
    for entry, checksum in side_by_side(entries, blob_set.checksums):
        path = entry.path if entry else checksum.path if checksum else MARKER
        if path != MARKER and (blobs or not blob_of(path)):
            yield entry, checksum


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


def still_differing(blob_set: BlobSet, source: Path, ids: Iterable[BlobId]) -> list[BlobId]:
    """Return those of *ids* that *source* still lacks, or has otherwise than the set."""
    layout = laid_out(source)
    return [
        blob
        for blob, known in digests_in(blob_set, ids).items()
        if not _is_now(source, layout.path(blob), known)
    ]


def _is_now(source: Path, path: str, known: Checksum) -> bool:
    if not _has_size(source, known._replace(path=path)):
        return False
    with suppress(OSError):
        return checksum_of(source, path)[1:] == known[1:]
    return False

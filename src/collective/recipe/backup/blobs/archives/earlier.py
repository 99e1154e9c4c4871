"""Blobs in earlier archives, for those that the source has lost or changed since.

A blob never changes, so its first copy is the right one.  An archive has no list of digests: files
are compared by size and time, as its headers have them, and by their bytes if these differ.  Bytes
that replace others come from an archive that was read to its seal.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

from collective.recipe.backup.blobs.archives.archivenames import Archive
from collective.recipe.backup.blobs.archives.archivereading import (
    Content,
    Member,
    What,
    glances,
    members,
)
from collective.recipe.backup.blobs.digesting import regular, unchanged
from collective.recipe.backup.blobs.layout import blob_of
from collective.recipe.backup.blobs.marker import laid_out, place_of
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.progress import ignore
from collective.recipe.backup.times import Tid


def differing(chain: Sequence[Archive], source: Path, until: Tid) -> list[BlobId]:
    """Return the blobs up to *until* that *source* has otherwise than *chain*, a whole one.

    Blobs that it lacks, or that cannot be read there, are none of them.
    """
    layout = laid_out(source)
    found: dict[BlobId, None] = {}
    for archive in chain:
        with closing(glances(archive)) as all_of_it:
            for blob, member in _blobs(all_of_it):
                path = source / place_of(source, layout, blob)
                there = None if blob.tid > until else regular(path)
                if there is None:
                    continue
                found.pop(blob, None)
                if not unchanged(there, member.status) and _differs(path, member.content):
                    found[blob] = None
    return list(found)


def _blobs(found: Iterator[Member]) -> Iterator[tuple[BlobId, Member]]:
    for member in found:
        blob = blob_of(member.path) if member.what is What.FILE else None
        if blob is not None:
            yield blob, member


def _differs(path: Path, content: Content) -> bool:
    """Tell whether the file at *path* can be read and has other bytes than *content*."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        with suppress(OSError):
            return not _is_same(descriptor, content)
        return False
    finally:
        os.close(descriptor)


def _is_same(descriptor: int, content: Content) -> bool:
    offset = 0
    for piece in content:
        if os.pread(descriptor, len(piece), offset) != piece:
            return False
        offset += len(piece)
    return not os.pread(descriptor, 1, offset)


def unpack(
    chain: Sequence[Archive], wanted: Collection[BlobId], source: Path, target: Path, files: Files
) -> list[BlobId]:
    """Write those of *wanted* that *chain* holds to *target*, each at its path in *source*.

    Returns their ids.  Damaged blobs of an archive are left out.
    """
    layout, got = laid_out(source), set[BlobId]()
    for archive in chain:
        new: set[BlobId] = set()
        try:
            with closing(members(archive, ignore)) as all_of_it:
                for blob, member in _blobs(all_of_it):
                    if blob in wanted:
                        _write(member, target / place_of(source, layout, blob), files)
                        new.add(blob)
        except BackupError:  # verify tells
            for blob in new:
                files.clear(target / place_of(source, layout, blob))
            got -= new
        else:
            got |= new
    return [blob for blob in wanted if blob in got]


def _write(member: Member, place: Path, files: Files) -> None:
    files.make_directories(place.parent)
    files.clear(place)
    with files.filling(place, member.status) as writer:
        for piece in member.content:
            writer.write(piece)

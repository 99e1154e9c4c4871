"""Restore a blob set beside the live blobs, with hard links to live files that are right.

So a restore over a mostly intact blobstorage copies only the difference.  Copied files are compared
with their digests on the way; linked files are read only if their times, or the caller, ask for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from collective.recipe.backup.blobs.blobset import BlobSet
from collective.recipe.backup.blobs.checksums import side_by_side
from collective.recipe.backup.blobs.copied import Copied, Tally
from collective.recipe.backup.blobs.copying import CopyOrder, Done, How
from collective.recipe.backup.blobs.layout import Kind, named, walk
from collective.recipe.backup.blobs.marker import settle
from collective.recipe.backup.blobs.readahead import Task, reading_ahead
from collective.recipe.backup.blobs.restoration import Restoration, missing, not_a_file
from collective.recipe.backup.blobs.sharing import Run, sharing
from collective.recipe.backup.contents import laid_out_in
from collective.recipe.backup.errors import BackupError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.times import Tid


def stage(  # noqa: PLR0913  files and progress come from outside, as everywhere
    blob_set: BlobSet,
    target: Path,
    *,
    live: Path | None,
    until: Tid,
    files: Files,
    progress: Progress,
    size: int | None = None,
    verify_live: bool = False,
) -> Copied:
    """Write the blobs of a set, but those later than *until*, to *target*, durably.

    *target* must be missing, or hold only the directories of ``contents.lay_out``; the caller
    publishes it afterwards.  A file of *live* with the size and the time of its checksum counts as
    the same, with *verify_live* only if its digest agrees.  Files without a checksum are restored
    and counted as unverified: no blob is left out for want of a line.  *size* is as with
    ``wanted``.  Raises IntegrityError that names a missing or damaged file.
    """
    with explained("cannot restore the blobs", target):
        if laid_out_in(target) is None:
            raise BackupError(
                "the place to restore to is not empty", where=target, hint="move it away"
            )
        restoration = Restoration(
            source=blob_set.root,
            target=target,
            earlier=live if live and live.is_dir() else None,
            files=files,
            verify_live=verify_live,
        )
        unverified = 0
        with ExitStack() as stack:
            phase = progress.phase("restoring the blobs", blob_set.checksums.count(), "files")
            advance = stack.enter_context(phase)
            tally = Tally(advance)
            orders: Iterable[CopyOrder] = wanted(blob_set, until, size)
            run: Run = restoration.run
            if restoration.earlier is None and blob_set.checksums.are_long():
                task = Task(blob_set.root, blob_set.checksums, target, until, os.getpid())
                orders = stack.enter_context(reading_ahead(task))(orders)
                run = stack.enter_context(sharing(restoration))
            for done in _all_files(blob_set, run(orders)):
                tally.add(done)
                unverified += done.checksum is None and done.entry.kind is not Kind.DIRECTORY
        settle(target, files)
        files.sync_tree(target)
    return tally.sum() + Copied(unverified=unverified)


def _all_files(blob_set: BlobSet, copied: Iterator[Done]) -> Iterator[Done]:
    """Yield *copied*.  Raises IntegrityError for an entry that the set does not have as a file."""
    try:
        for done in copied:
            if done.how is How.VANISHED:
                raise missing(blob_set.root / done.entry.path)
            yield done
    except NotADirectoryError as error:
        place = Path(os.fsdecode(error.filename)).parent
        if not place.is_relative_to(blob_set.root):
            raise
        raise not_a_file(place, "directory") from error


def wanted(blob_set: BlobSet, until: Tid, size: int | None) -> Iterator[CopyOrder]:
    """Yield the files to restore, with their checksums: all but the blobs later than *until*.

    If the files in the checksums have *size* bytes in all (None: unknown), the checksums are
    complete, and there is no search for others.  Otherwise they may have lost a line, and files
    without one come last.  Raises IntegrityError for missing files.
    """
    if size is None or not blob_set.plain:
        yield from walked(blob_set, until)
        return
    found = 0
    for order in listed(blob_set, until):
        found += order.size
        yield order
    if found != size:
        yield from (order for order in walked(blob_set, until) if order.known is None)


def listed(blob_set: BlobSet, until: Tid) -> Iterator[CopyOrder]:
    """Yield what the checksums of a plain set name, whether it is there or not."""
    for checksum in blob_set.checksums:
        entry = named(checksum.path)
        if entry and not entry.is_later(until):
            yield CopyOrder(entry, checksum)


def walked(blob_set: BlobSet, until: Tid) -> Iterator[CopyOrder]:
    """Yield the files on the disk.  Raises IntegrityError if one in the checksums is missing."""
    things = ((entry.path, entry) for entry in walk(blob_set.root))
    for entry, checksum in side_by_side(things, blob_set.checksums):
        known = entry or (checksum and named(checksum.path))
        if known and known.is_later(until):
            continue
        if entry is not None and entry.kind is Kind.DIRECTORY and checksum is not None:
            raise not_a_file(blob_set.root / entry.path)
        if entry is not None:
            yield CopyOrder(entry, checksum)
        elif checksum is not None:
            raise missing(blob_set.root / checksum.path)


def copied(
    blob_set: BlobSet, target: Path, orders: Iterable[CopyOrder], files: Files
) -> Iterator[Done]:
    """Copy the files of *orders* to *target*; yield the result for each.

    Raises IntegrityError for a missing or damaged file.
    """
    restoration = Restoration(source=blob_set.root, target=target, earlier=None, files=files)
    return _all_files(blob_set, restoration.run(orders))

"""Making and extending blob sets; ``blobset`` describes a set.

``begin`` makes a whole set under a temporary name, and renames it: a complete scan of the source,
with hard links to unchanged files of the set before.  ``extend`` adds the blobs that are new by the
log; each appears whole, and only then in the checksums.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path

from collective.recipe.backup.blobs import checksums, latest
from collective.recipe.backup.blobs.blobset import ABOUT_NAME, BlobSet
from collective.recipe.backup.blobs.checksums import Checksum, side_by_side
from collective.recipe.backup.blobs.copied import Copied, Left, Tally
from collective.recipe.backup.blobs.copying import (
    CopyOrder,
    Done,
    How,
    Transfer,
    attempted,
    changed,
    in_order,
    misplaced,
)
from collective.recipe.backup.blobs.digesting import checksum_of, copied_whole, size_to_come
from collective.recipe.backup.blobs.layout import MARKER, Entry, Kind, Layout, order, walk
from collective.recipe.backup.blobs.marker import (
    laid_out,
    layout_of,
    missing_marker,
    place_of,
)
from collective.recipe.backup.blobs.placecheck import check_places
from collective.recipe.backup.blobs.refusing import refusal
from collective.recipe.backup.errors import (
    BackupError,
    IntegrityError,
    explained,
    from_os_error,
)
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.progress import Progress, counted
from collective.recipe.backup.times import Tid

_BATCH = 1000


def begin(  # noqa: PLR0913  the last two come from outside, as everywhere
    source: Path,
    directory: Path,
    stamp: str,
    *,
    until: Tid,
    previous: BlobSet | None,
    files: Files,
    progress: Progress,
    by: Callable[..., Transfer] = Transfer,
    accept: bool = False,
) -> tuple[BlobSet, Copied]:
    """Make the set of *stamp* in *directory*: all of *source* but the blobs later than *until*.

    Those belong to transactions that the filestorage part does not hold.  Unchanged files of
    *previous* are hard linked; blobs that changed since are taken from there as well, unless
    *accept* is set.  Blobs that vanish meanwhile (a pack) are left out and counted, and so are
    files that cannot be read.  *by* makes the Transfer that copies.  Raises BackupError when the
    source as a whole cannot be read.
    """
    check_places(source, directory)
    blob_set = BlobSet(directory / f"{source.name}.{stamp}", source.name)
    if os.path.lexists(blob_set.path):
        raise BackupError("there is a blob set of this stamp already", where=blob_set.path)
    with explained("cannot back up the blobs", source), files.staging(blob_set.path) as partial:
        marker = missing_marker(source)
        entries = walk(source) if marker is None else _without_marker(source)
        wanted = (entry for entry in entries if not entry.is_later(until))
        transfer = by(
            source=source,
            target=partial / source.name,
            earlier=previous.root if previous else None,
            files=files,
            upholds=not accept,
        )
        known = previous.checksums if previous else None
        with progress.phase("copying the blobs", known.count() if known else 0, "files") as advance:
            tally = Tally(advance)
            with files.writing(partial / checksums.NAME) as writer:
                done = transfer.run(_orders(wanted, known or ()))
                if marker is not None:
                    done = _with_marker(done, partial / source.name, marker, files)
                checksums.write(_counted(done, tally), writer)
        copied = tally.sum()
        about = f"blob set 1\nforeign {copied.foreign}\n"
        files.write(partial / ABOUT_NAME, about.encode("ascii"))
    latest.renew(directory, blob_set.name, files)
    return blob_set, copied


def extend(  # noqa: PLR0913  the last two come from outside, as everywhere
    source: Path,
    blob_set: BlobSet,
    ids: Iterable[BlobId],
    *,
    also: Path | None = None,
    files: Files,
    progress: Progress,
) -> Copied:
    """Add the blobs *ids* to a set, each durably and whole before the checksums name it.

    Those that are there already are compared with the source, and copied again if they
    differ.  Those that can be read neither at the source nor in *also*, a blobstorage that may
    only come to be meanwhile, are counted and named, no error.
    """
    check_places(source, blob_set.path.parent)
    if not blob_set.ours:
        raise BackupError(
            "an older release made this blob set, so nothing can be added to it",
            where=blob_set.path,
            hint="make a full backup, which begins a new one",
        )
    (total, rest), copied = counted(ids), Copied()
    with explained("cannot back up the blobs", source):
        files.sweep(blob_set.path)
        files.sweep(blob_set.room)
        with progress.phase("copying new blobs", total, "files") as advance:
            while batch := list(dict.fromkeys(islice(rest, _BATCH))):
                done = Addition(source, blob_set, files).add(batch)
                if also is not None and done.lost and also.is_dir():
                    rescued = Addition(also, blob_set, files).add(list(done.missing))
                    done = done.lacking(()) + rescued
                copied += done
                advance(len(batch))
        latest.renew(blob_set.path.parent, blob_set.name, files)
    return copied


class Addition:
    """One batch of blobs that are added to a set."""

    def __init__(self, source: Path, blob_set: BlobSet, files: Files) -> None:
        self._source, self._target = source, blob_set.root
        # they differ when the storage was migrated since; ZODB knows both
        self._source_layout, self._target_layout = laid_out(source), layout_of(blob_set.root)
        self._set = blob_set
        self._files = files
        self._touched: dict[Path, None] = {}
        self._left = Left()

    def add(self, blobs: list[BlobId]) -> Copied:
        """Add *blobs*, durably; the checksums name them when all are in place."""
        there = [blob for blob in blobs if self._make_way(blob)]
        done = list(in_order(self.publish, there))
        # also what a run made that died before it could sync
        for _synced in in_order(self._files.sync_directory, self._touched):
            pass
        self._set.checksums.add((each.checksum for each in done if each.checksum), self._files)
        return self._sum(blobs, done)

    def _make_way(self, blob: BlobId) -> bool:
        """Make the directories that *blob* needs; False if it is neither here nor there."""
        target = self._target / self._target_layout.path(blob)
        originals = self._originals(blob)
        if originals is None and not target.is_file():
            return False
        for directory in reversed(target.relative_to(self._target).parents):
            place = self._target / directory
            if place not in self._touched:
                if originals and not place.is_dir():
                    self._files.make_directory_like(place, originals[-1])
                self._touched[place] = None
        return True

    def _originals(self, blob: BlobId) -> list[os.stat_result] | None:
        """Return what the directories of *blob* at the source are, None if it cannot be had."""
        path, found = "", []
        for name in place_of(self._source, self._source_layout, blob).split("/"):
            path = f"{path}/{name}" if path else name
            try:
                status = (self._source / path).lstat()
            except FileNotFoundError:
                return None
            except OSError as error:
                self._leave_out(path, from_os_error(error, "cannot be read"))
                return None
            if stat.S_ISLNK(status.st_mode):
                self._leave_out(path, refusal(Entry(path, Kind.IMPOSTOR), self._source))
                return None
            found.append(status)
        return found[:-1]

    def _leave_out(self, path: str, why: BackupError | None) -> None:
        self._left.add(Entry(path, Kind.BLOB), why)

    def publish(self, blob: BlobId) -> Done:
        """Add one blob, whose directories are there."""
        entry = Entry(self._target_layout.path(blob), Kind.BLOB)
        kept = self._kept(entry.path)
        done = attempted(entry, lambda: self._published(blob, entry, kept))
        if kept and done.how in (How.VANISHED, How.LEFT_OUT):
            return done._replace(how=How.KEPT, checksum=kept)
        return done

    def _kept(self, path: str) -> Checksum | None:
        """Return what the set has at *path*, None if nothing that can be read."""
        with suppress(OSError):
            return checksum_of(self._target, path) if (self._target / path).is_file() else None
        return None

    def _published(self, blob: BlobId, entry: Entry, kept: Checksum | None) -> Done:
        place = place_of(self._source, self._source_layout, blob)
        source = self._source / place
        lost = None if place == self._source_layout.path(blob) else misplaced(source)
        try:
            if kept and kept[1:] == checksum_of(source.parent, source.name)[1:]:
                return Done(entry, How.KEPT, kept, lost)
            if kept and kept == self._recorded(entry.path):
                return Done(entry, How.KEPT, kept, changed(source, self._target / entry.path))
            size = size_to_come(entry.path, source)
            copy = partial(
                self._files.publish_copy,
                source,
                self._target / entry.path,
                room=self._set.room,
                sync=False,
            )
            return Done(entry, How.COPIED, copied_whole(entry.path, size, copy), lost)
        except FileNotFoundError:
            if os.path.lexists(source):
                raise
            return Done(entry, How.VANISHED)

    def _recorded(self, path: str) -> Checksum | None:
        """Return what the set notes of a file: None if it came with a run that died."""
        return next((each for each in self._set.checksums if each.path == path), None)

    def _sum(self, blobs: list[BlobId], done: list[Done]) -> Copied:
        differing = []
        for each in done:
            if each.why is not None and each.checksum and (blob := each.entry.blob):
                differing.append(blob)
                self._left.give(each.why)
            elif each.why is not None:
                self._left.add(each.entry, each.why)
        stored = {each.entry.blob for each in done if each.checksum}
        copied = [each.checksum for each in done if each.how is How.COPIED]
        return Copied(
            files=len(copied),
            size=sum(checksum.size or 0 for checksum in copied if checksum),
            differ=len(differing),
            differing=tuple(differing),
            reasons=tuple(self._left.reasons),
        ).lacking(blob for blob in blobs if blob not in stored)


def _orders(entries: Iterable[Entry], known: Iterable[Checksum]) -> Iterator[CopyOrder]:
    """Put to each entry what the set before knows of it."""
    things = ((entry.path, entry) for entry in entries)
    for entry, checksum in side_by_side(things, as_far_as_legible(known)):
        if entry:
            yield CopyOrder(entry, checksum)


def as_far_as_legible(known: Iterable[Checksum]) -> Iterator[Checksum]:
    """Yield checksums up to the first damage.

    A file without one is compared byte by byte, so that damage to an old set, which verify
    reports, does not keep anybody from making a new one.
    """
    with suppress(IntegrityError):
        yield from known


def _without_marker(source: Path) -> Iterator[Entry]:
    return (entry for entry in walk(source) if entry.path != MARKER)


def _with_marker(done: Iterable[Done], root: Path, layout: Layout, files: Files) -> Iterator[Done]:
    """Yield *done*, and in its order the marker that the source lacks; write that marker."""
    rest = iter(done)
    for each in rest:
        if order(each.entry.path) > order(MARKER):
            yield _write_marker(root, layout, files)
            yield each
            break
        yield each
    yield from rest


def _write_marker(root: Path, layout: Layout, files: Files) -> Done:
    files.clear(root / MARKER)  # rsync may have made of it what the source has
    files.write(root / MARKER, layout.value.encode("ascii"))
    return Done(Entry(MARKER, Kind.MARKER), How.COPIED, checksum_of(root, MARKER))


def _counted(done: Iterable[Done], tally: Tally) -> Iterator[Checksum]:
    for each in done:
        tally.add(each)
        if each.checksum:
            yield each.checksum

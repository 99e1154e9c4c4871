"""Blob sets: for each chain one directory with all its blobs, and digests of them.

::

    blobstorage.2026-03-01-03-00-00/
        blobstorage/               the tree, as it is at the source
        checksums, checksums.added
        about                      the format of these, and how much is there besides blobs
    latest -> blobstorage.2026-03-01-03-00-00

``begin`` makes a set beside, whole, before it gets its name: a complete scan of the source
that links what the set before has unchanged.  ``extend`` adds the blobs that the log says
are new; each appears whole, and only then in the checksums.  Sets that rsync made for
older releases are the same without the files beside the tree.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from blake3 import blake3

from collective.recipe.backup.blobs import checksums, latest
from collective.recipe.backup.blobs.checksums import Checksum, Checksums, side_by_side
from collective.recipe.backup.blobs.copying import (
    Done,
    How,
    Order,
    Transfer,
    checksum_of,
    in_order,
    refuse,
)
from collective.recipe.backup.blobs.layout import Entry, Kind, layout_of, walk
from collective.recipe.backup.errors import BackupError, IntegrityError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.progress import Advance, Progress, counted
from collective.recipe.backup.smallfile import UnfitError, read_small
from collective.recipe.backup.times import Tid, is_stamp

ABOUT_NAME = "about"
NAMED = 1000
"""How many missing blobs are named; more are only counted."""

_BATCH = 1000
_ABOUT_SIZE = 1000
_ABOUT = re.compile(rb"blob set 1\nforeign (\d+)\n")


@dataclass(frozen=True)
class BlobSet:
    """One directory of blobs: its *path* and, below that, the tree of the storage *storage*."""

    path: Path
    storage: str

    @property
    def name(self) -> str:
        """The name of the directory, ``STORAGE.STAMP``."""
        return self.path.name

    @property
    def stamp(self) -> str:
        """The stamp of the chain that it was begun for."""
        return self.name[len(self.storage) + 1 :]

    @property
    def root(self) -> Path:
        """The tree of blobs."""
        return self.path / self.storage

    @property
    def checksums(self) -> Checksums:
        """What each file of the tree must be."""
        return Checksums(self.path)

    @property
    def ours(self) -> bool:
        """Tell whether we made it: rsync and older releases wrote nothing but the tree."""
        return self.about.exists() or self.checksums.exist()

    @property
    def about(self) -> Path:
        """The file that says what kind of set this is."""
        return self.path / ABOUT_NAME

    @property
    def foreign(self) -> int:
        """How much there is that ZODB does not know, so that no log says when it changes.

        0 for what we did not make, where nobody counted.  Raises IntegrityError.
        """
        try:
            data = read_small(self.about, _ABOUT_SIZE)
        except UnfitError:
            data = b""
        if data is None:
            return 0
        found = _ABOUT.fullmatch(data)
        if not found:
            raise IntegrityError(
                "this is damaged, or of a newer release",
                where=self.about,
                hint="make a full backup to get a new set",
            )
        return int(found[1])

    @property
    def plain(self) -> bool:
        """Tell whether we made it and it holds nothing but what a log and our list name."""
        try:
            return self.ours and not self.foreign
        except IntegrityError:  # verify says so; a new set mends it
            return False


@dataclass(frozen=True, kw_only=True)
class Copied:
    """What a copy came to.

    *files* were copied, *size* bytes in all, and *linked* ones only linked; of these
    *foreign* are no blobs.  *vanished* ones went away before they could be copied, and for
    *unverified* ones there was no digest to compare with.  *lost* counts the blobs asked
    for that the source does not have; *missing* names some of them.  *whole* are the bytes
    of all that is there now, where all was looked at.  *marker* is what became of ZODB's note
    of the layout, which is one of the files.  By *others* the foreign ones that an archive
    holds are known again (see foreign), "" if there are none.
    """

    files: int = 0
    linked: int = 0
    size: int = 0
    foreign: int = 0
    vanished: int = 0
    unverified: int = 0
    lost: int = 0
    missing: tuple[BlobId, ...] = ()
    whole: int | None = None
    marker: How | None = None
    others: str = ""

    def __str__(self) -> str:
        """Return in words what a backup stored."""
        new = self.files - (self.marker is How.COPIED)
        words = [f"{new:,} new", f"{self.size:,} bytes"]
        linked = self.linked - (self.marker is How.LINKED)
        if linked:
            words.append(f"{linked:,} linked")
        if self.foreign:
            words.append(f"{self.foreign:,} of them no blobs")
        return ", ".join(words)

    def __add__(self, other: Copied) -> Copied:
        return Copied(
            files=self.files + other.files,
            linked=self.linked + other.linked,
            size=self.size + other.size,
            foreign=self.foreign + other.foreign,
            vanished=self.vanished + other.vanished,
            unverified=self.unverified + other.unverified,
            lost=self.lost + other.lost,
            missing=(self.missing + other.missing)[:NAMED],
            whole=None if self.whole is None else self.whole + other.size,
            marker=self.marker or other.marker,
            others=self.others or other.others,
        )


class Tally:
    """Adds up what became of each file."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self._numbers = dict.fromkeys(How, 0)
        self._size = 0
        self._linked_size = 0
        self._foreign = 0
        self._marker: How | None = None

    def add(self, done: Done) -> None:
        """Count one."""
        self._advance(1)
        if done.entry.kind is Kind.DIRECTORY:
            return
        self._numbers[done.how] += 1
        if done.how is How.COPIED and done.checksum:
            self._size += done.checksum.size or 0
        if done.how is How.LINKED and done.checksum:
            self._linked_size += done.checksum.size or 0
        if done.entry.kind is Kind.MARKER:
            self._marker = done.how
        if done.entry.foreign and done.how is not How.VANISHED:
            self._foreign += 1

    def sum(self) -> Copied:
        """Return the sum so far."""
        return Copied(
            files=self._numbers[How.COPIED],
            linked=self._numbers[How.LINKED],
            vanished=self._numbers[How.VANISHED],
            size=self._size,
            foreign=self._foreign,
            whole=self._size + self._linked_size,
            marker=self._marker,
        )


def find_sets(directory: Path, name: str) -> list[BlobSet]:
    """Return the sets of the storage *name* in *directory*, oldest first.

    A directory that is not there holds none.  Partial ones are never among them.
    """
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    prefix = f"{name}."
    found = [
        BlobSet(directory / each, name)
        for each in sorted(names)
        if each.startswith(prefix) and is_stamp(each[len(prefix) :])
    ]
    return [each for each in found if each.root.is_dir() and not each.root.is_symlink()]


def missing(blob_set: BlobSet, ids: Iterable[BlobId]) -> Iterator[BlobId]:
    """Yield those of *ids* whose blobs are not in the set."""
    layout, root = layout_of(blob_set.root), os.fspath(blob_set.root)
    for blob in ids:
        if not os.path.isfile(f"{root}/{layout.path(blob)}"):
            yield blob


def remove(blob_set: BlobSet, files: Files) -> None:
    """Remove a set; in one step for those who look, which then takes its time."""
    partial = files.partial_name(blob_set.path)
    files.rename(blob_set.path, partial)
    files.remove_tree(partial)


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
) -> tuple[BlobSet, Copied]:
    """Make the set of *stamp* in *directory*: all of *source* but the blobs later than *until*.

    Those belong to transactions that the filestorage part does not hold.  What *previous*
    has unchanged is hard linked.  Blobs that vanish meanwhile (a pack) are left out and
    counted.  *by* makes the Transfer that copies.  Raises BackupError when the source cannot
    be read completely.
    """
    _check_places(source, directory)
    blob_set = BlobSet(directory / f"{source.name}.{stamp}", source.name)
    if os.path.lexists(blob_set.path):
        raise BackupError("there is a blob set of this stamp already", where=blob_set.path)
    with explained("cannot back up the blobs", source), files.staging(blob_set.path) as partial:
        wanted = (entry for entry in walk(source) if not entry.is_later(until))
        transfer = by(
            source=source,
            target=partial / source.name,
            earlier=previous.root if previous else None,
            files=files,
        )
        known = previous.checksums if previous else None
        with progress.phase("copying the blobs", known.count() if known else 0, "files") as advance:
            tally = Tally(advance)
            with files.writing(partial / checksums.NAME) as writer:
                done = transfer.run(_orders(wanted, known or ()))
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
    differ.  Those that neither the source has nor *also*, a blobstorage that may only come to
    be meanwhile, are counted and named, no error.
    """
    _check_places(source, blob_set.path.parent)
    if not blob_set.ours:
        raise BackupError(
            "an older release made this blob set, so nothing can be added to it",
            where=blob_set.path,
            hint="make a full backup, which begins a new one",
        )
    (total, rest), copied = counted(ids), Copied()
    with explained("cannot back up the blobs", source):
        files.sweep(blob_set.path)
        with progress.phase("copying new blobs", total, "files") as advance:
            while batch := list(dict.fromkeys(islice(rest, _BATCH))):
                done = Addition(source, blob_set, files).add(batch)
                if also is not None and done.lost and also.is_dir():
                    rescued = Addition(also, blob_set, files).add(list(done.missing))
                    done = replace(done, lost=0, missing=()) + rescued
                copied += done
                advance(len(batch))
        latest.renew(blob_set.path.parent, blob_set.name, files)
    return copied


class Addition:
    """One batch of blobs that are added to a set."""

    def __init__(self, source: Path, blob_set: BlobSet, files: Files) -> None:
        self._source, self._target = source, blob_set.root
        # they differ when the storage was migrated since; ZODB knows both
        self._source_layout, self._target_layout = layout_of(source), layout_of(blob_set.root)
        self._set = blob_set
        self._files = files
        self._touched: dict[Path, None] = {}

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
        """Return what the directories of *blob* at the source are, None if it is not there."""
        path, found = "", []
        for name in self._source_layout.path(blob).split("/"):
            path = f"{path}/{name}" if path else name
            try:
                status = (self._source / path).lstat()
            except FileNotFoundError:
                return None
            if stat.S_ISLNK(status.st_mode):
                refuse(Entry(path, Kind.IMPOSTOR), self._source)
            found.append(status)
        return found[:-1]

    def publish(self, blob: BlobId) -> Done:
        """Add one blob, whose directories are there."""
        path = self._target_layout.path(blob)
        source = self._source / self._source_layout.path(blob)
        entry, target = Entry(path, Kind.BLOB), self._target / path
        kept = checksum_of(self._target, path) if target.is_file() else None
        try:
            if kept and kept[1:] == checksum_of(source.parent, source.name)[1:]:
                return Done(entry, How.KEPT, kept)
            digest = blake3()
            size = self._files.publish_copy(
                source, target, observe=digest.update, room=self._set.path, sync=False
            )
        except FileNotFoundError:
            if os.path.lexists(source):
                raise
            return Done(entry, How.KEPT, kept) if kept else Done(entry, How.VANISHED)
        return Done(entry, How.COPIED, Checksum(path, size, digest.hexdigest()))

    @staticmethod
    def _sum(blobs: list[BlobId], done: list[Done]) -> Copied:
        stored = {each.entry.blob for each in done if each.how is not How.VANISHED}
        lost = [blob for blob in blobs if blob not in stored]
        copied = [each.checksum for each in done if each.how is How.COPIED]
        return Copied(
            files=len(copied),
            size=sum(checksum.size or 0 for checksum in copied if checksum),
            lost=len(lost),
            missing=tuple(lost),
        )


def _check_places(source: Path, directory: Path) -> None:
    """Raise BackupError unless *source* can be copied to *directory*."""
    if not source.is_dir():
        raise BackupError(
            "there is no blobstorage here",
            where=source,
            hint="is blob_storage right, and is its disk mounted?",
        )
    if Path(os.path.realpath(directory)).is_relative_to(os.path.realpath(source)):
        raise BackupError(
            "the backups would lie in the blobstorage that they are of",
            where=directory,
            hint="choose a directory elsewhere, on another disk if there is one",
        )


def _orders(entries: Iterable[Entry], known: Iterable[Checksum]) -> Iterator[Order]:
    """Put to each entry what the set before knows of it."""
    things = ((entry.path, entry) for entry in entries)
    for entry, checksum in side_by_side(things, _as_far_as_legible(known)):
        if entry:
            yield Order(entry, checksum)


def _as_far_as_legible(known: Iterable[Checksum]) -> Iterator[Checksum]:
    """Yield checksums up to the first damage.

    What has none is compared byte by byte, so that damage to an old set, which verify
    reports, does not keep anybody from making a new one.
    """
    with suppress(IntegrityError):
        yield from known


def _counted(done: Iterable[Done], tally: Tally) -> Iterator[Checksum]:
    for each in done:
        tally.add(each)
        if each.checksum:
            yield each.checksum

"""The blobs of a restore: all of them, or only those that differ from the live ones.

A hard link for each blob that is right would cost more than all other work.  So the changes are
staged as a difference (see transplant): the files that are missing or differ, and the list of those
with the files to remove.  If the live tree has more than blobs and plain files on one file system,
or many files differ, all blobs are staged as if it were not there.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from contextlib import closing, suppress
from enum import Enum
from pathlib import Path

from collective.recipe.backup import process
from collective.recipe.backup.blobs.checksums import side_by_side
from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.digesting import checksum_of, same_time
from collective.recipe.backup.blobs.layout import Kind, order
from collective.recipe.backup.blobs.looking import Seen, look, look_ahead
from collective.recipe.backup.blobs.marker import layout_of
from collective.recipe.backup.blobs.storedblobs import StoredBlobs, StoredFile
from collective.recipe.backup.errors import BackupError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.mounts import mounts_in
from collective.recipe.backup.progress import Advance, Progress
from collective.recipe.backup.restoring.transplant import FILES, Change, Status, write_changes

FEW = 4
"""At most one file of this number may differ."""
MANY = 20_000
"""So many files may differ, which are held in memory."""

LONG = 4_000
"""So many files are worth another process, which looks at those that are live."""

_TOLD = 100
"""Files between two reports of progress."""


class Changeable(Enum):
    """The share of a live tree that may be changed file by file; with more, a new one is staged."""

    LITTLE = "little of it"
    COMING = "all that comes; what is not stored stays"
    ANY = "as much as there is"


class TooDifferent(Exception):  # noqa: N818  no error: all is to be staged
    """The live tree cannot be changed file by file, or too much of it would be."""


@dataclass(frozen=True, kw_only=True)
class StagedBlobs:
    """The way in which staged blobs become the blobstorage."""

    copied: Copied  # result of the copy
    difference: bool = False  # it is only what differs from what is live
    surplus: int = 0  # files that stay though they are not stored


@dataclass(frozen=True, kw_only=True)
class BlobStaging:
    """Writes *blobs* to *target*, which is missing or holds only rooms (see contents)."""

    blobs: StoredBlobs  # of the backup
    target: Path  # directory to write
    live: Path | None  # present blobstorage; None: there is none
    files: Files  # writes them
    progress: Progress  # progress of long work
    may_change: Changeable = Changeable.LITTLE
    """The share of the live tree that may be changed file by file."""

    def stage(self) -> StagedBlobs:
        """Write them, verified.  Raises IntegrityError and BackupError."""
        with explained("cannot restore the blobs", self.target):
            difference = self._stage_difference(self.live) if self.live is not None else None
            if difference is not None:
                return difference
        copied = self.blobs.copy_into(
            self.target, live=self.live, files=self.files, progress=self.progress
        )
        return StagedBlobs(copied=copied)

    def _stage_difference(self, live: Path) -> StagedBlobs | None:
        """Write what makes *live* the blobs; None, and nothing is written, if all has to be."""
        if os.path.lexists(self.target) or not self._is_fit(live):
            return None
        try:
            total = self.blobs.count()
            with self.progress.phase("comparing the blobs", total, "files") as advance:
                found = compare(self.blobs, live, advance, self.may_change)
        except TooDifferent:
            return None
        self.files.make_directory(self.target)
        write_changes(self.target, found.changes, self.files)
        copied = self.blobs.copy_into(
            self.target / FILES, wanted=found.coming, files=self.files, progress=self.progress
        )
        self.files.sync_each([self.target, self.target.parent], self.target)
        copied += Copied(linked=found.same, unverified=found.unverified)
        return StagedBlobs(copied=copied, difference=True, surplus=found.surplus)

    def _is_fit(self, live: Path) -> bool:
        """Tell whether the files of *live* can be changed one by one."""
        layout = self.blobs.layout  # without a marker a restore writes one
        try:
            is_alike = layout is not None and live.is_dir() and layout_of(live) is layout
        except BackupError:
            return False
        return is_alike and _is_on_one_disk(live, self.target)


def _is_on_one_disk(live: Path, target: Path) -> bool:
    """Tell whether a file can be renamed from any place in *live* to *target*."""
    mounts = mounts_in(live)
    if target.parent == live:
        mounts = [point for point in mounts if point != Path(os.path.realpath(live))]
    return not mounts


@dataclasses.dataclass(kw_only=True)
class Difference:
    """The changes that turn one tree into another."""

    changes: list[Change] = dataclasses.field(default_factory=list)  # in the order of the walk
    coming: list[StoredFile] = dataclasses.field(default_factory=list)  # to be copied
    same: int = 0  # files that stay
    unverified: int = 0  # files that are to be there, and have no digest
    surplus: int = 0  # files that stay though they are not stored

    def check(self, may_change: Changeable) -> Difference:
        """Return this.  Raises TooDifferent if it is more than may change, or memory holds."""
        number = len(self.changes)
        if number > MANY or (may_change is Changeable.LITTLE and number * FEW > self.same + number):
            raise TooDifferent
        return self


def compare(
    blobs: StoredBlobs, live: Path, advance: Advance, may_change: Changeable = Changeable.LITTLE
) -> Difference:
    """Return what makes *blobs* of the tree *live*.

    Raises TooDifferent for what cannot be changed file by file, IntegrityError, and OSError.
    """
    if blobs.count() > LONG and process.can_compute():
        with suppress(process.NoAnswerError), closing(look_ahead(live)) as seen:
            return _Comparison(blobs, live, advance, may_change).run(seen)
    return _Comparison(blobs, live, advance, may_change).run(look(live))


class _Comparison:
    """A walk over the live tree beside the list of wanted files."""

    def __init__(
        self, blobs: StoredBlobs, live: Path, advance: Advance, may_change: Changeable
    ) -> None:
        self._blobs = blobs
        self._live = live
        self._advance = advance
        self._device = live.stat().st_dev
        self._gone = ""  # the last path that leaves, with a slash
        self._last = ""  # the last path of what is stored
        self._may_change = may_change
        self._found = Difference()

    def run(self, seen: Iterator[Seen]) -> Difference:
        """Return the changes to make, given the files *seen* there."""
        found, device, number = self._found, self._device, 0
        stored = ((file.path, file) for file in self._blobs.listed())
        for number, (file, here) in enumerate(side_by_side(stored, seen), 1):
            if number % _TOLD == 0:
                self._advance(_TOLD)
            if (
                file is not None
                and here is not None
                and file.digest is not None
                and file[1:4] == here[1:4]
                and file.kind in _FILES
                and here.device == device
            ):
                found.same += 1
            else:
                self._compare(file, here)
            if file is not None:
                self._last = file.path
        self._advance(number % _TOLD)
        return found.check(self._may_change)

    def _compare(self, file: StoredFile | None, here: Seen | None) -> None:
        """Note the change at one path for which one look was not enough."""
        kinds = [each.kind for each in (file, here) if each]
        if any(kind in _UNLIKE_FILES for kind in kinds):
            raise TooDifferent
        if Kind.DIRECTORY in kinds:
            if kinds != [Kind.DIRECTORY, Kind.DIRECTORY]:
                raise TooDifferent
        elif here is not None and here.device != self._device:
            raise TooDifferent  # it cannot be renamed to where it would be kept
        elif file is not None:
            self._check_place(file, here)
            self._note(file, here)
        elif here is not None and here.kind is not Kind.MARKER:
            self._leave(here)
        # the marker says what the layout is, which is right, and need not be stored

    def _leave(self, here: Seen) -> None:
        """Note that a file that is not in the backup is to be removed, or that it stays."""
        if self._may_change is Changeable.COMING:
            self._found.surplus += 1
            return
        self._gone = f"{here.path}/"
        self._change(Change(here.path, leaves=_status(here), comes=None))

    def _check_place(self, file: StoredFile, here: Seen | None) -> None:
        """Raise TooDifferent if *file* cannot come where it is to be."""
        if self._gone and file.path.startswith(self._gone):
            raise TooDifferent  # a directory, in the place of a file that would have to come back
        if here is None and os.path.lexists(self._live / file.path):
            raise TooDifferent  # something lies there that a blobstorage does not have
        if file.digest is None and order(file.path) < order(self._last):
            raise TooDifferent  # it comes last, as no list names it: it was compared before

    def _note(self, file: StoredFile, here: Seen | None) -> None:
        self._found.unverified += file.digest is None
        if here is not None and self._is_good(file, here):
            self._found.same += 1
            return
        self._found.coming.append(file)
        self._change(Change(file.path, leaves=here and _status(here), comes=_status(file)))

    def _change(self, change: Change) -> None:
        self._found.changes.append(change)
        if len(self._found.changes) > MANY:
            raise TooDifferent

    def _is_good(self, file: StoredFile, here: Seen) -> bool:
        """Tell whether the live file is right; where its time raises doubts, it is read."""
        if here.size != file.size:
            return False
        if same_time(here.time, file.time):
            return True
        with suppress(OSError):  # the live one may be what is damaged
            return checksum_of(self._live, file.path).digest == file.digest
        return False


_FILES = Kind.BLOB, Kind.MARKER, Kind.FILE
_UNLIKE_FILES = Kind.LINK, Kind.IMPOSTOR, Kind.SPECIAL, Kind.UNREADABLE


def _status(file: StoredFile | Seen) -> Status:
    return Status(file.size, file.time)

"""One source staged beside its live data, and the moves that make it live.

The way in which live data give way is found out before anything is written, since it decides where
to stage.  The rooms that write are imported only then: most callers ask only about the last
restore.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.errors import explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.companions import index_of
from collective.recipe.backup.filestorage.storedlog import PRIVATE
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import (
    BLOBSTORAGE,
    DIRECTORY,
    FILESTORAGE,
    RestorePoint,
    Source,
)
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.restoring.moves import Move, staged_path
from collective.recipe.backup.restoring.ways import Way, way_of
from collective.recipe.backup.rights import Rights, rights_of, umask

if TYPE_CHECKING:
    from collective.recipe.backup.restoring.remembered import Remembered
    from collective.recipe.backup.restoring.staging import Staged, Targets
    from collective.recipe.backup.states import State

logger = logging.getLogger("backup")


@dataclass(frozen=True, kw_only=True)
class RestorePlace:
    """The paths of one source, and the ways in which its live data give way."""

    filestorage: Path  # where it is live, whether it is restored or not
    ways: tuple[Way | None, Way | None]  # of filestorage and blobstorage; None: not restored
    all_blobs: bool = False  # whether no blob is taken from the live site
    remembered: Remembered | None = None  # facts about the live data; None: there are none

    @property
    def _all(self) -> list[Way]:
        log, blobs = self.ways
        index = Way(live=index_of(self.filestorage)) if log else None
        return [way for way in (log, index, blobs) if way is not None]

    def stage(self, state: State, files: Files, progress: Progress) -> Staged:
        """Write *state* beside the live data, verified and durable.

        Raises IntegrityError, NoRestorePoint and BackupError.
        """
        from collective.recipe.backup.restoring.staging import stage

        parent, point = self.filestorage.parent, state.point
        with explained("cannot restore beside what is there", parent):
            # the journal lies beside the filestorage, whatever is restored
            _make_like(parent, point.rights.get(DIRECTORY), files)
            for directory in dict.fromkeys([parent, *(way.live.parent for way in self._all)]):
                files.make_directories(directory)
                files.sweep(directory)
            for way in self._all:
                way.make_ready(files)
            staged = stage(state, self._targets(), files=files, progress=progress)
            for way in self._all:
                way.sync(files)
        if staged.blobs is not None and staged.blobs.copied.unverified:
            has_digests = state.blobs is not None and state.blobs.has_digests
            logger.log(
                logging.WARNING if has_digests else logging.INFO,
                "%s restored without a check: there is no digest to compare with%s",
                number_of(
                    staged.blobs.copied.unverified,
                    "file of the blobs was",
                    "files of the blobs were",
                ),
                "" if has_digests else ", for an older release made it",
            )
        return staged

    def _targets(self) -> Targets:
        from collective.recipe.backup.restoring.staging import Targets

        log, blobs = self.ways
        live = blobs.live if blobs and not self.all_blobs else None
        return Targets(
            filestorage=log.staged if log else None,
            index=staged_path(index_of(self.filestorage)),
            blobstorage=blobs.staged if blobs else None,
            live_filestorage=buildable(self.filestorage),
            live_blobstorage=live if live and live.is_dir() else None,
            remembered=self.remembered,
        )

    def moves(self, staged: Staged, point: RestorePoint, files: Files) -> list[Move]:
        """Return the moves that make *staged* data of *point* live; set their permissions."""
        with explained("cannot set the permissions of what is restored", self.filestorage.parent):
            return list(self._moves(staged, point, files))

    def _moves(self, staged: Staged, point: RestorePoint, files: Files) -> Iterator[Move]:
        log, blobs = self.ways
        if blobs is not None:
            rights = point.rights.get(BLOBSTORAGE)
            if rights is not None and not os.path.lexists(blobs.live):
                files.make_directory_like(blobs.staged, rights.as_status())
            difference = staged.blobs is not None and staged.blobs.difference
            yield blobs.move(difference=difference, filestorage=self.filestorage)
        if log is not None and staged.log is not None:
            keep = staged.log.keep
            if keep is None and log.in_place:
                keep = 0  # all of it is written over
            companion = index_of(self.filestorage) if staged.log.index else None
            # the user that the site runs as must be able to open it, and no other user who could
            # not before
            for path in (self.filestorage if keep is None else None, companion):
                if path is not None and (made := staged_path(path)).is_file():
                    files.make_like(made, self._like(point, made, staged.log.mode))
            yield Move(live=self.filestorage, companion=companion, keep=keep)

    def _like(self, point: RestorePoint, made: Path, mode: int) -> os.stat_result:
        """Return the status that a staged file gets: of the live filestorage, or of the former one.

        *mode* is that of the file that stored it.
        """
        if self.filestorage.is_file():
            return self.filestorage.stat()
        rights = point.rights.get(FILESTORAGE)
        if rights is None:
            # a restore point of an older release has no rights; the owner may always write it
            rights = replace(rights_of(made), mode=mode & 0o666 & ~umask() | PRIVATE)
        return rights.as_status()

    def discard(self, files: Files) -> None:
        """Remove the staged files, as far as possible."""
        for way in self._all:
            # an error under way is worth more than ours, and the next restore tries again
            with suppress(OSError):
                way.discard(files)


def place_for(  # noqa: PLR0913  the parts of an order
    target: Source,
    files: Files,
    *,
    filestorage: bool,
    blobstorage: bool,
    all_blobs: bool = False,
    remembered: Remembered | None = None,
) -> RestorePlace:
    """Find out how the live data of *target* give way; no blob of it is taken with *all_blobs*.

    Raises BackupError if they cannot.
    """
    live, blobs = target.filestorage, target.blobstorage
    with explained("cannot find out how to replace what is there", live.parent):
        return RestorePlace(
            filestorage=live,
            ways=(
                way_of(live, files) if filestorage else None,
                way_of(blobs, files) if blobstorage and blobs else None,
            ),
            all_blobs=all_blobs,
            remembered=remembered,
        )


def buildable(filestorage: Path) -> Path | None:
    """Return *filestorage* if it may be written on in place: a file with no other name."""
    if filestorage.is_file() and filestorage.stat().st_nlink == 1:
        return filestorage
    return None


def _make_like(directory: Path, rights: Rights | None, files: Files) -> None:
    """Make the directory of a filestorage that is gone what it was; one that is there stays."""
    if rights is not None and not os.path.lexists(directory):
        files.make_directories(directory.parent)
        files.make_directory_like(directory, rights.as_status())

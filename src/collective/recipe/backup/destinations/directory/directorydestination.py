"""The destination in directories: the methods of the protocol, and the check for room."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from collective.recipe.backup import listings
from collective.recipe.backup.chronology import Clock
from collective.recipe.backup.destinations import Depth, Outcome, Reads, ownermarks
from collective.recipe.backup.destinations.directory.blobpart import BlobPart
from collective.recipe.backup.destinations.directory.blobstyles import BlobPlace
from collective.recipe.backup.destinations.directory.directorycontents import DirectoryContents
from collective.recipe.backup.destinations.directory.directoryhome import home_in
from collective.recipe.backup.destinations.directory.directorysettings import DirectorySettings
from collective.recipe.backup.destinations.livesource import check_source
from collective.recipe.backup.destinations.past import knows_any, shares_any
from collective.recipe.backup.errors import IntegrityError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import Place, Problem, RestorePoint, Source
from collective.recipe.backup.progress import Progress

if TYPE_CHECKING:
    from collective.recipe.backup.destinations.directory.directorybackup import DirectoryBackup
    from collective.recipe.backup.destinations.room import Need
    from collective.recipe.backup.restorepoints import Choice
    from collective.recipe.backup.states import State


class Directory:
    """The restore points of one source in a place on a file system; see Destination."""

    def __init__(
        self,
        source: Source,
        place: Place,
        settings: DirectorySettings,
        *,
        files: Files,
        progress: Progress,
    ) -> None:
        self.source = source
        self.home = home_in(source, place)
        self.whole_only = settings.repozo is not None  # which knows whole backups only
        self._place = place
        self._settings = settings
        self._files = files
        self._progress = progress
        blobs = None
        if source.blobstorage is not None and place.blobstorage is not None:
            workshop = BlobPlace(
                source=source.blobstorage,
                directory=place.blobstorage,
                files=files,
                progress=progress,
                named=settings.named,
            )
            blobs = BlobPart(workshop, settings.blobs)
        self._contents = DirectoryContents(place.filestorage, self.home.state, blobs)

    def opened(self) -> AbstractContextManager[None]:
        """Let each directory be read once."""
        return listings.kept()

    def prepare(self) -> None:
        """Check the source and make the directories."""
        check_source(self.source)
        with explained("cannot make the backup directory"):
            for directory in self._place.directories:
                self._files.make_directories(directory)

    def check_owner(self) -> None:
        """Refuse the directories of another site."""
        for _claim in self._claims():
            pass

    def claim(self) -> None:
        """Mark both directories as those of the source."""
        for claim in self._claims():
            claim.write(self._files)

    def _claims(self) -> Iterator[ownermarks.Claim]:
        """Yield what the mark in each directory is to say, each as soon as it may say so."""
        blobs = self._contents.blobs
        claim = ownermarks.claim(self._contents.directory, self.source, self._is_known)
        yield claim
        if blobs is not None and blobs.directory.is_dir():
            yield ownermarks.claim_blobs(
                blobs.directory, blobs.storage, self.source, claim.mark, self._has_blobs
            )

    def _is_known(self) -> bool:
        """Tell whether the filestorage has a transaction that the restore points know."""
        points, filestorage = self.restore_points(), self.source.filestorage
        return knows_any(filestorage, points) or shares_any(filestorage, points, self.open)

    def _has_blobs(self) -> bool:
        """Tell whether a restore point has its blobs in the directory."""
        return any(point.blobs and point.restorable for point in self.restore_points())

    def sweep(self) -> Iterator[str]:
        """Finish what runs that died left half done."""
        from collective.recipe.backup.destinations.directory import housekeeping

        return housekeeping.sweep(self._contents, self._files)

    @cached_property
    def _adding(self) -> DirectoryBackup:
        from collective.recipe.backup.destinations.directory.directorybackup import DirectoryBackup

        return DirectoryBackup(
            self.source,
            self._contents,
            self._settings,
            files=self._files,
            progress=self._progress,
        )

    def backup(
        self,
        now: datetime,
        *,
        clock: Clock | None = None,
        why_full: str = "",
        accept_changed: bool = False,
    ) -> Outcome:
        """Add a restore point if there is something new."""
        return self._adding.run(clock or Clock(now=now), why_full, accept_changed=accept_changed)

    def room_for_full(self) -> Iterable[Need]:
        """Return the room that a full backup takes."""
        return self._adding.room_for_full()

    def restore_points(self) -> Sequence[RestorePoint]:
        """Return the restore points, oldest first."""
        return self._contents.restore_points()

    def open(self, choice: Choice) -> State:
        """Return the state of *choice*."""
        from collective.recipe.backup.destinations.directory.directorystate import state_of

        return state_of(self._contents, choice, self._settings.repozo)

    def remove(
        self,
        points: Iterable[RestorePoint],
        *,
        certain: bool = False,  # noqa: ARG002  protocol
    ) -> str:
        """Remove the chains of which all restore points are among *points*."""
        from collective.recipe.backup.destinations.directory import housekeeping

        housekeeping.remove(self._contents, points, self._files)
        return ""

    def tidy(self, now: datetime) -> Iterator[str]:
        """Merge the incremental parts of each hour that is over at *now*."""
        from collective.recipe.backup.destinations.directory import housekeeping

        return housekeeping.merge_small(
            self._contents, now, files=self._files, progress=self._progress
        )

    def verify(
        self, depth: Depth, *, only: RestorePoint | None = None, reads: Reads | None = None
    ) -> Iterator[Problem]:
        """Yield problems; see Destination."""
        from collective.recipe.backup.destinations.directory.lostpoints import concerning
        from collective.recipe.backup.destinations.directory.verification import Verification

        contents = self._contents
        look = Verification(contents.directory, contents.blobs, self._progress)
        return concerning(look.problems(depth, only=only, reads=reads), contents.needs)

    def problem_of(self, error: IntegrityError) -> Problem:
        """Return what *error* means."""
        from collective.recipe.backup.destinations.directory.lostpoints import problem_of

        return problem_of(error, self._contents.needs())

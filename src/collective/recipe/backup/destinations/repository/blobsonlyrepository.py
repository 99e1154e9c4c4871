"""The destination of ``only_blobs`` in a repository: blobs alone, and what lies among them.

BlobsOnlyBackup stores them.  The other methods are those of a site with a filestorage.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from collective.recipe.backup.blobs.layout import blobs_in
from collective.recipe.backup.chronology import Clock
from collective.recipe.backup.destinations import Outcome
from collective.recipe.backup.destinations.repository.backingup import RepositoryBackup
from collective.recipe.backup.destinations.repository.repositorydestination import (
    RepositoryDestination,
)
from collective.recipe.backup.destinations.strangeblobs import strange_blobs
from collective.recipe.backup.errors import BackupError, IntegrityError, explained
from collective.recipe.backup.repository.opened import Repository


class BlobsOnlyRepository(RepositoryDestination):
    """The restore points of the blobs of one source in a repository; see Destination."""

    what = "blobstorage"

    def _check_source(self) -> None:
        if self.source.blobstorage is None or not self.source.blobstorage.is_dir():
            raise BackupError(
                "there is no blobstorage here",
                where=self.source.blobstorage or "",
                hint="correct blob_storage; is its disk mounted?",
            )

    def claim(self) -> None:
        """Do nothing: each backup compares the blobs, unless it is to accept others."""

    def _is_known(self) -> bool:
        """Tell whether the site has a blob of the newest restore point, if that has any."""
        from collective.recipe.backup.destinations.repository.pointblobs import stored_blobs

        root = self.source.blobstorage
        assert root is not None  # noqa: S101  else it is none of blobs alone
        with explained("cannot read the blobstorage", root), self._repository() as repository:
            sound = [each.point for each in self._listed(repository) if each.shown.sound]
            newest = next((point for point in reversed(sound) if point is not None), None)
            # a damaged one tells nothing; the backup mends it
            with suppress(IntegrityError):
                stored = None if newest is None else stored_blobs(repository, newest, None)
                if stored is not None and not any(map(stored.has, blobs_in(root))):
                    return next(stored.files(), None) is None
        return True

    def backup(
        self,
        now: datetime,
        *,
        clock: Clock | None = None,
        why_full: str = "",
        accept_changed: bool = False,
    ) -> Outcome:
        """Add a restore point if there is something new; see Destination.

        Raises ConfigurationError if the site has no blob of the newest one and *accept_changed*
        is not set.
        """
        if not accept_changed and not self._is_known():
            raise strange_blobs(self.source.blobstorage)
        return super().backup(now, clock=clock, why_full=why_full, accept_changed=accept_changed)

    def _backup(self, repository: Repository) -> RepositoryBackup:
        with repository.unlocking():
            from collective.recipe.backup.destinations.repository.blobsonlybackup import (
                BlobsOnlyBackup,
            )
        return BlobsOnlyBackup(repository, self.source, self._place)

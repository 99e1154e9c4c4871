"""The destination of ``only_blobs`` in a repository: blobs alone, and what lies among them.

BlobsOnlyBackup stores them.  The other methods are those of a site with a filestorage.
"""

from __future__ import annotations

from itertools import islice

from collective.recipe.backup.blobs.layout import blobs_in
from collective.recipe.backup.destinations.repository.backingup import RepositoryBackup
from collective.recipe.backup.destinations.repository.repositorydestination import (
    RepositoryDestination,
)
from collective.recipe.backup.errors import BackupError, IntegrityError, explained
from collective.recipe.backup.repository.opened import Repository

_A_FEW = 100
"""Blobs of which one must be known; where there are fewer, all may have been replaced."""


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

    def _is_known(self) -> bool:
        """Tell whether the newest restore point holds one of the first blobs of the source."""
        from collective.recipe.backup.destinations.repository.blobs import stored_blobs

        root = self.source.blobstorage
        assert root is not None  # noqa: S101  else it is none of blobs alone
        with explained("cannot read the blobstorage", root), self._repository() as repository:
            first = list(islice(blobs_in(root), _A_FEW))
            sound = [each.point for each in self._listed(repository) if each.shown.sound]
            newest = next((point for point in reversed(sound) if point is not None), None)
            if newest is None or not first:
                return True
            try:
                stored = stored_blobs(repository, newest, None)
                if stored is None or any(map(stored.has, first)):
                    return True
            except IntegrityError:  # a damaged one tells nothing; the backup mends it
                return True
            if len(first) == _A_FEW:
                return False
            repository.tell(
                "the blobs here are all others than those of the newest restore point: if this is "
                "another site, give it a site_name of its own"
            )
            return True

    def _backup(self, repository: Repository) -> RepositoryBackup:
        with repository.unlocking():
            from collective.recipe.backup.destinations.repository.blobsonlybackup import (
                BlobsOnlyBackup,
            )
        return BlobsOnlyBackup(repository, self.source, self._place)

"""The checks of every backup on a live source: is it there, and who owns it?"""

from __future__ import annotations

import os
from pathlib import Path

from collective.recipe.backup.errors import BackupError, explained
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.model import BLOBSTORAGE, DIRECTORY, FILESTORAGE, Source
from collective.recipe.backup.rights import Rights, rights_of


def check_source(source: Source) -> None:
    """Raise BackupError if the filestorage or the blobstorage of *source* is not there."""
    with TransactionLog(source.filestorage):
        pass  # its absence or damage is the first thing to tell
    blobs = source.blobstorage
    if blobs is not None and not blobs.is_dir():
        raise BackupError(
            "there is no blobstorage here",
            where=blobs,
            hint="correct blob_storage, or set backup_blobs = false if there are no blobs",
        )


def rights_in(filestorage: Path, blobstorage: Path | None) -> dict[str, Rights]:
    """Return the rights of the sources, by kind; see RestorePoint."""
    filestorage = Path(os.path.realpath(filestorage))
    with explained("cannot look at the permissions", filestorage):
        found = {FILESTORAGE: rights_of(filestorage), DIRECTORY: rights_of(filestorage.parent)}
        if blobstorage is not None:
            found[BLOBSTORAGE] = rights_of(blobstorage)
    return found

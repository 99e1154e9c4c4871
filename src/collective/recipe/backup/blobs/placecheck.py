"""May blobs be copied from here to there?"""

from __future__ import annotations

import os
from pathlib import Path

from collective.recipe.backup.errors import BackupError


def check_places(source: Path, directory: Path) -> None:
    """Raise BackupError unless the blobstorage *source* can be backed up to *directory*."""
    if not source.is_dir():
        raise BackupError(
            "there is no blobstorage here",
            where=source,
            hint="is blob_storage right, and is its disk mounted?",
        )
    if Path(os.path.realpath(directory)).is_relative_to(os.path.realpath(source)):
        raise BackupError(
            "the backups would lie in the blobstorage that they are made of",
            where=directory,
            hint="choose a directory elsewhere, on another disk if there is one",
        )

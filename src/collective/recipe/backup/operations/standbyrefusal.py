"""A standby is no site: none to be backed up, and none to be restored over.

Each backup asks, so this imports little.
"""

from __future__ import annotations

import os
from pathlib import Path

from collective.recipe.backup.errors import ConfigurationError, UsageError
from collective.recipe.backup.model import Source
from collective.recipe.backup.restoring import standbymark


def refuse_standby(source: Source) -> None:
    """Raise ConfigurationError if the data of *source* are a standby of a site.

    Its restore points would be taken for those of the site that it follows.
    """
    mark = standbymark.read(Path(os.path.realpath(source.filestorage)))
    if mark is not None and mark.promoted is None:
        raise ConfigurationError(
            f"this is a standby of {mark.source}: it is not backed up itself",
            where=source.filestorage,
            hint="back up the site that it follows; if it has taken its place, standby --promote "
            "makes it a site",
        )


def refuse_restore_over(filestorage: Path) -> None:
    """Raise UsageError if *filestorage* is a standby: it follows its backups by itself."""
    mark = standbymark.read(Path(os.path.realpath(filestorage)))
    if mark is not None and mark.promoted is None:
        raise UsageError(
            f"this is a standby of {mark.source}: a restore would take it to another moment",
            where=filestorage,
            hint="restore to another directory; standby --promote makes a site of this one, which "
            "can be restored over",
        )

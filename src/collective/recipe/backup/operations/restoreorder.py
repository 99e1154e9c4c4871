"""The order of a user for a restore, and the job that it means for each source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import RestorePoint, Source
from collective.recipe.backup.restorepoints import Choice
from collective.recipe.backup.times import When


@dataclass(frozen=True, kw_only=True)
class RestoreOrder:
    """The moment to restore, the parts of it, and the target."""

    when: When | None = None  # the moment, or the last transaction; None: the newest
    filestorage: bool = True  # whether to restore the filestorages
    blobstorage: bool = True  # whether to restore the blobs
    to: Path | None = None  # a directory; None: the live site
    all_blobs: bool = False  # whether no blob is taken from the live site
    keep_caches: bool = False  # whether caches of ZEO clients stay, whatever these know
    follows: bool = False  # whether it is a round of a standby, which goes on by itself
    further: bool = True  # whether further files are written, if it goes to a directory


@dataclass(frozen=True, kw_only=True)
class Job:
    """One source to restore: the restore point, and the live paths."""

    destination: Destination  # that has the restore point
    choice: Choice  # the restore point, and where to cut it
    target: Source  # paths to restore to
    when: When | None = None  # the requested moment, as in RestoreOrder
    points: Sequence[RestorePoint] = ()  # all that there are
    newer: Sequence[RestorePoint] = ()
    """Data after it that dead runs left, which are no restore points yet."""

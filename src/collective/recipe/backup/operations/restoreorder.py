"""What a restore is asked for, and what that comes to for each source."""

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
    """What is to be restored, which parts of it, and where to."""

    when: When | None = None  # the moment, or the last transaction; None: the newest
    filestorage: bool = True
    blobstorage: bool = True
    to: Path | None = None  # a directory; None: the live site
    keep_caches: bool = False  # whether caches of ZEO clients stay, whatever these know
    further: bool = True  # whether further files are written, if it goes to a directory


@dataclass(frozen=True, kw_only=True)
class Job:
    """One source to restore: from where, what, and to which live names."""

    destination: Destination
    choice: Choice
    target: Source
    when: When | None = None  # what was asked for, as in Order
    points: Sequence[RestorePoint] = ()  # all that there are
    newer: Sequence[RestorePoint] = ()  # what runs that died left after it: no restore points yet

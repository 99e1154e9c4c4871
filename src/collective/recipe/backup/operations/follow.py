"""Following: the backup, started by growth instead of by cron.

Each interval looks whether a filestorage has grown or was replaced, which costs one stat
of it; if so, a backup runs as it would from cron, with its locks but without the hooks,
which belong to the whole time of following.  When an hour is over, its small deltas are
merged into one.

What passes by itself is waited for: another run that holds the lock, a filestorage that is
not there for the moment of a pack.  Every other failure ends the following, as it would end
a backup; whoever supervises it starts it again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from collective.recipe.backup.errors import InUse
from collective.recipe.backup.operations.backup import back_up_now, merge_now
from collective.recipe.backup.operations.run import Run, hooks

logger = logging.getLogger("backup")

Look = tuple[tuple[int, int, int], ...]
"""Device, inode and size of each filestorage."""


class Pace(Protocol):
    """The clock of following, and its end."""

    def now(self) -> datetime:
        """Return the present moment."""

    def wait(self) -> bool:
        """Wait for one interval; return False as soon as following is to end."""


def follow(run: Run, pace: Pace, *, tell: Callable[[str], None]) -> None:
    """Back up whenever a source has changed, until *pace* ends.

    *tell* is told when following has begun, and each restore point that it makes.
    """
    with hooks(run):
        backed_up: Look | None = None
        merged = ""
        tell("following")
        while True:
            now = replace(run, now=pace.now())
            look = _look(run)
            try:
                if look is not None and look != backed_up:
                    for outcome in back_up_now(now, full=False):
                        if outcome.changed:
                            tell(f"restore point {outcome.point.stamp}")
                    backed_up = look
                if merged != _hour(now.now):
                    merge_now(now, before=_hour(now.now))
                    merged = _hour(now.now)
            except InUse as error:
                logger.info("waiting: %s", error)
            if not pace.wait():
                return


def _look(run: Run) -> Look | None:
    """Return what the filestorages look like, None if one is not there just now."""
    try:
        found = [source.filestorage.stat() for source in run.config.sources]
    except FileNotFoundError as error:
        logger.warning("waiting for the filestorage: %s", error.filename)
        return None
    return tuple((status.st_dev, status.st_ino, status.st_size) for status in found)


def _hour(moment: datetime) -> str:
    """Return the stamp of the beginning of the hour of *moment*."""
    return f"{moment:%Y-%m-%d-%H}-00-00"

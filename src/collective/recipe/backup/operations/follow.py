"""Following: the backup, started by growth instead of by cron.

Each interval looks whether a filestorage has grown or was replaced, which costs one stat
of it; if so, a backup runs as it would from cron, with its locks but without the hooks,
which belong to the whole time of following.  It runs again as long as bytes at the end of a
filestorage belong to no complete transaction: the last byte that completes one makes no
file grow.  When an hour is over, what was stored in small pieces is put together.

What passes by itself is waited for: another run that holds the lock, a filestorage that is
not there for the moment of a pack.  Every other failure ends the following, as it would end
a backup; whoever supervises it starts it again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from collective.recipe.backup.destinations import Outcome
from collective.recipe.backup.errors import InUse
from collective.recipe.backup.history import BEAT, FOLLOW
from collective.recipe.backup.operations.backup import back_up_now, tidy_now
from collective.recipe.backup.operations.hooks import beat, goes_on, hooks_around
from collective.recipe.backup.operations.preloading import import_all_rooms
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.times import beginning_of_hour

logger = logging.getLogger("backup")

Look = tuple[tuple[int, int, int], ...]
"""Device, inode and size of each filestorage."""


class FollowClock(Protocol):
    """The clock of following, and its end."""

    def now(self) -> datetime:
        """Return the present moment."""

    def wait(self) -> bool:
        """Wait for one interval; return False as soon as following is to end."""


def follow(run: Run, pace: FollowClock, *, tell: Callable[[str], None]) -> None:
    """Back up whenever a source has changed, until *pace* ends.

    *tell* is told when following has begun, and each restore point that it makes.
    """
    run = replace(run, verb=FOLLOW)
    import_all_rooms()
    with hooks_around(run):
        following = _Following(run, tell)
        tell("following")
        while True:
            now = pace.now()
            try:
                following.look(now)
            except InUse as error:
                logger.info("waiting: %s", error)
            if not pace.wait():
                return


class _Following:
    """What has been done so far."""

    def __init__(self, run: Run, tell: Callable[[str], None]) -> None:
        self._run = run
        self._tell = tell
        self._backed_up: Look | None = None
        self._is_put_down = False
        self._tidied: datetime | None = None  # the hour
        self._seen = run.now
        self._last_beat = run.now - BEAT

    def look(self, now: datetime) -> None:
        """Do what there is to do at *now*.  Raises InUse while another run is at work."""
        run = replace(self._run, verb="backup", now=now, following=True, seen=(self._seen,))
        self._seen = now
        look = _look(run)
        if look is not None and look != self._backed_up:
            outcomes = back_up_now(run)
            if not self._is_put_down:
                goes_on(self._run)
                self._is_put_down = True
            for outcome in outcomes:
                if outcome.changed:
                    self._tell(f"restore point {outcome.point.stamp}")
            self._backed_up = look if _has_all(outcomes, look) else None
        if self._tidied != beginning_of_hour(now):
            tidy_now(run)
            self._tidied = beginning_of_hour(now)
        # also where the clock has gone back: silence would be taken for a failure
        if look is not None and not timedelta(0) <= now - self._last_beat < BEAT:
            beat(run)
            self._last_beat = now


def _look(run: Run) -> Look | None:
    """Return what the filestorages look like, None if one is not there just now."""
    try:
        found = [source.filestorage.stat() for source in run.config.sources]
    except FileNotFoundError as error:
        logger.warning("waiting for the filestorage: %s", error.filename)
        return None
    return tuple((status.st_dev, status.st_ino, status.st_size) for status in found)


def _has_all(outcomes: Sequence[Outcome], look: Look) -> bool:
    """Tell whether the restore points reach to where the filestorages ended."""
    ends = (outcome.point.end for outcome in outcomes)
    # 0 where blobs alone are backed up
    return all(not end or end >= size for end, (*_file, size) in zip(ends, look, strict=True))

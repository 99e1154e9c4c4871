"""Following: the backup, started by growth instead of by cron.

Each interval looks whether a filestorage has grown or was replaced, which costs one stat of it; if
so, a backup runs as it would from cron, with its locks but without the hooks, which belong to the
whole time of following.  It runs again as long as bytes at the end of a filestorage belong to no
complete transaction: the last byte that completes one makes no file grow.  When an hour is over,
its small pieces are merged.  All of this happens for each place of the backups by itself.

Some failures pass by themselves, and following waits: another run holds the lock, a pack has moved
the filestorage away for a moment, a store cannot be reached.  Every other failure ends the
following, as it would end a backup; the service manager starts it again.  With several places, a
failure of one stops no other: it is reported, noted, and tried again after a while, and the end of
the following repeats it if it has not passed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from collective.recipe.backup.destinations import Outcome
from collective.recipe.backup.errors import (
    BackupError,
    Interrupted,
    InUse,
    StoreUnreachable,
    from_os_error,
)
from collective.recipe.backup.history import BEAT, FOLLOW
from collective.recipe.backup.operations.backup import back_up_now, tidy_now
from collective.recipe.backup.operations.everyplace import tell_failure
from collective.recipe.backup.operations.hooks import (
    Account,
    beat,
    goes_on,
    hooks_around,
    put_down_failure,
)
from collective.recipe.backup.operations.preloading import import_all_rooms
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.times import beginning_of_hour

logger = logging.getLogger("backup")

AGAIN = timedelta(minutes=1)
"""A place that failed is tried again after so long."""

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

    *tell* is called when following has begun, and with each new restore point.
    """
    run = replace(run, verb=FOLLOW)
    import_all_rooms()
    with hooks_around(run) as account:
        following = _Following(run, tell)
        tell("following")
        while True:
            now = pace.now()
            try:
                following.look(now)
            except InUse as error:
                logger.info("waiting: %s", error)
            if not pace.wait():
                return following.end(account)


class _Place:
    """A place that is backed up to, with the results so far."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.failure: BackupError | None = None  # that of the last try
        self._tried: datetime | None = None  # when it failed last
        self._backed_up: Look | None = None
        self._tidied: datetime | None = None  # the hour

    def may_try(self, now: datetime) -> bool:
        """Tell whether enough time has passed since it failed, also if the clock goes back."""
        return self._tried is None or not timedelta(0) <= now - self._tried < AGAIN

    def step(self, run: Run, look: Look | None) -> list[Outcome]:
        """Do what is due for *run*, which is for this place; return the outcomes of backups."""
        outcomes: list[Outcome] = []
        if look is None and self.failure is not None:
            return outcomes  # whether it would go well is not known
        if look is not None and look != self._backed_up:
            outcomes = back_up_now(run, in_any_case=self.failure is not None)
            self._backed_up = look if _has_all(outcomes, look) else None
        if self._tidied != beginning_of_hour(run.now):
            tidy_now(run)
            self._tidied = beginning_of_hour(run.now)
        if self.failure is not None:
            logger.info("%s: following goes on", run.title)
        self.failure = self._tried = None
        return outcomes

    def failed(self, run: Run, error: BackupError) -> None:
        """Note that *run* has failed here; a failure that was reported already is not repeated."""
        if self.failure is None or str(self.failure) != str(error):
            tell_failure(error)
            logger.info("%s: it is tried again each minute", run.title)
            put_down_failure(run, error)
        # the state of the place is unknown then
        self.failure, self._tried, self._backed_up = error, run.now, None


class _Following:
    """The state of the following."""

    def __init__(self, run: Run, tell: Callable[[str], None]) -> None:
        self._run = run
        self._tell = tell
        self._places = [_Place(each) for each in (run.beside if run.everywhere else (run,))]
        self._is_put_down = False
        self._seen = run.now
        self._last_beat = run.now - BEAT

    def look(self, now: datetime) -> None:
        """Do what there is to do at *now*.

        Raises InUse while another run is at work, once each other place had its turn.
        """
        seen, self._seen = self._seen, now
        look, busy = _look(self._run), None
        for place in self._places:
            if place.may_try(now):
                run = replace(place.run, verb="backup", now=now, following=True, seen=(seen,))
                try:
                    self._step(place, run, look)
                except InUse as error:
                    busy = busy or error
        if busy is not None:
            raise busy
        # also where the clock has gone back: silence would be taken for a failure
        beats = look is not None and not any(place.failure for place in self._places)
        if beats and not timedelta(0) <= now - self._last_beat < BEAT:
            beat(self._run)
            self._last_beat = now

    def _step(self, place: _Place, run: Run, look: Look | None) -> None:
        try:
            outcomes = place.step(run, look)
        except (InUse, Interrupted):
            raise
        except (BackupError, OSError) as error:
            failure = error if isinstance(error, BackupError) else from_os_error(error)
            if not isinstance(failure, StoreUnreachable) and len(self._places) == 1:
                raise
            place.failed(run, failure)
            return
        if outcomes and not self._is_put_down:
            goes_on(self._run)
            self._is_put_down = True
        where = f" in {run.name}" if len(self._places) > 1 else ""
        for outcome in outcomes:
            if outcome.changed:
                self._tell(f"restore point {outcome.point.stamp}{where}")

    def end(self, account: Account) -> None:
        """Say in *account* how each place was in the end.  Raises what failed last, if any."""
        for place in self._places:
            here = Account()
            if place.failure is not None:
                here.found_wrong(place.failure)
            if len(self._places) > 1:
                account.places[place.run.label] = here.result(0.0)
        for place in self._places:
            if place.failure is not None:
                raise place.failure


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

"""The past in the restore points of a directory: which moments they have, also after a restore.

The rules are in lineage; this room applies them to the log, the restore points and the note of the
last restore.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from collective.recipe.backup import restored
from collective.recipe.backup.chronology import Clock
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.format import MAGIC_SIZE
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.logcut import LogEnd
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.lineage import (
    KnownTransactions,
    Restored,
    begun,
    continued,
    is_cut_off,
    of_restore,
)
from collective.recipe.backup.model import Hole, RestorePoint
from collective.recipe.backup.restorepoints import Choice
from collective.recipe.backup.times import ZERO_TID, Tid, moment_of, stamp

if TYPE_CHECKING:
    from collective.recipe.backup.states import State

LOOKED_BACK = 1000
"""Transactions at the end of a log that are looked at before all of it is."""


class Ordered(NamedTuple):
    """The last transactions of a log, each of which is later than all before it."""

    begin: int  # offset of the first
    end: int  # offset at which the last ends


@dataclass(frozen=True, kw_only=True)
class PastOfPoint:
    """The past of one restore point; see RestorePoint for the meanings."""

    since: Tid | None  # earliest transaction at which it can be cut; None: unknown
    holes: tuple[Hole, ...] = ()  # spans of transactions that it does not know
    stays: tuple[str, ...] = ()
    """Stamps of chains that stay as long as this restore point is the newest."""
    is_strange: bool = False  # history is cut off, and no restore is known that did it


class Past:
    """The past of *filestorage*, as far as its log and the restore points in *directory* know it.

    *points* returns these, if they are needed.
    """

    def __init__(
        self,
        filestorage: Path,
        directory: Path,
        points: Callable[[], Iterable[RestorePoint]],
        clock: Clock,
    ) -> None:
        self.clock = clock
        self._filestorage = Path(os.path.realpath(filestorage))
        self._directory = os.path.realpath(directory)
        self._points = points
        self.problem = ""
        """Why the note of the last restore cannot be used; "": it can, or was not read yet."""

    @cached_property
    def _noted(self) -> Restored | None:
        """Return the note of the last restore, None if there is none to be used."""
        try:
            noted = restored.read(self._filestorage)
        except IntegrityError as error:
            self.problem = f"{error} ({error.hint})"
            return None
        if noted is None or noted.directory == self._directory:
            return noted
        # of the restore points here only the clock tells whether they were made before
        return replace(noted, newest="")

    def why_full(self, newest: RestorePoint | None) -> str:
        """Return why a new chain must follow *newest* if that is because of a restore, else ""."""
        if newest is None or newest.tid is None:
            return ""
        with TransactionLog(self._filestorage) as log:
            if ends_in(log, newest):
                return ""
            cut = _CutLog(log, log.end().packed or ZERO_TID)
            if not is_cut_off(cut, newest):
                return ""
            noted = of_restore(cut, newest, self._noted)
            if noted is not None:
                return f"because of the restore at {stamp(noted.when)}"
            last = cut.last_at(newest.tid)
        return "because of a restore to an earlier state" + _of(last)

    def begin(
        self, log: TransactionLog, chain: str, packed: Tid | None, ordered: Ordered | None = None
    ) -> PastOfPoint:
        """Return what a restore point out of *log* tells that begins the *chain* of that stamp.

        *packed* is the last transaction that a pack rewrote: ZERO_TID for none, None for unknown.
        *ordered* transactions, if any are known, are looked at from the end on.
        """
        known = (point for point in self._points() if point.chain < chain and point.tid)
        earlier = sorted(known, key=lambda point: point.age)
        before = earlier[-1] if earlier else None
        cut = _CutLog(log, packed, before, ordered)
        shared = partial(_shared, log, earlier)
        found = begun(cut, before, self._noted, self.clock.now, shared)
        is_cut = is_cut_off(cut, before)
        return PastOfPoint(
            since=found.since,
            holes=found.holes,
            stays=self._stays(found.restored, before, is_cut=is_cut),
            is_strange=is_cut and found.restored is None,
        )

    def go_on(self, log: TransactionLog, before: RestorePoint, packed: Tid | None) -> PastOfPoint:
        """Return what the restore point after *before* tells, in the same chain.

        *packed* is as in ``begin``.
        """
        holes = continued(_CutLog(log, packed, before), before, self._noted, self.clock.now)
        return PastOfPoint(since=before.since, holes=holes, stays=before.stays)

    def _stays(
        self, noted: Restored | None, before: RestorePoint | None, *, is_cut: bool
    ) -> tuple[str, ...]:
        """Return the chains that may be wanted after all, if the restore was a mistake."""
        chains = []
        if noted is not None and noted.directory == self._directory:
            chains.append(noted.chain)
        if before is not None and is_cut:
            chains.append(before.chain)
        return tuple(sorted(set(chains)))


def knows_any(filestorage: Path, points: Sequence[RestorePoint]) -> bool:
    """Tell whether *filestorage* has a transaction that *points* know; so it has if none do."""
    tids = {tid for point in points for tid in (point.since, point.tid) if tid}
    with TransactionLog(filestorage) as log:
        # until a pack each transaction keeps its place, and a large log need not be read whole
        if not tids or any(ends_in(log, point) for point in reversed(points)):
            return True
        # after a pack the last ones are known, but for those that are newer than all points
        with suppress(IntegrityError):  # a transaction that is being written may follow
            if any(each.tid in tids for each in islice(log.backwards(log.size), LOOKED_BACK)):
                return True
        return any(each.tid in tids for each in log.transactions())


def shares_any(
    filestorage: Path, points: Sequence[RestorePoint], opened: Callable[[Choice], State]
) -> bool:
    """Tell whether *filestorage* has any transaction that the newest sound one of *points* has.

    A pack may have dropped all that ``knows_any`` looks for, even if little else has changed.
    Damaged restore points are passed over.
    """
    for point in sorted(points, key=lambda each: each.age, reverse=True):
        if point.sound:
            with suppress(IntegrityError), opened(Choice(point=point)) as state:
                if state.log is not None:
                    with TransactionLog(filestorage) as log:
                        return _have_common(log, state.log)
    return False


def _have_common(log: Log, other: Log) -> bool:
    """Tell whether two logs have a transaction in common; both are taken to be in order."""
    mine, theirs = (iter(each.tid for each in it.transactions()) for it in (log, other))
    left, right = next(mine, None), next(theirs, None)
    while left is not None and right is not None and left != right:
        if left < right:
            left = next(mine, None)
        else:
            right = next(theirs, None)
    return left is not None and left == right


def ends_in(log: TransactionLog, point: RestorePoint) -> bool:
    """Tell whether *log* has the last transaction of *point* at the same place."""
    try:
        last = log.before(point.end)
    except IntegrityError:
        return False
    return last is not None and last.tid == point.tid


def _shared(log: TransactionLog, points: Sequence[RestorePoint]) -> RestorePoint | None:
    return next((point for point in reversed(points) if ends_in(log, point)), None)


def _of(last: Tid | None) -> str:
    try:
        return f", that of {stamp(moment_of(last))}" if last else ""
    except ValueError:  # a tid that is no time
        return ""


class _CutLog(KnownTransactions):
    """Answers the questions of ``lineage`` about a filestorage.  Each answer is kept.

    If the log ends in that of the restore point *before*, the search begins at the end of that.
    The last of the *ordered* transactions are tried first, since they need no search.
    """

    def __init__(
        self,
        log: TransactionLog,
        packed: Tid | None,
        before: RestorePoint | None = None,
        ordered: Ordered | None = None,
    ) -> None:
        self.packed = packed
        self._ordered = ordered
        self._log = log
        self._start = before.end if before is not None and ends_in(log, before) else MAGIC_SIZE
        self._cuts: dict[Tid, LogEnd] = {}

    def last_at(self, tid: Tid) -> Tid | None:
        return self._cut(tid).tid

    def first_after(self, tid: Tid | None) -> Tid | None:
        start = () if tid is None else (self._cut(tid).offset,)
        first = next(self._log.transactions(*start), None)
        return first.tid if first else None

    def _cut(self, tid: Tid) -> LogEnd:
        if tid not in self._cuts:
            self._cuts[tid] = self._near_end(tid) or self._log.cut(tid, self._start)
        return self._cuts[tid]

    def _near_end(self, tid: Tid) -> LogEnd | None:
        """Return the end of the last transaction at or before *tid*; None: it is not that near."""
        if self._ordered is None:
            return None
        for each in islice(self._log.backwards(self._ordered.end), LOOKED_BACK):
            if each.begin < self._ordered.begin:
                return None
            if each.tid <= tid:
                return LogEnd(each.end, each.tid, each.begin)
        return None

"""The sentences of a backup to a directory: its result, and remarks on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.chronology import Clock
from collective.recipe.backup.destinations.directory.directorycontents import DirectoryContents
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.repozo.backuporder import Taken
from collective.recipe.backup.times import stamp

if TYPE_CHECKING:
    from collective.recipe.backup.blobs.copied import Copied


def summary(taken: Taken, copied: Copied | None) -> str:
    """Return in a sentence what a backup did."""
    if not taken.changed:
        words = f"filestorage unchanged since {taken.stamp}"
    else:
        kind = "full" if taken.full else "incremental"
        words = f"filestorage {kind} {taken.stamp}: {taken.end - taken.start:,} bytes"
        if taken.reason:
            words += f" ({taken.reason})"
    if copied is not None:
        words += f"; blobs: {copied}"
    return words


def replaced(log: TransactionLog, taken: Taken, contents: DirectoryContents) -> tuple[str, ...]:
    """Say that the filestorage was replaced: no transaction is left of the earlier backup.

    After a pack some are left.
    """
    if taken.stamp != taken.chain:
        return ()
    points = contents.restore_points()
    earlier = (point for point in points if point.chain < taken.chain and point.tid)
    last = max(earlier, key=lambda point: point.age, default=None)
    first = next(log.transactions(), None)
    if last is None or last.tid is None or (first is not None and first.tid <= last.tid):
        return ()
    return (
        f"the filestorage has no transaction that is as old as the restore point {last.stamp}: "
        "if it was lost, and made anew in its place, restore that one before keep removes it",
    )


def strangely_named(taken: Taken, clock: Clock) -> tuple[str, ...]:
    """Say that a restore point is not named after the present moment, which is in doubt."""
    if clock.leapt_from is None or not taken.changed or taken.stamp >= stamp(clock.now):
        return ()
    return (f"the restore point is called {taken.stamp}, though the clock says {stamp(clock.now)}",)


def not_in_order(taken: Taken) -> Iterator[str]:
    """Yield a note on transactions that are not later than one before them."""
    if taken.reductions:
        count = number_of(
            taken.reductions,
            "transaction of the filestorage has",
            "transactions of the filestorage have",
        )
        yield (
            f"{count} an id that is not later "
            "than one before: ZODB opens it all the same, warns of a time-stamp reduction, and "
            "it is backed up whole"
        )

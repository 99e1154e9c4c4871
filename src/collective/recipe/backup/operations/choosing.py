"""The choice of a restore point, and the words about it if a better one is damaged.

The user decides: a restore never takes an older restore point than the requested one by itself.  If
that one is damaged, the error names the alternatives, each with its command.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.model import RestorePoint
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.restorepoints import Choice, choose, newest_before, passed_over
from collective.recipe.backup.times import When

logger = logging.getLogger("backup")


def choice_of(
    run: Run, destination: Destination, when: When | None, points: Sequence[RestorePoint]
) -> Choice:
    """Return which of *points*, all of *destination*, gives the state at *when*.

    None is the newest state that there is.

    Raises NoRestorePoint; or IntegrityError, with the name of an older one, if a newer one is
    damaged: only the user can tell whether the older one will do.
    """
    choice = (newest_before if destination.whole_only else choose)(points, when)
    damaged = passed_over(points, when, choice)
    if not damaged:
        return choice
    last, command = damaged[-1], run.restore_command
    hint = f"{command} {choice.point.stamp} restores the newest that is whole as far as known"
    if last.restorable:
        hint += f"; {command} {last.stamp} tries the damaged one all the same"
    raise IntegrityError(
        f"the newest restore point, {last.stamp}, cannot be relied on: {'; '.join(last.problems)}",
        hint=hint,
    )


def warn_of_later(choice: Choice, when: When | None, filestorage: Path) -> None:
    """Warn if *filestorage* has later transactions, up to *when*, than the backups.

    A user who wants the state just before a mistake of today would get that of last night.
    """
    point = choice.point
    late = isinstance(when, datetime) and choice.until is None and when > point.moment
    if not late or point.tid is None:
        return
    with suppress(BackupError, OSError), TransactionLog(filestorage) as log:
        last = log.before(log.size)
        if last is not None and last.tid > point.tid:
            logger.warning(
                "the site has transactions that are later than %s and in no backup: run the "
                "backup first, and the state at that moment can be restored",
                point.stamp,
            )


@contextmanager
def alternative_named(
    run: Run, destination: Destination, choice: Choice, points: Sequence[RestorePoint]
) -> Iterator[None]:
    """Add to the hint of an IntegrityError what can be restored in the place of *choice*."""
    try:
        yield
    except IntegrityError as error:
        lost = {choice.point.stamp, *destination.problem_of(error).points}
        earlier = [
            point
            for point in points
            if point.sound and point.age < choice.point.age and point.stamp not in lost
        ]
        hint = "no earlier restore point is whole"
        if earlier:
            last = max(earlier, key=lambda point: point.age)
            command = f"{run.restore_command} {last.stamp}"
            hint = f"{command} restores the newest before it that is whole as far as known"
        anew = "if the site is still there, a backup with --full begins anew"
        error.hint = "; ".join(filter(None, [error.hint, hint, anew]))
        raise

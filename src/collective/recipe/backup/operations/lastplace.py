"""The last object at a path, which may be gone from the site by now.

Changes nothing.  A path is looked for in the newest state first, and then in the restore points
before it: of what was made and deleted between two of them, no path is found.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from collective.recipe.backup.errors import NoRestorePoint, UsageError, printable
from collective.recipe.backup.model import MAIN, RestorePoint
from collective.recipe.backup.objects.current import Objects
from collective.recipe.backup.objects.paths import Location, place_of
from collective.recipe.backup.operations.objects import log_of, storage_number
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.restorepoints import Choice, choose, newest
from collective.recipe.backup.times import Tid, tid_at
from collective.recipe.backup.transactions.coverage import EVERYTHING, Stretch

logger = logging.getLogger("backup")


@contextmanager
def last_place(
    run: Run, path: str, stretch: Stretch = EVERYTHING, storage: str = MAIN
) -> Iterator[tuple[Objects, Location]]:
    """Yield the last object at *path* within *stretch*, by all backups.

    Says which restore point has it, unless that is the newest.  Raises UsageError if the path leads
    nowhere in any of them, or there is no such storage; NoRestorePoint; and IntegrityError for
    damage.
    """
    number = storage_number(run, storage)
    refused: UsageError | None = None
    with ExitStack() as stack:
        destination = stack.enter_context(run.opened())[number]
        points = destination.restore_points()
        for choice in _choices(points, stretch):
            with destination.open(choice) as state:
                objects = Objects(log_of(state))
                try:
                    place = place_of(objects, path)
                except UsageError as error:
                    refused = refused or error
                    continue
                if refused is not None:
                    stamp = choice.point.stamp
                    logger.info("%s: this is what was there in %s", printable(path), stamp)
                yield objects, place
                return
    if refused is None:
        choose(points, stretch.last)  # says why there is nothing to look into
    raise UsageError(
        f"{refused}, nor in any restore point before",
        hint="of what was made and deleted between two restore points, --until takes a moment at "
        "which it was there; log --grep finds the transactions that name it",
    )


def _choices(points: Sequence[RestorePoint], stretch: Stretch) -> Iterator[Choice]:
    """Yield the state at the end of *stretch*, and then each that a restore point has before.

    The last of them is as the site was when the stretch began, or before.
    """
    newest(points)  # refuses where there is none
    with suppress(NoRestorePoint):
        yield choose(points, stretch.last)
    seen: Tid | None = None
    for point in sorted(points, key=lambda each: each.age, reverse=True):
        end = tid_at(point.moment) if point.tid is None else point.tid
        if not point.sound or end == seen or end > stretch.last:
            continue
        yield Choice(point=point)
        seen = end
        if end < stretch.first:
            return

"""The note that a restore leaves for later backups; see the room restored."""

from __future__ import annotations

from collections.abc import Sequence

from collective.recipe.backup.config import ALTERNATIVE
from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.lineage import Restored
from collective.recipe.backup.model import RestorePoint
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.restorepoints import Choice, known_until
from collective.recipe.backup.times import Tid


def restored_of(
    run: Run,
    destination: Destination,
    choice: Choice,
    points: Sequence[RestorePoint],
    tid: Tid | None,
) -> Restored:
    """Return what to note of *choice* out of *points* of *destination*, which ends with *tid*."""
    ours = (point for point in points if point.tid is not None)
    newest = max(ours, key=lambda point: point.age, default=None)
    return Restored(
        when=run.now,
        own=run.destination != ALTERNATIVE,
        directory=destination.home.identity,
        chain=choice.point.chain,
        newest=newest.stamp if newest else "",
        tid=tid,
        until=known_until(choice),
        since=choice.point.since,
        holes=choice.point.holes,
    )

"""The list: restore points, and the moments that can be restored.  Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.destinations.homes import Home
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import RestorePoint, Source
from collective.recipe.backup.operations import missingdisk
from collective.recipe.backup.operations.damagememory import warn_of_forgotten
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.restorepoints import Range, ranges


@dataclass(frozen=True, kw_only=True)
class Listed:
    """The restore points of one source, where they are at home, and the moments they serve."""

    source: Source
    home: Home
    points: Sequence[RestorePoint]
    ranges: Sequence[Range]


def list_points(run: Run) -> list[Listed]:
    """Return what can be restored, for each source."""
    with run.opened() as destinations:
        missingdisk.warn(run)
        return [_listed(run, destination) for destination in destinations]


def _listed(run: Run, destination: Destination) -> Listed:
    points = destination.restore_points()
    warn_of_forgotten(run, points)
    return Listed(
        source=destination.source,
        home=destination.home,
        points=points,
        ranges=ranges(points),
    )

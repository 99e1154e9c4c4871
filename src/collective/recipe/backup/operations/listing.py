"""The list: restore points, and the moments that can be restored.  Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from collective.recipe.backup import history
from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.destinations.homes import Home
from collective.recipe.backup.errors import BackupError, Interrupted, from_os_error
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import RestorePoint, Source
from collective.recipe.backup.operations import missingdisk
from collective.recipe.backup.operations.damagememory import warn_of_forgotten
from collective.recipe.backup.operations.run import Run, history_directory
from collective.recipe.backup.restorepoints import Range, ranges


@dataclass(frozen=True, kw_only=True)
class Listed:
    """The restore points of one source, and the moments that they can restore."""

    source: Source  # the storage
    home: Home  # the place of its restore points
    points: Sequence[RestorePoint]  # oldest first
    ranges: Sequence[Range]  # spans of time of which any moment can be restored
    restores: Sequence[datetime]  # moments at which the live site was replaced by a restore


@dataclass(frozen=True, kw_only=True)
class ListedPlace:
    """One of the places of the backups, with its restore points."""

    name: str  # as the user calls it
    title: str  # name of the place, as the heading of its list
    storages: Sequence[Listed]  # of each source; () if it cannot be looked at
    failure: BackupError | None = None  # why it cannot be looked at


def list_places(run: Run) -> list[ListedPlace]:
    """Return what can be restored from each destination of *run*, one or several.

    Of several, one that cannot be looked at hides no other.
    """
    if not run.places:
        return [ListedPlace(name=run.name, title=run.title, storages=list_points(run))]
    return [_points_or_failure(each) for each in run.beside]


def _points_or_failure(run: Run) -> ListedPlace:
    listed = ListedPlace(name=run.name, title=run.title, storages=())
    try:
        return replace(listed, storages=list_points(run))
    except Interrupted:
        raise
    except BackupError as error:
        return replace(listed, failure=error)
    except OSError as error:
        return replace(listed, failure=from_os_error(error))


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
        restores=[it.started for it in history.read(history_directory(run)) if it.restored_site],
    )

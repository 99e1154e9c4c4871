"""Taking back: restore points that were removed, and a store that was set back on purpose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from collective.recipe.backup.destinations.configured import DestinationConfig
from collective.recipe.backup.errors import NoRestorePoint
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.operations.repositoryaccess import (
    opened_place,
    opened_repository,
    place_of,
)
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.stores import StoredObject


@dataclass(frozen=True, kw_only=True)
class Removed:
    """A restore point that was removed and can be brought back."""

    stamp: str  # of the restore point
    site: str  # name of the site in the repository
    removed: datetime  # when, by the clock of the store
    entry: StoredObject  # in which it is kept


def removed_points(run: Run, configured: DestinationConfig) -> list[Removed]:
    """Return the restore points of the site that can be brought back, oldest first."""
    with opened_repository(run, configured) as repository:
        return list(_removed(repository, configured))


def _removed(repository: Repository, configured: DestinationConfig) -> Iterator[Removed]:
    from collective.recipe.backup.repository.pruning import trashed

    ours = {place.site for place in configured.repositories}
    for entry, point in trashed(repository, repository.look()):
        if point.site in ours:
            yield Removed(stamp=point.stamp, site=point.site, removed=entry.stored, entry=entry)


def undelete(run: Run, configured: DestinationConfig, stamps: Sequence[str]) -> list[Point]:
    """Bring back the restore points that *stamps* name, of all storages of the site.

    Raises NoRestorePoint, before anything is changed, if one of them was not removed, and for one
    that it is too late for.
    """
    from collective.recipe.backup.repository.pruning import bring_back
    from collective.recipe.backup.repository.showing import show_points

    with opened_repository(run, configured) as repository:
        found = [each for each in _removed(repository, configured) if each.stamp in stamps]
        lacking = sorted(set(stamps) - {each.stamp for each in found})
        if lacking:
            raise NoRestorePoint(
                f"no removed restore point is called {', '.join(lacking)}",
                where=place_of(configured).shown,
                hint="undelete --list shows which can be brought back",
            )
        points = [bring_back(repository, each.entry) for each in found]
        show_points(repository)
        return points


def accept_rollback(run: Run, configured: DestinationConfig) -> None:
    """Take a store for what it is now, if it has gone back in time or another one is there.

    Restore points that this machine has seen there and that are gone are forgotten.
    """
    from collective.recipe.backup.repository.rollback import check_rollback

    for place in configured.repositories:
        with opened_place(run, place, accept_another=True) as repository:
            check_rollback(repository, repository.look(), accept=True)

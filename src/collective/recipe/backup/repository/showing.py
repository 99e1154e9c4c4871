"""Views of restore points, for people who read the store with its own tools.

A view has all objects of a repository with this restore point alone, under the names that they have
there: a copy of a view on a disk is such a repository.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from collective.recipe.backup.errors import BackupError, Interrupted
from collective.recipe.backup.repository.names import (
    BUNDLES,
    CONTROL,
    POINTS,
    bundle_name,
)
from collective.recipe.backup.repository.needs import needed_bundles
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.reaching import Reached
from collective.recipe.backup.repository.standing import standing


def show_points(repository: Repository, *, anew: bool = False) -> None:
    """Let the store show each restore point of all sites, if it shows any.

    All nodes of a restore point that is not shown yet are read.  With *anew*, restore points are
    shown again if collect has moved some of their objects. A failure is only reported, and the next
    run tries again: by then this run has done all its other work.
    """
    if not repository.store.promises.shows:
        return
    try:
        _show(repository, anew=anew)
    except Interrupted:
        raise
    except BackupError as error:
        repository.tell(f"the store does not show all restore points: {error}")


def _show(repository: Repository, *, anew: bool) -> None:
    repository.index.refresh()
    points = sorted(standing(repository, repository.look()).points, key=_made)
    views = {_title(point): partial(_names, repository, point) for point in points}
    repository.store.show(views, anew=anew)


def _made(point: Point) -> tuple[object, str]:
    return point.moment, point.name


def _title(point: Point) -> str:
    """Return the stamp and the tag of the site, as in the name of the object."""
    return point.name.removeprefix(POINTS).removesuffix(f"-{point.id}")


def _names(repository: Repository, point: Point) -> Collection[str]:
    """Return the names of all objects that a repository with this restore point alone has."""
    reached = Reached()
    try:
        needed = needed_bundles(repository, [point], reached).needed
    finally:
        reached.close()
    names = (each.name for each in repository.store.list())
    rest = [name for name in names if not name.startswith((BUNDLES, CONTROL, "check/"))]
    return [*rest, point.name, *map(bundle_name, needed)]

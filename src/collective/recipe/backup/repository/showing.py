"""What a store shows of restore points to whoever looks into it by its own means.

A view has all that a repository with this restore point alone would have, under the names that
it has there: whoever copies it to a disk has such a repository.
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

    Of one that is not shown yet all nodes are read.  With *anew* those are shown again that
    lack something by now, because collect has moved it.  What fails is told, and done by the
    next run: all else that this one had to do is done.
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

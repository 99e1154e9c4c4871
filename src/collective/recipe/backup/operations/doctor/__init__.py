"""The doctor: finds out now what the first night would find out.

It looks at the site, at the place for the backups, at what the options need and at what
earlier runs have left, and says of each finding how to mend it.  Nothing is changed; a
probe is written where backups will lie, and where a restore would put data, and removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.findings import DoctorFinding
from collective.recipe.backup.operations.doctor import (
    backupplaces,
    backups,
    repositorycheck,
    requirements,
    restores,
    sites,
    users,
    writers,
)
from collective.recipe.backup.operations.run import Run

__all__ = ["examine"]


def examine(run: Run) -> Iterator[DoctorFinding]:
    """Yield what there is to say of the site and of the destination of *run*, each thing once."""
    return users.once(_found(run))


def _found(run: Run) -> Iterator[DoctorFinding]:
    with run.opened() as destinations:
        yield from _of_all(run, destinations)
    yield from repositorycheck.repositories(run)


def _of_all(run: Run, destinations: Sequence[Destination]) -> Iterator[DoctorFinding]:
    yield from users.whose(run)
    for destination in destinations:
        source = destination.source
        yield from sites.storages(run, destination)
        yield from writers.at_work(source)
        yield from restores.left_over(run, source)
        yield from restores.way_back(run, source)
    yield from restores.caches(run)
    yield from backupplaces.homes(run)
    yield from backups.owners(destinations)
    yield from backupplaces.room(destinations)
    yield from requirements.programs(run.config.options)
    yield from requirements.places_of_options(run.config.options)
    yield from backups.locks(run)
    yield from backups.restore_points(run, destinations)

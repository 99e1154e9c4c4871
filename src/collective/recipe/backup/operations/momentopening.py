"""A moment of a site opened as a storage of ZODB, without a restore; see served.

Nothing is written, neither to the site nor to the backups.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.errors import ConfigurationError
from collective.recipe.backup.operations.choosing import alternative_named, choice_of
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.times import Tid, When, show_tid

if TYPE_CHECKING:
    from collective.recipe.backup.served.momentstorage import MomentStorage

_ROOM = "/var/tmp"  # noqa: S108  a directory of its own is made there
_SIZE = 2 << 30


class OpenOrder(NamedTuple):
    """The moment to open, and where its storages may put changes."""

    cache: Path  # a directory
    when: When | None = None  # None: the newest restore point
    cache_size: int = _SIZE  # bytes, for each storage once for its log and once for its blobs
    changes: Path | None = None  # a directory for what is written; None: nothing can be


class OpenedMoment(NamedTuple):
    """One storage of a site at a moment."""

    name: str  # of the storage in the site
    stamp: str  # of the restore point
    tid: Tid  # its last transaction; zeros: there is none
    storage: Any  # of ZODB


@contextmanager
def opened_moments(run: Run, order: OpenOrder) -> Iterator[list[OpenedMoment]]:
    """Yield all storages of the site, open until the body ends.

    Raises NoRestorePoint if no backup has that moment, IntegrityError for damage, and UsageError if
    the changes belong to another moment.
    """
    opened: list[OpenedMoment] = []
    with run.opened() as destinations:
        try:
            for destination in destinations:
                storage, stamp = open_moment(run, destination, order)
                tid = Tid(storage.lastTransaction())
                opened.append(OpenedMoment(destination.source.name, stamp, tid, storage))
            if order.changes is not None:
                from collective.recipe.backup.served.momentchanges import changeable

                moments = {each.name: each.storage for each in opened}
                storages = changeable(moments, order.changes, run.files)
                opened = [each._replace(storage=storages[each.name]) for each in opened]
            yield opened
        finally:
            for each in opened:
                each.storage.close()


def open_moment(run: Run, destination: Destination, order: OpenOrder) -> tuple[MomentStorage, str]:
    """Return the storage of one source, and the stamp of its restore point; see opened_moments."""
    from collective.recipe.backup.served.momentmaking import MomentCache, moment_storage

    points = destination.restore_points()
    choice = choice_of(run, destination, order.when, points)
    name = f"{destination.source.name} at {choice.point.stamp}"
    if choice.until is not None:
        name += f", cut at {show_tid(choice.until)}"
    cache = MomentCache(order.cache, order.cache_size)
    with alternative_named(run, destination, choice, points):
        state = destination.open(choice)
        return moment_storage(state, name, run.files, cache), choice.point.stamp


# the ids of its chunks


def usual_room() -> Path:
    """Return where something is put aside unless the user says where."""
    return Path(os.environ.get("TMPDIR") or _ROOM)


def check_zeo() -> None:
    """Raise ConfigurationError if ZEO is not installed."""
    from importlib.util import find_spec

    if find_spec("ZEO") is None:
        raise ConfigurationError(
            "to serve a moment, ZEO is needed, and it is not installed",
            hint="pip install 'collective.recipe.backup[open]'; in a buildout: eggs = "
            "collective.recipe.backup[open] in this part",
        )

"""The objects of a restore point that lie in cold storage, and have to be asked for first."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from collective.recipe.backup.errors import ObjectArchived
from collective.recipe.backup.repository.needs import needed_bundles
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.reaching import Reached
from collective.recipe.backup.stores import NoSuchObject, StoredObject


def cold_objects(repository: Repository, point: Point) -> Sequence[StoredObject]:
    """Return the bundles that *point* needs and that cannot be read now, by name.

    All nodes are read, and one byte of each bundle; nothing is asked out of cold storage.
    """
    if not repository.store.promises.cold:
        return ()
    reached = Reached()
    try:
        bundles = needed_bundles(repository, [point], reached)
    finally:
        reached.close()
    entries = sorted(bundles.entries[bundle] for bundle in bundles.needed)
    return tuple(entry for entry in entries if _is_cold(repository, entry.name))


def _is_cold(repository: Repository, name: str) -> bool:
    try:
        with suppress(NoSuchObject):  # a restore names the objects that are missing
            repository.store.get(name, 0, 1)
    except ObjectArchived:
        return True
    return False

"""The bundles in cold storage, which have to be asked for before they can be read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress

from collective.recipe.backup.errors import ObjectArchived
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.orphans import listed_bundles
from collective.recipe.backup.stores import NoSuchObject, StoredObject


def cold_bundles(repository: Repository, bundles: Collection[bytes]) -> Sequence[StoredObject]:
    """Return those of *bundles*, by ID, that cannot be read now, sorted by name.

    One byte of each is read; nothing is asked out of cold storage.
    """
    there = sorted(entry for each, entry in listed_bundles(repository.store) if each in bundles)
    return tuple(entry for entry in there if _is_cold(repository, entry.name))


def _is_cold(repository: Repository, name: str) -> bool:
    try:
        with suppress(NoSuchObject):  # a restore names the objects that are missing
            repository.store.get(name, 0, 1)
    except ObjectArchived:
        return True
    return False

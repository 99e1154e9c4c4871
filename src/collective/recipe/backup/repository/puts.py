"""Puts that end in one of two ways: the object is there, or an error says why it is not.

A store may not say what became of a put: the connection broke after the last byte, or the
store was asked twice and says that there is such an object already.  Reading settles it.  The
names of objects are made of their bytes, so what is there is either ours or damaged.
"""

from __future__ import annotations

from datetime import datetime

from collective.recipe.backup.errors import (
    IntegrityError,
    ObjectArchived,
    RequestsSpent,
    StoreUnreachable,
)
from collective.recipe.backup.repository.names import id_of
from collective.recipe.backup.stores import Buffer, NoSuchObject, ObjectExists, Store

_TRIES = 3


def put(store: Store, name: str, data: Buffer, *, bulk: bool = False) -> datetime:
    """Make the object *name* of *data*, or find that it was made; return when, by the store.

    Raises IntegrityError where another object has that name, and what the store raises.
    """
    for left in reversed(range(_TRIES)):
        try:
            return store.put(name, data, bulk=bulk)
        except (ObjectExists, StoreUnreachable) as error:
            try:
                made = _made(store, name, data)
            except RequestsSpent as spent:
                raise StoreUnreachable(
                    "no request is left to ask the store whether it has an object",
                    where=f"{store.location}/{name}",
                    hint=spent.hint,
                ) from error
            if made is not None:
                return made
            if not left:
                if isinstance(error, ObjectExists):
                    # it says that it has what it cannot show: its listings may lag
                    raise StoreUnreachable(
                        "the store says that an object exists, and then that it does not",
                        where=f"{store.location}/{name}",
                        hint="run the command again in some minutes",
                    ) from error
                raise
    raise AssertionError("the last try returns or raises")


def _made(store: Store, name: str, data: Buffer) -> datetime | None:
    """Return when the object was made, None if it was not."""
    try:
        found: Buffer = store.get(name)
    except NoSuchObject:
        return None
    except ObjectArchived:
        found = data  # without waiting, only its size can be compared, below
    is_ours = len(found) == len(data) and id_of(found) == id_of(data)
    entry = next((each for each in store.list(name) if each.name == name), None)
    if not is_ours or (entry is not None and entry.size != len(data)):
        raise IntegrityError(
            "another object has the name of one that was to be stored",
            where=f"{store.location}/{name}",
            hint="scrub says whether it is damaged; a damaged object must be moved away by hand",
        )
    return store.clock() if entry is None else entry.stored

"""Making a repository: its first key, and the object that makes it exist."""

from __future__ import annotations

import os
from datetime import datetime

from collective.recipe.backup.errors import ConfigurationError
from collective.recipe.backup.repository.format import Format, new_format, parse_format
from collective.recipe.backup.repository.keyring import MASTER_SIZE
from collective.recipe.backup.repository.keys import check_passphrase
from collective.recipe.backup.repository.libraries import check_libraries
from collective.recipe.backup.repository.names import FORMAT
from collective.recipe.backup.repository.puts import put
from collective.recipe.backup.repository.slots import name_of_slot, new_slot
from collective.recipe.backup.stores import Store


def init(store: Store, passphrase: str | None, now: datetime, label: str = "first") -> Format:
    """Make a repository in *store*; return its format.

    *passphrase* None makes one that is not encrypted: the caller has asked for that explicitly. The
    key is stored first, and ``format``, which makes the repository exist, last.  Raises
    ConfigurationError if the store has a repository already, or anything else.
    """
    check_libraries()
    if passphrase is not None:
        check_passphrase(passphrase)
    store.prepare()
    _must_be_free(store)
    data = new_format(encrypted=passphrase is not None, now=now)
    about = parse_format(data)
    if passphrase is not None:
        slot = new_slot(os.urandom(MASTER_SIZE), passphrase, about, label, now)
        put(store, name_of_slot(slot), slot)
    put(store, FORMAT, data)
    return about


def _must_be_free(store: Store) -> None:
    # asked for by its name: others come before it in a listing of all
    if any(entry.name == FORMAT for entry in store.list(FORMAT)):
        raise ConfigurationError(
            "there is a repository already",
            where=store.location,
            hint="use it, or choose another place; several sites may share one repository",
        )
    for entry in store.list():
        # keys alone are of an init that died
        if not entry.name.startswith("keys/"):
            raise ConfigurationError(
                "there are objects in this place, and no repository",
                where=f"{store.location}/{entry.name}",
                hint="choose an empty place; if this was a repository, its object 'format' "
                "is missing: take it from a copy",
            )

"""From a passphrase to the keys of a repository."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from collective.recipe.backup.errors import ConfigurationError, IntegrityError
from collective.recipe.backup.jsonfile import UnreadableError
from collective.recipe.backup.repository.cache import Cache
from collective.recipe.backup.repository.format import Format
from collective.recipe.backup.repository.keyring import Keyring
from collective.recipe.backup.repository.names import KEYS, id_in, id_of
from collective.recipe.backup.repository.slots import KeySlot, master_in, parse_slot
from collective.recipe.backup.stores import NoSuchObject, Store

_LAST = "slot"
"""Name under which the cache has the slot that opened last: that one is tried first."""


def missing_passphrase(store: Store) -> NoReturn:
    """Raise ConfigurationError: the repository has keys, and there is no passphrase."""
    raise ConfigurationError(
        "this repository is encrypted, and there is no passphrase for it",
        where=store.location,
        hint="set repository_passphrase_file, repository_passphrase_command or "
        "SITEBACKUP_PASSPHRASE",
    )


def unlocked(store: Store, about: Format, passphrase: str, cache: Cache) -> Keyring:
    """Return the keys of the repository.

    Raises ConfigurationError if *passphrase* opens no slot, and IntegrityError if that may be
    because slots are damaged or missing.
    """
    bad: list[str] = []
    for slot in _in_order(read_slots(store, cache, bad), cache):
        try:
            master = master_in(slot, passphrase, about)
        except UnreadableError as error:
            bad.append(f"{slot.name}: {error}")
            continue
        if master is not None:
            cache.set(_LAST, slot.name.encode())
            return Keyring(about.repository, master)
    raise _refused(store, bad)


def read_slots(store: Store, cache: Cache | None, bad: list[str]) -> Iterator[KeySlot]:
    """Yield the slots that can be read; add a sentence to *bad* for each other one.

    *cache* None: nothing is remembered.
    """
    for entry in store.list(KEYS):
        if id_in(entry.name) is None:
            continue
        try:
            yield parse_slot(entry.name, _bytes(store, cache, entry.name))
        except (UnreadableError, IntegrityError) as error:
            bad.append(f"{entry.name}: {error}")
        except NoSuchObject:  # removed since
            continue


def _bytes(store: Store, cache: Cache | None, name: str) -> bytes:
    if cache is None:
        return store.get(name)
    kept = cache.kept(name)
    if kept is not None and id_of(kept) == id_in(name):
        return kept
    data = store.get(name)
    cache.keep(name, data)
    return data


def _in_order(slots: Iterator[KeySlot], cache: Cache) -> list[KeySlot]:
    last = (cache.get(_LAST) or b"").decode("ascii", "replace")
    return sorted(slots, key=lambda slot: (slot.name != last, slot.made, slot.name))


def _refused(store: Store, bad: list[str]) -> ConfigurationError | IntegrityError:
    if bad:
        return IntegrityError(
            "the passphrase opens none of the keys that can be read, and some cannot: "
            + "; ".join(bad),
            where=f"{store.location}/{KEYS}",
            hint="take the damaged keys from a copy of the repository, or use the recovery sheet",
        )
    return ConfigurationError(
        "the passphrase does not fit this repository",
        where=store.location,
        hint="is it the passphrase of this repository?  If it is lost, the recovery sheet helps",
    )

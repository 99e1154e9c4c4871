"""The passphrases that open a repository: list, add, change and remove them."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.errors import ConfigurationError
from collective.recipe.backup.jsonfile import UnreadableError
from collective.recipe.backup.repository.format import Format, read_format
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.puts import put
from collective.recipe.backup.repository.slots import KeySlot, master_in, name_of_slot, new_slot
from collective.recipe.backup.repository.unlocking import read_slots
from collective.recipe.backup.stores import Store

LEAST_PASSPHRASE = 8
"""Characters that a passphrase must have; how many it should have is up to the documentation."""

_SHOWN = "the action keys lists the keys"


class AddedKey(NamedTuple):
    """The key that a passphrase opens from now on."""

    name: str  # of its object
    is_new: bool  # False: the passphrase opened that one before


def check_passphrase(passphrase: str) -> None:
    """Raise ConfigurationError for a passphrase that is too short to be one."""
    if len(passphrase) < LEAST_PASSPHRASE:
        raise ConfigurationError(
            f"the passphrase has fewer than {LEAST_PASSPHRASE} characters",
            hint="take six random words, or 20 characters from a password manager",
        )


def list_keys(repository: Repository) -> tuple[list[KeySlot], list[str]]:
    """Return the slots, oldest first, and a sentence for each that cannot be read."""
    bad: list[str] = []
    slots = sorted(
        read_slots(repository.store, repository.cache, bad),
        key=lambda slot: (slot.made, slot.label),
    )
    return slots, bad


def add_key(repository: Repository, passphrase: str, label: str, now: datetime) -> AddedKey:
    """Add a slot that opens with *passphrase*, unless one does.

    Raises ConfigurationError if the repository is not encrypted.
    """
    must_be_encrypted(repository)
    check_passphrase(passphrase)
    for there in list_keys(repository)[0]:
        if _opens(there, passphrase, repository.about):
            return AddedKey(there.name, is_new=False)
    slot = new_slot(repository.keyring.master, passphrase, repository.about, label, now)
    name = name_of_slot(slot)
    put(repository.store, name, slot)
    return AddedKey(name, is_new=True)


def change_key(repository: Repository, old: str, new: str, now: datetime) -> AddedKey:
    """Replace the slots that open with the passphrase *old* by one that opens with *new*.

    The new slot is there before the old ones go. A person with a copy of an old slot, and the old
    passphrase, can still read the repository: the master key does not change.  Raises
    ConfigurationError if no slot opens with *old*, or if *new* equals *old*.
    """
    must_be_encrypted(repository)
    check_passphrase(new)
    if new == old:
        raise ConfigurationError(
            "the new passphrase is the configured one: nothing is changed",
            where=repository.store.location,
            hint="write another one to the file of the new passphrase",
        )
    opened = [slot for slot in list_keys(repository)[0] if _opens(slot, old, repository.about)]
    if not opened:
        raise ConfigurationError(
            "the configured passphrase opens no key of this repository, so it cannot be changed",
            where=repository.store.location,
            hint="was it changed already?  Then configure the new one; "
            "the recovery sheet helps if it is lost",
        )
    added = add_key(repository, new, opened[0].label, now)
    for slot in opened:
        if slot.name != added.name:
            repository.store.delete(slot.name)
    return added


def remove_key(repository: Repository, called: str, passphrase: str) -> str:
    """Remove the slot of this name, or label; return its name.

    *passphrase* must open another one, so that one is left.  Raises ConfigurationError if there
    is no such slot, or several, or if it would be the last that opens.
    """
    must_be_encrypted(repository)
    slots, _bad = list_keys(repository)
    meant = [slot.name for slot in slots if called in (slot.name, slot.label)]
    if not meant:
        raise ConfigurationError("there is no such key", where=called, hint=_SHOWN)
    if len(meant) > 1:
        raise ConfigurationError(
            f"this label is that of {number_of(len(meant), 'key')}",
            where=called,
            hint=f"take a name: {meant[0]}",
        )
    [name] = meant
    others = (slot for slot in slots if slot.name != name)
    if not any(_opens(slot, passphrase, repository.about) for slot in others):
        raise ConfigurationError(
            "the passphrase opens no other key, so the repository might stay closed then",
            where=name,
            hint="add another key first, and give its passphrase",
        )
    repository.store.delete(name)
    return name


def import_master(
    store: Store, master: bytes, passphrase: str, now: datetime, label: str = "recovered"
) -> AddedKey:
    """Add a slot for a master key that a recovery sheet gave, unless *passphrase* opens one.

    Whether it is that of this repository is up to the caller to compare: a sheet has the id.
    """
    check_passphrase(passphrase)
    about = read_format(store)
    for there in read_slots(store, None, []):
        if _opens(there, passphrase, about):
            return AddedKey(there.name, is_new=False)
    slot = new_slot(master, passphrase, about, label, now)
    put(store, name_of_slot(slot), slot)
    return AddedKey(name_of_slot(slot), is_new=True)


def _opens(slot: KeySlot, passphrase: str, about: Format) -> bool:
    try:
        return master_in(slot, passphrase, about) is not None
    except UnreadableError:
        return False


def must_be_encrypted(repository: Repository) -> None:
    """Raise ConfigurationError for a repository that has no keys."""
    if not repository.about.encrypted:
        raise ConfigurationError(
            "this repository is not encrypted, and has no keys",
            where=repository.store.location,
            hint="make another repository with a passphrase, and copy to it",
        )

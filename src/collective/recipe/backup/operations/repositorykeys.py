"""The passphrases of a repository, and the recovery sheet for when they are lost."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from collective.recipe.backup.destinations.configured import DestinationConfig
from collective.recipe.backup.errors import ConfigurationError
from collective.recipe.backup.operations.repositoryaccess import (
    opened_repository,
    passphrase_of,
    place_of,
)
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.stores.opening import store_at

if TYPE_CHECKING:
    from collective.recipe.backup.repository.keys import AddedKey
    from collective.recipe.backup.repository.slots import KeySlot


def keys_of(run: Run, configured: DestinationConfig) -> tuple[list[KeySlot], list[str]]:
    """Return the keys, oldest first, and a sentence for each that cannot be read."""
    from collective.recipe.backup.repository.keys import list_keys

    with opened_repository(run, configured) as repository:
        return list_keys(repository)


def add_passphrase(run: Run, configured: DestinationConfig, file: Path) -> AddedKey:
    """Let the passphrase in *file* open the repository as well."""
    from collective.recipe.backup.destinations.repository.passphrases import in_file
    from collective.recipe.backup.repository.keys import add_key

    with opened_repository(run, configured) as repository:
        return add_key(repository, in_file(file), file.name, run.now)


def change_passphrase(run: Run, configured: DestinationConfig, file: Path) -> AddedKey:
    """Let the passphrase in *file* open the repository, and the configured one no more."""
    from collective.recipe.backup.destinations.repository.passphrases import in_file
    from collective.recipe.backup.repository.keys import change_key

    with opened_repository(run, configured) as repository:
        return change_key(repository, passphrase_of(configured), in_file(file), run.now)


def remove_passphrase(run: Run, configured: DestinationConfig, key: str) -> str:
    """Remove the key of this name, or label; the configured passphrase must open another one.

    Returns its name.
    """
    from collective.recipe.backup.repository.keys import remove_key

    with opened_repository(run, configured) as repository:
        return remove_key(repository, key, passphrase_of(configured))


def recover(run: Run, configured: DestinationConfig, sheet: str) -> AddedKey:
    """Let the configured passphrase open the repository of the recovery sheet *sheet*.

    Raises ConfigurationError if it is no such sheet.
    """
    from collective.recipe.backup.repository.format import read_format
    from collective.recipe.backup.repository.keys import import_master
    from collective.recipe.backup.repository.sheets import read_sheet

    identity, master = read_sheet(sheet)
    with closing(store_at(place_of(configured).url, run.files, run.allowance)) as store:
        if read_format(store).repository != identity:
            raise ConfigurationError(
                "the recovery sheet is of another repository",
                where=store.location,
                hint=f"it says {identity.hex()}: look for the sheet of this one",
            )
        return import_master(store, master, passphrase_of(configured), run.now)


def recovery_sheet(run: Run, configured: DestinationConfig) -> tuple[list[str], str]:
    """Return the recovery sheet: its lines, and a page of HTML that has them and a QR code.

    Raises ConfigurationError if the repository is not encrypted.
    """
    from collective.recipe.backup.repository.keys import must_be_encrypted
    from collective.recipe.backup.repository.libraries import FOR_SHEETS, check_libraries
    from collective.recipe.backup.repository.sheets import sheet_lines, sheet_page

    check_libraries(FOR_SHEETS)
    with opened_repository(run, configured) as repository:
        must_be_encrypted(repository)
        keyring = repository.keyring
        return sheet_lines(keyring), sheet_page(keyring, repository.store.location, run.now)

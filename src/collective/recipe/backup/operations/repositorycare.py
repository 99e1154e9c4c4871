"""Care for a repository as a whole, which other sites may share: made, looked at, tidied up."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from collective.recipe.backup.destinations.configured import REPOSITORY, DestinationConfig
from collective.recipe.backup.errors import ConfigurationError, IntegrityError, UsageError
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.stores.opening import store_at

if TYPE_CHECKING:
    from collective.recipe.backup.destinations.repository.place import RepositoryPlace
    from collective.recipe.backup.repository.collecting import Collected
    from collective.recipe.backup.repository.healing import HealedBundles
    from collective.recipe.backup.repository.opened import Repository
    from collective.recipe.backup.repository.plans import CollectPlan
    from collective.recipe.backup.repository.points import Point
    from collective.recipe.backup.repository.scrubbing import Scrubbed
    from collective.recipe.backup.repository.slots import KeySlot
    from collective.recipe.backup.repository.totals import Numbers

logger = logging.getLogger("backup")


def repository_named(run: Run, name: str | None) -> DestinationConfig:
    """Return the repository *name* of the site; None: the only one that there is."""
    found = [each for each in run.beside if each.kind == REPOSITORY]
    if not found:
        raise ConfigurationError(
            "this site has no repository",
            hint="set the option repository: a path, or a name and a path",
        )
    names = ", ".join(each.name for each in found)
    if name is None and len(found) > 1:
        raise UsageError("which repository?", hint=f"there are {names}")
    for each in found:
        if name in {None, each.name}:
            return each
    raise UsageError(f"there is no repository {name!r}", hint=f"there are {names}")


def make(run: Run, configured: DestinationConfig, *, encrypted: bool) -> str:
    """Make a repository; return its id.

    Raises ConfigurationError where there is one already, and if there is no passphrase although
    it is to be *encrypted*, or one although it is not.
    """
    from collective.recipe.backup.repository.newrepository import init

    place = _place(configured)
    passphrase = _passphrase(configured) if encrypted else None
    if not encrypted and place.ask is not None:
        raise ConfigurationError(
            "there is a passphrase, and the repository is not to be encrypted",
            where=place.url,
            hint="leave --unencrypted out, or remove the passphrase from the configuration",
        )
    about = init(store_at(place.url, run.files), passphrase, run.now)
    return about.repository.hex()


def scrub_store(run: Run, configured: DestinationConfig) -> Scrubbed:
    """Compare each object with its name; no passphrase is needed."""
    from collective.recipe.backup.repository.format import read_format
    from collective.recipe.backup.repository.scrubbing import scrub

    store = store_at(_place(configured).url, run.files)
    read_format(store)
    return scrub(store, run.progress)


def damage_found(scrubbed: Scrubbed) -> IntegrityError | None:
    """Return the error that says what scrub has found; None: nothing."""
    if not scrubbed.damaged:
        return None
    return IntegrityError(
        f"{len(scrubbed.damaged)} of {scrubbed.objects} objects are damaged",
        where=scrubbed.damaged[0],
        hint="verify says which restore points need them; take them from a copy of the repository, "
        "and make a full backup, which is built on none of the earlier ones",
    )


def heal_bundles(run: Run, configured: DestinationConfig) -> HealedBundles:
    """Store again what can be read of damaged bundles, and let nothing rely on these any more.

    What is lost then, the next backup stores again, as far as the site still has it.
    """
    from collective.recipe.backup.repository.healing import heal
    from collective.recipe.backup.repository.orphans import listed_bundles
    from collective.recipe.backup.repository.scrubbing import scrub

    with opened_repository(run, configured) as repository:
        damaged = {
            each.rpartition("/")[2] for each in scrub(repository.store, run.progress).damaged
        }
        there = dict(listed_bundles(repository.store))
        gone = repository.index.bundles() - there.keys()
        return heal(repository, [*gone, *(each for each in there if each.hex() in damaged)])


def loss_left(healed: HealedBundles) -> IntegrityError | None:
    """Return the error that says what could not be healed; None: nothing."""
    if not healed.lost:
        return None
    return IntegrityError(
        f"{len(healed.lost):,} pieces of what the repository holds are lost",
        hint="make a backup, which stores again what the site still has, then verify",
    )


def look_through(run: Run, configured: DestinationConfig) -> Numbers:
    """Return what a repository holds, in numbers."""
    from collective.recipe.backup.repository.totals import numbers

    with opened_repository(run, configured) as repository:
        return numbers(repository)


def plan_collection(run: Run, configured: DestinationConfig) -> CollectPlan:
    """Return what collect would do now; nothing is changed."""
    from collective.recipe.backup.repository.collecting import plan_collect

    with opened_repository(run, configured) as repository:
        return plan_collect(repository)


def collect_unneeded(run: Run, configured: DestinationConfig, *, certain: bool) -> Collected:
    """Remove what no restore point needs, as far as it is time; *certain*: however much it is."""
    from collective.recipe.backup.repository.collecting import collect

    with opened_repository(run, configured) as repository:
        return collect(repository, yes=certain)


def keys_of(run: Run, configured: DestinationConfig) -> tuple[list[KeySlot], list[str]]:
    """Return the keys, oldest first, and a sentence for each that cannot be read."""
    from collective.recipe.backup.repository.keys import list_keys

    with opened_repository(run, configured) as repository:
        return list_keys(repository)


def copy_points(
    run: Run, configured: DestinationConfig, target: DestinationConfig, *, dry_run: bool
) -> list[Point]:
    """Copy the restore points of all sites that the repository *target* lacks; return those.

    With *dry_run* they are only looked for.
    """
    from collective.recipe.backup.repository.pointcopying import copy, to_copy
    from collective.recipe.backup.repository.standing import standing

    if configured.name == target.name:
        raise UsageError("a repository cannot be copied to itself", hint="--to names another one")
    with (
        opened_repository(run, configured) as source,
        opened_repository(run, target) as copies,
    ):
        points = standing(source, source.look()).points
        return to_copy(source, copies, points) if dry_run else list(copy(source, copies, points))


def add_passphrase(run: Run, configured: DestinationConfig, file: Path) -> str:
    """Let the passphrase in *file* open the repository as well; return the name of its key."""
    from collective.recipe.backup.destinations.repository.passphrases import in_file
    from collective.recipe.backup.repository.keys import add_key

    with opened_repository(run, configured) as repository:
        return add_key(repository, in_file(file), file.name, run.now)


def change_passphrase(run: Run, configured: DestinationConfig, file: Path) -> str:
    """Let the passphrase in *file* open the repository, and the configured one no more.

    Returns the name of the new key.
    """
    from collective.recipe.backup.destinations.repository.passphrases import in_file
    from collective.recipe.backup.repository.keys import change_key

    with opened_repository(run, configured) as repository:
        return change_key(repository, _passphrase(configured), in_file(file), run.now)


def remove_passphrase(run: Run, configured: DestinationConfig, key: str) -> None:
    """Remove a key; the configured passphrase must open another one."""
    from collective.recipe.backup.repository.keys import remove_key

    with opened_repository(run, configured) as repository:
        remove_key(repository, key, _passphrase(configured))


def recover(run: Run, configured: DestinationConfig, sheet: str) -> str:
    """Let the configured passphrase open the repository that *sheet* is of.

    Returns the name of the new key.  Raises ConfigurationError for what is no such sheet.
    """
    from collective.recipe.backup.repository.format import read_format
    from collective.recipe.backup.repository.keys import import_master
    from collective.recipe.backup.repository.sheets import read_sheet

    identity, master = read_sheet(sheet)
    store = store_at(_place(configured).url, run.files)
    if read_format(store).repository != identity:
        raise ConfigurationError(
            "the recovery sheet is of another repository",
            where=store.location,
            hint=f"it says {identity.hex()}: look for the sheet of this one",
        )
    return import_master(store, master, _passphrase(configured), run.now)


def _passphrase(configured: DestinationConfig) -> str:
    place = _place(configured)
    if place.ask is None:
        raise ConfigurationError(
            "there is no passphrase for the repository",
            where=place.url,
            hint="set repository_passphrase_file, repository_passphrase_command or the variable "
            "SITEBACKUP_PASSPHRASE",
        )
    return place.ask()


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


@contextmanager
def opened_repository(run: Run, configured: DestinationConfig) -> Iterator[Repository]:
    """Yield a repository, open until the body ends; its keys are asked for when needed."""
    from collective.recipe.backup.repository.opened import Client, open_repository

    place = _place(configured)
    client = Client(
        files=run.files,
        cache=place.cache if place.state.is_dir() else None,
        ask=place.ask,
        progress=run.progress,
        tell=partial(logger.warning, "%s"),
    )
    with open_repository(store_at(place.url, run.files), client) as repository:
        yield repository


def _place(configured: DestinationConfig) -> RepositoryPlace:
    return configured.repositories[-1]

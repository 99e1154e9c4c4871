"""One of the repositories of a site: which it is, its passphrase, and opening it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.config.overlaps import Named, PartLayout, overlaps
from collective.recipe.backup.config.repositories import local_path
from collective.recipe.backup.destinations.configured import (
    REPOSITORY,
    DestinationConfig,
    all_directories,
)
from collective.recipe.backup.errors import ConfigurationError, UsageError
from collective.recipe.backup.operations.passphrasewarning import warn_of_exposed_passphrase
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.stores.opening import store_at

if TYPE_CHECKING:
    from datetime import datetime

    from collective.recipe.backup.destinations.repository.place import RepositoryPlace
    from collective.recipe.backup.files import Files
    from collective.recipe.backup.findings import Report
    from collective.recipe.backup.progress import Progress
    from collective.recipe.backup.repository.opened import Repository
    from collective.recipe.backup.stores.allowance import Allowance

logger = logging.getLogger("backup")


def repository_named(run: Run, name: str | None) -> DestinationConfig:
    """Return the repository *name* of the site; None: the only one that there is."""
    beside = (each.configured for each in run.beside)
    found = [each for each in beside if each.kind == REPOSITORY]
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


def opened_repository(
    run: Run, configured: DestinationConfig
) -> AbstractContextManager[Repository]:
    """Return a repository, open in the body of ``with``; its keys are asked for when needed."""
    return opened_place(run, place_of(configured))


@contextmanager
def opened_place(
    run: Run, place: RepositoryPlace, *, accept_another: bool = False
) -> Iterator[Repository]:
    """Yield the repository of one storage, open until the body ends, with its cache.

    Raises ConfigurationError, unless *accept_another*, if the cache is of another repository.
    """
    from collective.recipe.backup.repository.opened import Client, open_repository

    warn_of_exposed_passphrase(run)
    client = Client(
        files=run.files,
        cache=place.cache if place.state.is_dir() else None,
        ask=place.ask,
        progress=run.progress,
        tell=partial(logger.warning, "%s"),
        accept_another=accept_another,
    )
    with open_repository(
        store_at(place.url, run.files, run.allowance, place.as_of), client
    ) as repository:
        yield repository


def passphrase_of(configured: DestinationConfig) -> str:
    """Return the configured passphrase.  Raises ConfigurationError if there is none."""
    place = place_of(configured)
    if place.ask is None:
        raise ConfigurationError(
            "there is no passphrase for the repository",
            where=place.shown,
            hint="set repository_passphrase_file, repository_passphrase_command or the variable "
            "SITEBACKUP_PASSPHRASE",
        )
    return place.ask()


def place_of(configured: DestinationConfig) -> RepositoryPlace:
    """Return the place of a repository; it is one for all storages of a site."""
    return configured.repositories[-1]


def try_out(run: Run, place: str | None) -> Report:
    """Try the store at *place*, and return which needs of a repository it meets; see ``proving``.

    *place* is a URL or a path, or the name of a repository; None: the only one of the site.  Raises
    ConfigurationError for one where the site could have no repository.
    """
    is_url = place is not None and (place.startswith("/") or ":" in place)
    url = place if is_url and place else place_of(repository_named(run, place)).url
    _refuse_overlaps(run, url)
    return try_out_at(url, run.files, run.now, run.allowance, run.progress)


def _refuse_overlaps(run: Run, url: str) -> None:
    """Raise ConfigurationError if *url* is a place in the live site, or in other backups."""
    place, sources = local_path(url), run.config.sources
    if place is None:
        return
    layout = PartLayout(
        filestorages=[Named("the filestorage", each.filestorage) for each in sources],
        blobstorages=[
            Named("the blobstorage", each.blobstorage) for each in sources if each.blobstorage
        ],
        directories=[
            Named("a directory of backups", each)
            for each in dict.fromkeys(all_directories(run.config))
        ],
        repositories=[Named("the store", place)],
    )
    for sentence in overlaps(layout):
        raise ConfigurationError(
            f"there can be no repository: {sentence}", hint="try out a directory of its own"
        )


def try_out_at(
    url: str, files: Files, now: datetime, allowance: Allowance, progress: Progress
) -> Report:
    """Try the store at *url*, and return which needs of a repository it meets."""
    from collective.recipe.backup.stores.proving import prove

    with (
        closing(store_at(url, files, allowance)) as store,
        progress.phase(f"waiting for {store.location}", 0),
    ):
        report = prove(store, now)
    report.ok(f"that took {number_of(allowance.asked, 'request')} in all")
    return report

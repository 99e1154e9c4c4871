"""The destinations of a site, each with a configuration of its own.

A script is made for a *purpose*: the backups of every night, snapshots, one file to carry
away, those of another site to restore from.  For each purpose a site has a list of
destinations: its directories, if it has any, and for the backups of every night its
repositories.  A run acts on one of them.

This room reads only the configuration.  The destinations themselves come from making.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from collective.recipe.backup.config import SNAPSHOT, STANDARD, ZIP, Config
from collective.recipe.backup.config.repositories import NamedRepository, listed, local_path
from collective.recipe.backup.destinations.directory.directoryhome import home_in
from collective.recipe.backup.destinations.homes import Home
from collective.recipe.backup.destinations.repository.passphrases import asking
from collective.recipe.backup.destinations.repository.place import RepositoryPlace
from collective.recipe.backup.destinations.repository.wantedfiles import WantedFiles
from collective.recipe.backup.errors import ConfigurationError, UsageError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import MAIN, Place, Source
from collective.recipe.backup.options import Options
from collective.recipe.backup.retention import Policy

DIRECTORY = "directory"
"""The kind of a destination that lies in directories, and the name of the first one."""

REPOSITORY = "repository"
"""The kind of a destination in a store that others share."""


@dataclass(frozen=True, kw_only=True)
class DestinationConfig:
    """The configuration of one destination: its name, its kind, its places, its policy."""

    name: str  # tells it from the others of its purpose
    kind: str  # DIRECTORY or REPOSITORY
    purpose: str  # STANDARD, SNAPSHOT, ZIP or ALTERNATIVE of config
    sources: tuple[Source, ...]  # that are backed up to it, in order
    places: tuple[Place, ...] = ()  # the directories of each of the sources, if it is that
    repositories: tuple[RepositoryPlace, ...] = ()  # where each lies, if it is a repository
    options: Options  # how it is written
    policy: Policy  # how much of it is kept

    @property
    def homes(self) -> list[Home]:
        """The homes of the restore points, one for each source."""
        if self.kind == REPOSITORY:
            return [each.home for each in self.repositories]
        return [self.home(*each) for each in zip(self.sources, self.places, strict=True)]

    def home(self, source: Source, place: Place) -> Home:
        """Return where the restore points of *source* are at home in *place*."""
        only_blobs = self.options.only_blobs and bool(source.blobstorage)
        return home_in(source, place, only_blobs=only_blobs)


def configured(config: Config, purpose: str) -> tuple[DestinationConfig, ...]:
    """Return the destinations that the site has for a *purpose*, its directories first."""
    found = []
    if purpose in config.destinations:
        found.append(_directories(config, purpose))
    if purpose == STANDARD:
        found.extend(_repository(config, each) for each in listed(config.options.repository))
    return tuple(found)


def named(config: Config, purpose: str, name: str) -> DestinationConfig:
    """Return the destination *name* for a *purpose*.  Raises ConfigurationError."""
    found = {each.name: each for each in configured(config, purpose)}
    if name not in found:
        raise ConfigurationError(
            f"there is no place of backups called {name!r}",
            hint=f"this site has: {', '.join(found)}; each line of the option repository adds one",
        )
    return found[name]


def chosen(config: Config, purpose: str, name: str | None, *, everywhere: bool) -> str:
    """Return the name of the destination that a run for a *purpose* begins with.

    *name* is the choice of the user.  None: the directories, or the only repository of a site
    without directories; a run that goes *everywhere* begins with the first of several.  Raises
    ConfigurationError if there is none of that name, or none at all.
    """
    found = configured(config, purpose)
    if not found:
        hint = f"there is one for {', '.join(_purposes(config))}"
        if not config.destinations:
            hint += "; with location = none there are no directories, which alone have others: "
            hint += "in a repository each backup is a full one"
        raise ConfigurationError(f"this part has no place for {purpose} backups", hint=hint)
    if name is not None:
        return named(config, purpose, name).name
    if found[0].kind == DIRECTORY or len(found) == 1 or everywhere:
        return found[0].name
    raise UsageError(
        "there are several places of backups: which of them?",
        hint=f"add --from and one of these names: {', '.join(each.name for each in found)}",
    )


def chosen_repository(config: Config, purpose: str, name: str | None) -> str:
    """Return the name of the repository that is meant by *name*; None: the only one.

    Raises ConfigurationError where it is none, and UsageError where there are several.
    """
    found = [each.name for each in configured(config, purpose) if each.kind == REPOSITORY]
    if name in found or (name is None and len(found) == 1):
        return name or found[0]
    if name is None and found:
        raise UsageError(
            "there are several repositories: which of them?",
            hint=f"add --from and one of these names: {', '.join(found)}",
        )
    raise ConfigurationError(
        f"{name!r} is no repository" if name else f"{purpose} backups have no repository",
        hint="leave out --as-of: only a repository in a bucket has earlier states",
    )


def as_it_was(found: DestinationConfig, moment: datetime) -> DestinationConfig:
    """Return the repositories of *found* in the state of a *moment*.

    The notes about the present state, such as its damage, say nothing of that one.
    """
    return replace(
        found,
        repositories=tuple(
            replace(each, as_of=moment, state=each.state / "as-of") for each in found.repositories
        ),
    )


def _purposes(config: Config) -> list[str]:
    return sorted({*config.destinations, *([STANDARD] if config.options.repository else ())})


def history_of(config: Config) -> Path:
    """Return the local directory of the history of a part, whatever its runs are for.

    It is a directory of backups; without one, the directory of the local notes of repositories.
    """
    first = configured(config, STANDARD)[0]
    return first.homes[-1].state if first.kind == DIRECTORY else _remembered(config)


def _remembered(config: Config) -> Path:
    """Return the directory of the local notes of all repositories."""
    prefix = config.options.locationprefix
    assert prefix is not None  # noqa: S101  resolve has seen to it
    return prefix / f"{config.part}-repositories"


def _directories(config: Config, purpose: str) -> DestinationConfig:
    return DestinationConfig(
        name=DIRECTORY,
        kind=DIRECTORY,
        purpose=purpose,
        sources=config.sources,
        places=config.destinations[purpose],
        options=config.options,
        policy=policy_for(config.options, purpose),
    )


def _repository(config: Config, repository: NamedRepository) -> DestinationConfig:
    options = config.options
    remembered = _remembered(config) / repository.name
    ask = asking(options, repository.name)
    return DestinationConfig(
        name=repository.name,
        kind=REPOSITORY,
        purpose=STANDARD,
        sources=config.sources,
        repositories=tuple(
            RepositoryPlace(
                url=repository.url,
                site=_site(options, source),
                state=remembered / source.name,
                ask=ask,
                files=_further_files(config) if source.name == MAIN else None,
            )
            for source in config.sources
        ),
        options=options,
        policy=Policy(
            keep=None,
            hourly=options.repository_keep_hourly,
            daily=options.repository_keep_daily,
            weekly=options.repository_keep_weekly,
            monthly=options.repository_keep_monthly,
            yearly=options.repository_keep_yearly,
            within=options.repository_keep_within or None,
        ),
    )


def _further_files(config: Config) -> WantedFiles | None:
    """Return which further files are backed up: none that are backed up in another way."""
    options = config.options
    if not options.files:
        return None
    paths = tuple(map(Path, options.files))
    blobstorages = {source.blobstorage for source in config.sources if source.blobstorage}
    named = set(map(os.path.realpath, paths))
    kept_out = {_remembered(config)}
    kept_out |= {each for each in blobstorages if os.path.realpath(each) not in named}
    for purpose in config.destinations:
        for home in _directories(config, purpose).homes:
            kept_out.update(home.directories)
    for source in config.sources:
        log = source.filestorage
        kept_out |= {log, *(log.with_name(log.name + end) for end in (".index", ".lock", ".tmp"))}
        kept_out.add(log.with_name(f"{log.name}.old"))
    ours = (local_path(each.url) for each in listed(options.repository))
    kept_out.update(each for each in ours if each is not None)
    return WantedFiles(
        paths=paths,
        patterns=options.files_exclude,
        kept_out=tuple(sorted(kept_out)),
        blobstorages=tuple(sorted(blobstorages)),
    )


def _site(options: Options, source: Source) -> str:
    return options.site_name if source.name == MAIN else f"{options.site_name}/{source.name}"


def all_directories(config: Config) -> Iterator[Path]:
    """Yield every local directory that backups lie in, whatever they are for."""
    for purpose in config.destinations:
        for each in configured(config, purpose):
            for home in each.homes:
                yield from home.directories


def policy_for(options: Options, purpose: str) -> Policy:
    """Return how much is kept for a *purpose*."""
    if purpose == ZIP:
        return Policy(keep=1)
    full = options.full or purpose == SNAPSHOT
    if options.only_blobs and not full and not options.archive_blob and options.keep_blob_days:
        return Policy(keep=None, within=timedelta(days=options.keep_blob_days))
    return Policy(
        keep=options.keep,
        hourly=options.keep_hourly,
        daily=options.keep_daily,
        weekly=options.keep_weekly,
        monthly=options.keep_monthly,
        yearly=options.keep_yearly,
        within=options.keep_within or None,
    )

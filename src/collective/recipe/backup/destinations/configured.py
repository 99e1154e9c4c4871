"""Which destinations a site has, each with a configuration of its own.

A script is made for a *purpose*: the backups of every night, snapshots, one file to carry
away, those of another site to restore from.  For each purpose a site has a list of
destinations, at present of one: its directories.  A run acts on one of them.

What is here looks at nothing.  Whoever needs the restore points makes them: see making.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from collective.recipe.backup.config import SNAPSHOT, ZIP, Config
from collective.recipe.backup.destinations.directoryhome import home_in
from collective.recipe.backup.destinations.homes import Home
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import Place, Source
from collective.recipe.backup.options import Options
from collective.recipe.backup.retention import Policy

DIRECTORY = "directory"
"""The kind of a destination that lies in directories, and the name of the first one."""


@dataclass(frozen=True, kw_only=True)
class DestinationConfig:
    """One destination: what it is called, of which kind it is, where it lies, what it keeps."""

    name: str  # tells it from the others of its purpose
    kind: str  # DIRECTORY
    purpose: str  # STANDARD, SNAPSHOT, ZIP or ALTERNATIVE of config
    sources: tuple[Source, ...]  # what is backed up to it, in order
    places: tuple[Place, ...]  # the directories of each of the sources
    options: Options  # how it is written
    policy: Policy  # how much of it is kept

    @property
    def homes(self) -> list[Home]:
        """Where the restore points of each source are at home."""
        return [self.home(*each) for each in zip(self.sources, self.places, strict=True)]

    def home(self, source: Source, place: Place) -> Home:
        """Return where the restore points of *source* are at home in *place*."""
        only_blobs = self.options.only_blobs and bool(source.blobstorage)
        return home_in(source, place, only_blobs=only_blobs)


def configured(config: Config, purpose: str) -> tuple[DestinationConfig, ...]:
    """Return the destinations that the site has for a *purpose*, at present one."""
    directories = DestinationConfig(
        name=DIRECTORY,
        kind=DIRECTORY,
        purpose=purpose,
        sources=config.sources,
        places=config.destinations[purpose],
        options=config.options,
        policy=policy_for(config.options, purpose),
    )
    return (directories,)


def only_one(config: Config, purpose: str) -> DestinationConfig:
    """Return the destination for a *purpose*, for whoever acts on one."""
    [one] = configured(config, purpose)
    return one


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

"""From the facts about a site and the settings of its user to the configuration of a part."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from collective.recipe.backup.config import ALTERNATIVE, PART, SNAPSHOT, STANDARD, ZIP, Config
from collective.recipe.backup.config.overlaps import Named, PartLayout, overlaps
from collective.recipe.backup.config.repositories import (
    NAME,
    line_of,
    listed,
    local_path,
    repositories,
)
from collective.recipe.backup.config.storages import additional, alternatives
from collective.recipe.backup.errors import ConfigurationError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import MAIN, Place, Source
from collective.recipe.backup.options import Options
from collective.recipe.backup.options.optionkinds import NOWHERE, expanded
from collective.recipe.backup.options.parsing import Reading

LOCATIONS = {
    STANDARD: ("location", "blobbackuplocation"),
    SNAPSHOT: ("snapshotlocation", "blobsnapshotlocation"),
    ZIP: ("ziplocation", "blobziplocation"),
}
"""The options with the directories of a destination: of filestorage backups, of blob backups."""

_OWN_NAMES = {
    "location": "backups",
    "blobbackuplocation": "blobstoragebackups",
    "snapshotlocation": "snapshotbackups",
    "blobsnapshotlocation": "blobstoragesnapshots",
    "ziplocation": "zipbackups",
    "blobziplocation": "blobstoragezips",
}
_SUFFIXES = {
    "location": "s",
    "blobbackuplocation": "-blobstorages",
    "snapshotlocation": "-snapshots",
    "blobsnapshotlocation": "-blobstoragesnapshots",
    "ziplocation": "-zips",
    "blobziplocation": "-blobstoragezips",
}


@dataclass(frozen=True, kw_only=True)
class SiteFacts:
    """The facts about a site, before its options."""

    part: str  # name of the part
    base: Path  # where relative paths start, absolute
    is_zope: bool = False  # whether it is known to run Zope, and so to have blobs
    var: Path | None = None  # ``var`` directory by the site's configuration; None: it has none
    datafs: Path | None = None  # filestorage by the site's configuration; None: it has none
    blob_storage: Path | None = None  # blobstorage by the site's configuration; None: it has none
    parts: Path | None = None  # directory that buildout may empty; None: there is none
    additional: tuple[Source, ...] = ()
    """Further storages, unless additional_filestorages lists others."""
    doubts: tuple[str, ...] = ()
    """Why a filestorage in the usual place may not be that of the site, in sentences."""
    caches: tuple[Path, ...] = ()  # directories of the caches of its ZEO clients


class Resolved(NamedTuple):
    """A usable configuration, and warnings for the user."""

    config: Config  # the configuration
    warnings: tuple[str, ...]  # sentences


def directory_names(part: str) -> Mapping[str, str]:
    """Return the names of a part's directories, by option."""
    if part == PART:
        return _OWN_NAMES
    return {option: f"{part}{suffix}" for option, suffix in _SUFFIXES.items()}


def resolve(facts: SiteFacts, reading: Reading) -> Resolved:
    """Return the configuration of a part.

    Raises ConfigurationError that names every problem, those of *reading* included.
    """
    problems = list(reading.problems)
    options = _located(facts, reading.options, problems)
    if options.backup_blobs and options.blob_storage is None:
        problems.append(
            "backup_blobs is true, but there is no blobstorage: "
            "set blob_storage, or backup_blobs = false"
        )
    sources, warnings = _sources(facts, options, problems)
    origins: tuple[Place, ...] = ()
    if options.alternative_restore_source:
        at_base = partial(absolute, facts.base)
        origins = alternatives(options.alternative_restore_source, sources, at_base, problems)
    problems.extend(overlaps(_layout(facts, options, sources, origins)))
    if problems:
        raise ConfigurationError(
            f"part {facts.part} cannot be used as it is configured", problems=problems
        )
    kinds = () if options.location == NOWHERE else LOCATIONS
    destinations = {kind: _places(kind, options, sources) for kind in kinds}
    if origins:
        destinations[ALTERNATIVE] = origins
    is_sure = reading.options.datafs is not None or options.only_blobs
    config = Config(
        part=facts.part,
        sources=sources,
        destinations=destinations,
        options=options,
        doubts=() if is_sure else facts.doubts,
        caches=facts.caches,
    )
    if not options.backup_blobs:
        config = _without_blobs(config)
    elif options.only_blobs:
        config = _with_blobs_alone(config)
    return Resolved(config, (*reading.warnings, *warnings, *config.doubts))


def absolute(base: Path, path: Path) -> Path:
    """Return *path*, which starts at *base* if it is relative, without ``..`` in it.

    The last part of a path becomes a part of the names of backups, so ``..`` cannot stay.
    """
    path = base / path
    if ".." not in path.parts:
        return path
    plain, real = os.path.normpath(path), os.path.realpath(path)
    # after a link .. leads elsewhere
    return Path(plain if os.path.realpath(plain) == real else real)


def _located(facts: SiteFacts, options: Options, problems: list[str]) -> Options:
    """Return *options* with every path absolute, and derived where it was not set."""
    var = absolute(facts.base, facts.var or Path("var"))
    prefix = absolute(facts.base, options.locationprefix or var)
    blob_storage = options.blob_storage or facts.blob_storage
    if blob_storage is None and facts.is_zope:
        blob_storage = var / "blobstorage"
    datafs = options.datafs or facts.datafs or var / "filestorage" / "Data.fs"
    locations: dict[str, Any] = {
        name: absolute(prefix, getattr(options, name) or Path(default))
        for name, default in directory_names(facts.part).items()
    }
    found = repositories(options.repository, partial(absolute, facts.base), problems)
    passphrase = options.repository_passphrase_file
    return replace(
        options,
        repository=tuple(map(line_of, found)),
        repository_passphrase_file=passphrase and absolute(facts.base, passphrase),
        files=tuple(str(absolute(facts.base, expanded(line))) for line in options.files),
        site_name=options.site_name or _site_name(facts),
        locationprefix=prefix,
        datafs=absolute(facts.base, datafs),
        blob_storage=None if blob_storage is None else absolute(facts.base, blob_storage),
        repozo=None if options.repozo is None else absolute(facts.base, options.repozo),
        metrics_file=options.metrics_file and absolute(facts.base, options.metrics_file),
        report_file=options.report_file and absolute(facts.base, options.report_file),
        **(locations | {"location": NOWHERE} if options.location == NOWHERE else locations),
    )


def _site_name(facts: SiteFacts) -> str:
    return facts.base.name if facts.part == PART else f"{facts.base.name}-{facts.part}"


def _sources(
    facts: SiteFacts, options: Options, problems: list[str]
) -> tuple[tuple[Source, ...], list[str]]:
    """Return all storages, the main one last, and warnings."""
    assert options.datafs is not None  # noqa: S101  _located has seen to it
    main = Source(name=MAIN, filestorage=options.datafs, blobstorage=options.blob_storage)
    if not options.additional_filestorages:
        return (*facts.additional, main), []
    more, warnings = additional(
        options.additional_filestorages, main, partial(absolute, facts.base), problems
    )
    return (*more, main), warnings


def _places(kind: str, options: Options, sources: Sequence[Source]) -> tuple[Place, ...]:
    """Return where the destination *kind* keeps the backups of each source."""
    filestorages, blobstorages = (getattr(options, name) for name in LOCATIONS[kind])
    return tuple(
        Place(
            name=source.name,
            filestorage=_of(source, filestorages),
            blobstorage=None if source.blobstorage is None else _of(source, blobstorages),
        )
        for source in sources
    )


def _of(source: Source, directory: Path) -> Path:
    if source.name == MAIN:
        return directory
    return directory.with_name(f"{directory.name}_{source.name}")


def _without_blobs(config: Config) -> Config:
    return replace(
        config,
        sources=tuple(replace(source, blobstorage=None) for source in config.sources),
        destinations={
            kind: tuple(replace(place, blobstorage=None) for place in places)
            for kind, places in config.destinations.items()
        },
    )


def _with_blobs_alone(config: Config) -> Config:
    """Return *config* without the storages that have no blobs."""
    return replace(
        config,
        sources=tuple(source for source in config.sources if source.blobstorage),
        destinations={
            kind: tuple(place for place in places if place.blobstorage)
            for kind, places in config.destinations.items()
        },
    )


def _layout(
    facts: SiteFacts, options: Options, sources: Sequence[Source], origins: Sequence[Place]
) -> PartLayout:
    """Return all places by the names that a user knows them by."""
    return PartLayout(
        filestorages=[Named(_named("datafs", it), it.filestorage) for it in sources],
        blobstorages=[
            Named(_named("blob_storage", it), it.blobstorage) for it in sources if it.blobstorage
        ],
        directories=list(_directories(options, sources)),
        repositories=list(_repositories(options)),
        pages=list(_pages(options)),
        origins=[
            Named("alternative_restore_source", it.blobstorage) for it in origins if it.blobstorage
        ],
        parts=Named("the parts directory", facts.parts) if facts.parts else None,
    )


def _directories(options: Options, sources: Sequence[Source]) -> Iterator[Named]:
    """Yield every directory that backups may be written to, used at present or not."""
    if options.location == NOWHERE:
        return
    for source in sources:
        for names in LOCATIONS.values():
            for name in names:
                yield Named(_named(name, source), _of(source, getattr(options, name)))


def _repositories(options: Options) -> Iterator[Named]:
    """Yield every repository that is a directory of this machine."""
    for name, url in listed(options.repository):
        path = local_path(url)
        if path is not None:
            yield Named(NAME if name == NAME else f"{NAME} {name}", path)


def _pages(options: Options) -> Iterator[Named]:
    """Yield every file outside of the backups that is written anew each time."""
    for name in ("metrics_file", "report_file"):
        path = getattr(options, name)
        if path is not None:
            yield Named(name, path)


def _named(option: str, source: Source) -> str:
    return option if source.name == MAIN else f"{option} of {source.name}"

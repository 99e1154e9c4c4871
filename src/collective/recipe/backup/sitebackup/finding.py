"""The search for the site: its own configuration, else the places where sites usually lie.

::

    1. the zope.conf and zeo.conf that are given
    2. var_dir, if it is given
    3. etc/zope.conf  instance/etc/zope.conf  parts/*/etc/zope.conf
       etc/zeo.conf  parts/*/etc/zeo.conf      all that are there must mean the same
    4. instance/var  var                       of cookieplone and of buildout
    5. /data                                   of the official images of Plone

Relative places start at the base directory.  Nothing is guessed where two things fit, and no
filestorage is taken because it lies there if a configuration says that the data is elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from collective.recipe.backup.blobs.marker import WHAT_A_CACHE_IS, is_cache
from collective.recipe.backup.config.resolve import absolute, directory_names
from collective.recipe.backup.errors import ConfigurationError, printable
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import MAIN, Source
from collective.recipe.backup.sitebackup.agreeing import (
    ELSEWHERE_HINT,
    HINT,
    contradiction,
    described,
    disagreements,
    shown,
)
from collective.recipe.backup.sitebackup.databases import Configuration, read_configuration

CONFIGURATIONS = (
    "etc/zope.conf",
    "instance/etc/zope.conf",
    "parts/*/etc/zope.conf",
    "etc/zeo.conf",
    "parts/*/etc/zeo.conf",
)
VARS = ("instance/var", "var")
BLOBSTORAGES = ("blobstorage", "blobs")
"""Names of a blobstorage in a ``var`` directory, of buildout and of cookieplone."""
DATA_FS = Path("filestorage", "Data.fs")


@dataclass(frozen=True, kw_only=True)
class Site:
    """The facts about a site.

    A source without a blobstorage may still have one that was not found.
    """

    sources: tuple[Source, ...]  # all storages, the main one last
    var: Path  # its ``var`` directory
    prefix: Path | None = None  # where its backups belong; None: in var
    warnings: tuple[str, ...] = ()  # uncertainties, a sentence each
    caches: tuple[Path, ...] = ()  # where its ZEO clients keep what they have read

    @property
    def main(self) -> Source:
        """The main storage."""
        return self.sources[-1]


@dataclass(frozen=True, kw_only=True)
class Places:
    """The places to search."""

    base: Path  # base directory
    part: str  # name of the part
    zope_conf: Path | None = None  # given by the user; None: not given
    zeo_conf: Path | None = None  # given by the user; None: not given
    var: Path | None = None  # given by the user; None: not given
    image: Path = Path("/data")  # volume of the data in the official images
    shelf: Path = Path("/backups")  # volume of the backups in the official images

    @property
    def given(self) -> list[Path]:
        """The configuration files that the user has named."""
        return [self.base / path for path in (self.zope_conf, self.zeo_conf) if path]


def find(places: Places, *, datafs: Path | None = None) -> Site:
    """Return the one site that there is; *datafs* is its filestorage if that is known.

    Raises ConfigurationError that lists where was looked, if there is none or not just one.
    """
    if places.given:
        given = [read_configuration(path, places.base) for path in places.given]
        # they are the user's word, and need not agree
        return _configured(places, given) or _nowhere(given)
    if datafs is not None:
        datafs = absolute(places.base, datafs)
        return _in_var(places, (places.base / places.var) if places.var else _var(datafs), datafs)
    if places.var:
        return _in_var(places, places.base / places.var)
    paths = [path for pattern in CONFIGURATIONS for path in sorted(places.base.glob(pattern))]
    found = [read_configuration(path, places.base) for path in paths]
    warnings = tuple(disagreements(found))
    site = _configured(places, found, warnings)
    if site is None and any(each.main for each in found):
        _nowhere(found)
    return site or _in_usual_vars(places, paths)


# facts from configuration files


def _configured(
    places: Places, found: Sequence[Configuration], warnings: tuple[str, ...] = ()
) -> Site | None:
    """Return the site whose filestorages *found* name, None if they name none."""
    local = [each for each in found if each.sources]
    if len({each.sources for each in local}) > 1:
        raise contradiction("there are two sites here, or more", local)
    if not local:
        return None
    sources = local[0].sources
    left_out = (it for each in local for it in _left_out(each))
    site = _site(places, sources, _var(sources[-1].filestorage), (*warnings, *left_out))
    caches = (cache for each in found for it in each.databases for cache in it.caches)
    return replace(site, caches=tuple(dict.fromkeys(caches)))


def _nowhere(found: Iterable[Configuration]) -> NoReturn:
    raise ConfigurationError(
        "there is no filestorage to back up",
        hint=ELSEWHERE_HINT,
        problems=[described(each) for each in found],
    )


def _left_out(found: Configuration) -> Iterator[str]:
    for database in found.left_out:
        yield (
            f"{shown(found.path)}: the data of the database {printable(database.name)} is "
            f"{database.whereabouts}: it is not backed up here"
        )


# the usual places of sites


def _in_usual_vars(places: Places, read: Sequence[Path]) -> Site:
    """Return the site in one of the places where sites lie; nothing is in the files *read*."""
    nearby = [places.base / var for var in VARS]
    for usable in (_has_data, _has_backups):
        for group in (nearby, [places.image]):
            found = [var for var in group if usable(places, var)]
            if len(found) > 1:
                raise ConfigurationError(
                    "there are two sites here", hint=HINT, problems=[shown(it) for it in found]
                )
            if found:
                return _in_var(places, found[0])
    notes = [f"{shown(path)}: it has no filestorage" for path in read]
    named = {note.partition(": ")[0] for note in notes}
    looked = [
        *(f"{shown(places.base / pattern)}: not there" for pattern in CONFIGURATIONS),
        *(f"{shown(var / DATA_FS)}: not there" for var in (*nearby, places.image)),
    ]
    raise ConfigurationError(
        "no site was found",
        hint=HINT,
        problems=[*notes, *(it for it in looked if it.partition(": ")[0] not in named)],
    )


def _has_data(_places: Places, var: Path) -> bool:
    return os.path.isfile(var / DATA_FS)


def _has_backups(places: Places, var: Path) -> bool:
    """Tell whether there are backups of a site that may be lost itself."""
    location = directory_names(places.part)["location"]
    return os.path.isdir(var) and os.path.isdir((_prefix(places, var) or var) / location)


def _in_var(places: Places, var: Path, datafs: Path | None = None) -> Site:
    named = [var / name for name in BLOBSTORAGES if os.path.isdir(var / name)]
    caches = [it for it in named if is_cache(it)]
    there = [it for it in named if it not in caches] or list(_backed_up(places, var))
    if len(there) > 1:
        raise ConfigurationError(
            "there are two directories that may be the blobstorage",
            hint="set blob_storage, or backup_blobs = false",
            problems=[shown(it) for it in there],
        )
    main = Source(
        name=MAIN, filestorage=datafs or var / DATA_FS, blobstorage=there[0] if there else None
    )
    warnings = (f"{shown(it)} is {WHAT_A_CACHE_IS}" for it in caches)
    return _site(places, (main,), var, tuple(warnings))


def _backed_up(places: Places, var: Path) -> Iterator[Path]:
    """Yield where the blobstorage was that there are backups of: it may be lost itself."""
    location = directory_names(places.part)["blobbackuplocation"]
    with suppress(OSError):
        names = {
            name.partition(".")[0] for name in os.listdir((_prefix(places, var) or var) / location)
        }
        yield from (var / name for name in BLOBSTORAGES if name in names)


def _site(
    places: Places, sources: tuple[Source, ...], var: Path, warnings: tuple[str, ...] = ()
) -> Site:
    return Site(sources=sources, var=var, prefix=_prefix(places, var), warnings=warnings)


def _prefix(places: Places, var: Path) -> Path | None:
    """Return the volume for backups, where the data lies on that of an official image."""
    return places.shelf if var == places.image and os.path.isdir(places.shelf) else None


def _var(datafs: Path) -> Path:
    directory = datafs.parent
    return directory.parent if directory.name == DATA_FS.parent.name else directory

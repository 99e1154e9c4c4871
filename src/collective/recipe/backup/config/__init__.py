"""The configuration of one part, with all settings of its scripts.

The recipe resolves it once, when buildout runs, and stores it as JSON; each script loads it.
Nothing here looks at the disk, besides reading that file.

::

    {"format": 1, "part": "backup",
     "sources": [{"name": "1", "filestorage": "...", "blobstorage": "..." or null}, ...],
     "destinations": {"standard": [{"name": "1", "filestorage": "...", ...}, ...], ...},
     "options": {"keep": 2, ...},
     "doubts": [], "caches": []}

The file is ASCII: what is not, also the bytes of a path that are no text in any encoding, is
escaped, so every path survives.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from collective.recipe.backup.errors import ConfigurationError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.jsonfile import Form, LaterReleaseError, Table, UnreadableError
from collective.recipe.backup.model import Place, Source
from collective.recipe.backup.options import Options, declarations

FORM = Form(version=1, check=None, indent=2)
"""The stored form.  It has no check: buildout writes it anew whenever it is asked to."""

PART = "backup"
"""The name of a part whose scripts and directories have names of their own."""

STANDARD = "standard"
SNAPSHOT = "snapshot"
ZIP = "zip"
ALTERNATIVE = "alternative"

T = TypeVar("T", Source, Place)

_HINT = "run bin/buildout, which writes it"


@dataclass(frozen=True, kw_only=True)
class Config:
    """One part, resolved: every path in it is absolute, every default filled in.

    A source whose blobs are not backed up, for whatever reason, has no blobstorage here, and
    neither have its places.
    """

    part: str  # name of the part
    sources: tuple[Source, ...]  # in the order in which they are backed up, the main storage last
    destinations: Mapping[str, tuple[Place, ...]]
    """By purpose, the place of each source in the order of *sources*; without ALTERNATIVE unless it
    is configured, and empty if the site backs up to repositories alone."""
    options: Options  # all of them
    doubts: tuple[str, ...] = ()  # why the filestorage may not be that of the site: what to do
    caches: tuple[Path, ...] = ()  # where ZEO clients of the site keep what they have read


def dump(config: Config) -> bytes:
    """Return the stored form of *config*."""
    stored = {
        "part": config.part,
        "sources": [_stored(source) for source in config.sources],
        "destinations": {
            kind: [_stored(place) for place in places]
            for kind, places in config.destinations.items()
        },
        "options": {
            name: declared.kind.store(getattr(config.options, name))
            for name, declared in declarations().items()
        },
        "doubts": list(config.doubts),
        "caches": [os.fspath(path) for path in config.caches],
    }
    return FORM.encode(stored)


def load(path: Path) -> Config:
    """Return the configuration that is stored in *path*.

    Raises ConfigurationError if it is missing, damaged, or of another version.
    """
    try:
        stored = FORM.load(path)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the configuration of this script: {error.strerror}",
            where=path,
            hint=_HINT,
        ) from error
    except LaterReleaseError as error:
        raise _refused(path, "of another version", error) from error
    except UnreadableError as error:
        raise _refused(path, "damaged", error) from error
    if stored is None:
        what = f"cannot read the configuration of this script: {os.strerror(errno.ENOENT)}"
        raise ConfigurationError(what, where=path, hint=_HINT)
    try:
        return _config(stored)
    except (TypeError, ValueError) as error:
        raise _refused(path, "damaged or of another version", error) from error


def _stored(item: Source | Place) -> dict[str, str | None]:
    blobstorage = item.blobstorage
    return {
        "name": item.name,
        "filestorage": os.fspath(item.filestorage),
        "blobstorage": None if blobstorage is None else os.fspath(blobstorage),
    }


def _refused(path: Path, why: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"the configuration of this script is {why} ({error})",
        where=path,
        hint=_HINT,
    )


def _config(stored: Table) -> Config:
    sources = tuple(_fetched(Source, item) for item in stored.tables("sources"))
    places = stored.table("destinations")
    destinations = {
        kind: tuple(_fetched(Place, item) for item in places.tables(kind)) for kind in places
    }
    names = [source.name for source in sources]
    if not names or any(names != [place.name for place in it] for it in destinations.values()):
        raise ValueError("each source needs its place in each destination")
    return Config(
        part=stored.text("part"),
        sources=sources,
        destinations=destinations,
        options=_options(stored.table("options")),
        doubts=tuple(stored.texts("doubts") if "doubts" in stored else ()),
        caches=tuple(map(Path, stored.texts("caches") if "caches" in stored else ())),
    )


def _fetched(kind: type[T], stored: Table) -> T:
    return kind(
        name=stored.text("name"),
        filestorage=stored.path("filestorage"),
        blobstorage=stored.path_or_none("blobstorage"),
    )


def _options(stored: Table) -> Options:
    known = declarations()
    unknown = sorted(set(stored) - set(known))
    if unknown:
        raise ValueError(f"unknown options {', '.join(unknown)}")
    return Options(**{name: known[name].kind.from_stored(stored.value(name)) for name in stored})

"""The configuration of one part: all that its scripts need to know.

The recipe resolves it once, when buildout runs, and stores it as JSON; each script loads it.
Nothing here looks at the disk, besides reading that file.

::

    {"format": 1, "part": "backup",
     "sources": [{"name": "1", "filestorage": "...", "blobstorage": "..." or null}, ...],
     "destinations": {"standard": [{"name": "1", "filestorage": "...", ...}, ...], ...},
     "options": {"keep": 2, ...}}

The file is ASCII: what is not, also the bytes of a path that are no text in any encoding, is
escaped, so every path survives.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from collective.recipe.backup.errors import ConfigurationError
from collective.recipe.backup.model import Place, Source
from collective.recipe.backup.options import Options, declarations

FORMAT = 1
"""The version of the stored form; higher ones come from a later release."""

PART = "backup"
"""The name of a part whose scripts and directories have names of their own."""

STANDARD = "standard"
SNAPSHOT = "snapshot"
ZIP = "zip"
ALTERNATIVE = "alternative"

T = TypeVar("T", Source, Place)


@dataclass(frozen=True, kw_only=True)
class Config:
    """One part, resolved: every path in it is absolute, every default filled in.

    *sources* are in the order in which they are backed up, the main storage last.
    *destinations* has, for each kind of destination, the place of each source in the same
    order; ALTERNATIVE is only there if it is configured.  A source whose blobs are not
    backed up, for whatever reason, has no blobstorage here, and neither have its places.
    """

    part: str
    sources: tuple[Source, ...]
    destinations: Mapping[str, tuple[Place, ...]]
    options: Options


def dump(config: Config) -> bytes:
    """Return the stored form of *config*."""
    stored = {
        "format": FORMAT,
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
    }
    return json.dumps(stored, indent=2, ensure_ascii=True).encode("ascii") + b"\n"


def load(path: Path) -> Config:
    """Return the configuration that is stored in *path*.

    Raises ConfigurationError if it is missing, damaged, or of a later version.
    """
    hint = "run bin/buildout, which writes it"
    try:
        stored = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the configuration of this script: {error.strerror}", where=path, hint=hint
        ) from error
    except ValueError as error:
        raise ConfigurationError(
            f"the configuration of this script is damaged ({error})", where=path, hint=hint
        ) from error
    try:
        return _config(stored)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"the configuration of this script is damaged or of another version ({error!r})",
            where=path,
            hint=hint,
        ) from error


def _stored(item: Source | Place) -> dict[str, str | None]:
    blobstorage = item.blobstorage
    return {
        "name": item.name,
        "filestorage": os.fspath(item.filestorage),
        "blobstorage": None if blobstorage is None else os.fspath(blobstorage),
    }


def _config(stored: Any) -> Config:
    if stored["format"] != FORMAT:
        raise ValueError(f"format {stored['format']}, this version knows {FORMAT}")
    sources = tuple(_fetched(Source, item) for item in stored["sources"])
    destinations = {
        kind: tuple(_fetched(Place, item) for item in places)
        for kind, places in stored["destinations"].items()
    }
    names = [source.name for source in sources]
    if not names or any(names != [place.name for place in it] for it in destinations.values()):
        raise ValueError("each source needs its place in each destination")
    return Config(
        part=_text(stored["part"]),
        sources=sources,
        destinations=destinations,
        options=_options(stored["options"]),
    )


def _fetched(kind: type[T], stored: Any) -> T:
    blobstorage = stored["blobstorage"]
    return kind(
        name=_text(stored["name"]),
        filestorage=Path(_text(stored["filestorage"])),
        blobstorage=None if blobstorage is None else Path(_text(blobstorage)),
    )


def _options(stored: Any) -> Options:
    known = declarations()
    unknown = sorted(set(stored) - set(known))
    if unknown:
        raise ValueError(f"unknown options {', '.join(unknown)}")
    return Options(**{name: known[name].kind.from_stored(value) for name, value in stored.items()})


def _text(stored: object) -> str:
    if not isinstance(stored, str):
        raise ValueError(f"should be a text, not {stored!r}")
    return stored

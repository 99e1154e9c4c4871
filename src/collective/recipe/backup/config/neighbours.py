"""Other parts of the same buildout, whose backups must not lie among those of this one.

A prune removes the blobs that none of its own restore points needs.  So a directory of blobs
belongs to one directory of filestorage backups; parts that share both share one lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from collective.recipe.backup.config import ALTERNATIVE, Config, load
from collective.recipe.backup.errors import ConfigurationError


def neighbours(config_path: Path) -> Iterator[Config]:
    """Yield the configurations of all parts that are installed beside that in *config_path*."""
    for path in sorted(config_path.parent.parent.glob(f"*/{config_path.name}")):
        if path != config_path:
            try:
                yield load(path)
            except ConfigurationError:
                # another recipe may have a file of this name
                continue


def clashes(config: Config, others: Iterable[Config]) -> Iterator[str]:
    """Yield a sentence for each directory of blobs that *config* shares by half."""
    pairs = dict(_pairs(config))
    for other in others:
        for blobs, filestorages in _pairs(other):
            if pairs.get(blobs, filestorages) != filestorages:
                yield (
                    f"{blobs} holds the blobs of part {other.part} as well, whose filestorage"
                    f" backups lie in {filestorages}: each would remove those of the other"
                )


def _pairs(config: Config) -> Iterator[tuple[Path, Path]]:
    """Yield each directory of blob backups and its directory of filestorage backups."""
    for kind, places in config.destinations.items():
        for place in places if kind != ALTERNATIVE else ():
            if place.blobstorage is not None:
                yield _real(place.blobstorage), _real(place.filestorage)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))

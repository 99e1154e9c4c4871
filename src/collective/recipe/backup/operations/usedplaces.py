"""Places in which the site or its backups live, where nothing else may be put.

A file of ours in a blobstorage would be backed up for ever; one among backups would be taken for
a part of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from collective.recipe.backup.config import Config
from collective.recipe.backup.destinations.configured import all_directories
from collective.recipe.backup.errors import UsageError
from collective.recipe.backup.model import Source


def used_places(config: Config) -> Iterator[tuple[str, Path]]:
    """Yield what each place is, behind its path, and the place, links followed."""
    for place in places_of(config.sources):
        yield "belongs to the live site", place
    for directory in all_directories(config):
        yield "holds backups", Path(os.path.realpath(directory))


def places_of(sources: Iterable[Source]) -> Iterator[Path]:
    """Yield filestorage and blobstorage of each of *sources*, links followed."""
    for source in sources:
        for path in filter(None, (source.filestorage, source.blobstorage)):
            yield Path(os.path.realpath(path))


def refuse_within(config: Config, path: Path) -> None:
    """Raise UsageError if a file or a directory *path* would lie in one of them."""
    real = Path(os.path.realpath(path))
    for what, used in used_places(config):
        if real.is_relative_to(used):
            raise UsageError(
                f"nothing else may be put there: {used} {what}",
                where=path,
                hint="name a place outside of it",
            )

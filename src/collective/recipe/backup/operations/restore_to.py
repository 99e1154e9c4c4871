"""A restore to another place, which must not be in use by the site or its backups.

During a restore to another place the site may be running, and only the filestorage that is replaced
is locked.  So a place that the site or its backups use is refused: live blobs would change under a
server that has them open, and backups would be overwritten.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from collective.recipe.backup.config import Config
from collective.recipe.backup.errors import UsageError
from collective.recipe.backup.model import Source
from collective.recipe.backup.operations.usedplaces import places_of, used_places


def must_be_directory(to: Path) -> None:
    """Raise UsageError if *to*, or what it would lie in, is something else than a directory."""
    there = next((each for each in (to, *to.parents) if os.path.exists(each)), to)
    if os.path.exists(there) and not os.path.isdir(there):
        raise UsageError(
            "this is not a directory, so nothing can be restored into it",
            where=there,
            hint="name a directory with --to; it is made if it is not there",
        )


def refuse_used(config: Config, targets: Sequence[Source]) -> None:
    """Raise UsageError if *targets*, links followed, touch the site or its backups."""
    used = list(used_places(config))
    for place in places_of(targets):
        for what, other in used:
            if place.is_relative_to(other) or other.is_relative_to(place):
                raise UsageError(
                    f"cannot restore to {place}: {other} {what}",
                    hint="name a directory of its own with --to, or leave --to out to restore "
                    "the site itself",
                )

"""A standby is no site to be backed up; each backup asks, so this imports little."""

from __future__ import annotations

from collective.recipe.backup.errors import ConfigurationError
from collective.recipe.backup.model import Source
from collective.recipe.backup.restoring import standbymark


def refuse_standby(source: Source) -> None:
    """Raise ConfigurationError if what is to be backed up as *source* is a standby of a site.

    Its restore points would be taken for those of the site that it follows.
    """
    mark = standbymark.read(source.filestorage)
    if mark is not None and mark.promoted is None:
        raise ConfigurationError(
            f"this is a standby of {mark.source}: it is no site that has a past of its own",
            where=source.filestorage,
            hint="back up the site that it follows; if it has taken its place, standby --promote "
            "makes it a site",
        )

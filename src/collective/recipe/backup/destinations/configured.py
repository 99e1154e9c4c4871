"""From a configuration to destinations, and to how much is kept in them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from collective.recipe.backup.blobs import holdings
from collective.recipe.backup.config import ALTERNATIVE, SNAPSHOT, STANDARD, ZIP
from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.destinations.blobpart import MakeStyle
from collective.recipe.backup.destinations.blobstyles import BlobPlace, Style
from collective.recipe.backup.destinations.directory import Directory, DirectorySettings
from collective.recipe.backup.destinations.homes import Home, home_in
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import Place, Source
from collective.recipe.backup.options import Options
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.retention import Policy

if TYPE_CHECKING:
    from collective.recipe.backup.blobs.copying import Transfer
    from collective.recipe.backup.destinations.blobstyles.archived import FullArchives


class Configured:
    """Makes the destinations of one *kind* (see config) as *options* have them."""

    def __init__(  # noqa: PLR0913  the last two come from outside, as everywhere
        self,
        options: Options,
        kind: str,
        *,
        following: bool = False,
        files: Files,
        progress: Progress,
    ) -> None:
        self._options = options
        self._following = following
        self._kind = kind
        self._files = files
        self._progress = progress

    def destination(self, source: Source, place: Place) -> Destination:
        """Return the restore points of *source* in *place*."""
        options, style = self._options, style_for(self._options, self._kind)
        self._files.limit(place.filestorage, source.filestorage)
        if source.blobstorage and place.blobstorage:
            self._files.limit(place.blobstorage, source.blobstorage)
        named = _named(source, place) if self._kind == ALTERNATIVE else None
        if options.only_blobs and source.blobstorage and place.blobstorage:
            workshop = BlobPlace(
                source=source.blobstorage,
                directory=place.blobstorage,
                files=self._files,
                progress=self._progress,
                named=named,
            )
            from collective.recipe.backup.destinations.blobsonly import BlobsOnly

            always = options.blob_snapshots == "each" and not options.archive_blob
            return BlobsOnly(
                source, home_for(options, source, place), workshop, style, always=always
            )
        level = int(options.gzip_level) if options.gzip or self._kind == ZIP else None
        program = None
        if options.repozo is not None:
            from collective.recipe.backup.destinations.program import Repozo

            program = Repozo(
                program=options.repozo,
                verbose=options.debug,
                quick=options.quick,
                gzip=level is not None,
            )
        settings = DirectorySettings(
            level=level,
            merged_later=self._following,
            strict=not options.quick,
            repozo=program,
            blobs=style,
            named=named,
        )
        return Directory(source, place, settings, files=self._files, progress=self._progress)


def home_for(options: Options, source: Source, place: Place) -> Home:
    """Return where the restore points of *source* are at home in *place*; nothing is looked at."""
    return home_in(source, place, only_blobs=options.only_blobs and bool(source.blobstorage))


def _named(source: Source, place: Place) -> str | None:
    """Return how another site calls its blobstorage, None if as we do.

    Raises BackupError if several are there and none has our name.
    """
    if source.blobstorage is None or place.blobstorage is None:
        return None
    storages = holdings.storages(place.blobstorage)
    if not storages or source.blobstorage.name in storages:
        return None
    if len(storages) > 1:
        raise BackupError(
            "there are backups of several blobstorages here, and none is called "
            f"{source.blobstorage.name}: {', '.join(sorted(storages))}",
            where=place.blobstorage,
            hint="put those of the one to restore into a directory of their own",
        )
    return storages.pop()


def policy_for(options: Options, kind: str) -> Policy:
    """Return how much is kept in a destination of *kind*."""
    if kind == ZIP:
        return Policy(keep=1)
    full = options.full or kind == SNAPSHOT
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


def style_for(options: Options, kind: str) -> MakeStyle:
    """Return what makes the style in which a destination of *kind* keeps blobs.

    It imports that style, which only a run needs that has blobs to add.
    """
    return partial(_style, options, kind)


def _style(options: Options, kind: str, workshop: BlobPlace) -> Style:
    if kind == ZIP or options.archive_blob:
        return _archives(options, kind)(workshop, compressed=options.compress_blob)
    from collective.recipe.backup.destinations.blobstyles.trees import (
        EachBackup,
        EachChain,
        Numbered,
    )

    by = _transfer(options)
    if not options.blob_timestamps:
        return Numbered(workshop, by)
    # rsync makes a whole tree: it does not know which blobs a log names
    if options.blob_snapshots == "each" or options.use_rsync:
        return EachBackup(workshop, by)
    return EachChain(workshop, by)


def _archives(options: Options, kind: str) -> type[FullArchives]:
    from collective.recipe.backup.destinations.blobstyles.archived import (
        FullArchives,
        IncrementalArchives,
        NumberedArchives,
    )

    if kind == ZIP or not options.blob_timestamps:
        return NumberedArchives
    # a snapshot is for itself; altrestore finds what bin/backup of another site has made
    if options.incremental_blobs and kind == STANDARD:
        return IncrementalArchives
    return FullArchives


def _transfer(options: Options) -> Callable[..., Transfer]:
    first = options.rsync_hard_links_on_first_copy
    if options.use_rsync:
        from collective.recipe.backup.blobs.rsync import ByRsync

        return partial(ByRsync, options=options.rsync_options, link_first=first)
    if first:
        from collective.recipe.backup.blobs.snapshots import LinkedFirst

        return LinkedFirst
    from collective.recipe.backup.blobs.copying import Transfer

    return Transfer

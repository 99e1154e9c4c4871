"""From the configuration of a destination to the restore points of each source in it.

The rooms of one kind of destination are imported only when one of that kind is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from collective.recipe.backup.config import ALTERNATIVE, STANDARD, ZIP
from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.destinations.configured import REPOSITORY, DestinationConfig
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import Place, Source
from collective.recipe.backup.options import Options
from collective.recipe.backup.progress import Progress

if TYPE_CHECKING:
    from collective.recipe.backup.blobs.copying import Transfer
    from collective.recipe.backup.destinations.directory.blobpart import MakeStyle
    from collective.recipe.backup.destinations.directory.blobstyles import BlobPlace, Style
    from collective.recipe.backup.destinations.directory.blobstyles.archivestyles import (
        FullArchives,
    )
    from collective.recipe.backup.destinations.directory.program import Repozo
    from collective.recipe.backup.destinations.repository.place import RepositoryPlace
    from collective.recipe.backup.destinations.repository.storecare import StoreCare
    from collective.recipe.backup.stores import Store
    from collective.recipe.backup.stores.allowance import Allowance


def made(  # noqa: PLR0913  the last four come from outside, as everywhere
    configured: DestinationConfig,
    *,
    following: bool = False,
    files: Files,
    progress: Progress,
    allowance: Allowance | None = None,
    abreast: int = 1,
) -> list[Destination]:
    """Return the restore points of each source, in order; *following*: many small ones come.

    Requests to the store of a repository count to the *allowance*.  So many repositories
    *abreast* share the memory that one may take: each puts less at the same time.
    """
    if configured.kind == REPOSITORY:
        from collective.recipe.backup.destinations.repository.storecare import StoreCare

        care = StoreCare()
        return [
            _in_repository(
                configured,
                *(source, place),
                store=_store(place, files, allowance, abreast),
                files=files,
                progress=progress,
                care=care,
            )
            for source, place in zip(configured.sources, configured.repositories, strict=True)
        ]
    pairs = zip(configured.sources, configured.places, strict=True)
    return [
        _directory(configured, *pair, following=following, files=files, progress=progress)
        for pair in pairs
    ]


def _store(
    place: RepositoryPlace, files: Files, allowance: Allowance | None, abreast: int
) -> Store:
    from collective.recipe.backup.stores.opening import store_at

    store = store_at(place.url, files, allowance, place.as_of)
    parallel = max(1, store.promises.parallel // abreast)
    store.promises = replace(store.promises, parallel=parallel)
    return store


def _in_repository(  # noqa: PLR0913  the last two come from outside, as everywhere
    configured: DestinationConfig,
    source: Source,
    place: RepositoryPlace,
    *,
    store: Store,
    files: Files,
    progress: Progress,
    care: StoreCare,
) -> Destination:
    from collective.recipe.backup.destinations.repository.repositorydestination import (
        RepositoryDestination,
    )

    make = RepositoryDestination
    if configured.options.only_blobs and source.blobstorage:
        from collective.recipe.backup.destinations.repository.blobsonlyrepository import (
            BlobsOnlyRepository,
        )

        make = BlobsOnlyRepository
    return make(source, place, store=store, files=files, progress=progress, care=care)


def _directory(  # noqa: PLR0913  the last two come from outside, as everywhere
    configured: DestinationConfig,
    source: Source,
    place: Place,
    *,
    following: bool,
    files: Files,
    progress: Progress,
) -> Destination:
    """Return the restore points of *source* in *place*."""
    from collective.recipe.backup.destinations.directory.blobstyles import BlobPlace
    from collective.recipe.backup.destinations.directory.directorydestination import Directory
    from collective.recipe.backup.destinations.directory.directorysettings import DirectorySettings

    options, purpose = configured.options, configured.purpose
    style = style_for(options, purpose)
    files.limit(place.filestorage, source.filestorage)
    if source.blobstorage and place.blobstorage:
        files.limit(place.blobstorage, source.blobstorage)
    named = _named(source, place) if purpose == ALTERNATIVE else None
    if options.only_blobs and source.blobstorage and place.blobstorage:
        workshop = BlobPlace(
            source=source.blobstorage,
            directory=place.blobstorage,
            files=files,
            progress=progress,
            named=named,
        )
        from collective.recipe.backup.destinations.directory.blobsonly import BlobsOnly

        always = options.blob_snapshots == "each" and not options.archive_blob
        home = configured.home(source, place)
        return BlobsOnly(source, home, workshop, style, always=always)
    level = int(options.gzip_level) if options.gzip or purpose == ZIP else None
    settings = DirectorySettings(
        level=level,
        merged_later=following,
        strict=not options.quick,
        repozo=_program(options, gzip=level is not None),
        blobs=style,
        named=named,
    )
    return Directory(source, place, settings, files=files, progress=progress)


def _program(options: Options, *, gzip: bool) -> Repozo | None:
    """Return the program of the user's that writes the filestorage part, None: we do."""
    if options.repozo is None:
        return None
    from collective.recipe.backup.destinations.directory.program import Repozo

    return Repozo(program=options.repozo, verbose=options.debug, quick=options.quick, gzip=gzip)


def _named(source: Source, place: Place) -> str | None:
    """Return how another site calls its blobstorage, None if as we do.

    Raises BackupError if several are there and none has our name.
    """
    if source.blobstorage is None or place.blobstorage is None:
        return None
    from collective.recipe.backup.blobs import holdings

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


def style_for(options: Options, purpose: str) -> MakeStyle:
    """Return what makes the style in which blobs are kept for a *purpose*.

    It imports that style, which only a run needs that has blobs to add.
    """
    return partial(_style, options, purpose)


def _style(options: Options, purpose: str, workshop: BlobPlace) -> Style:
    if purpose == ZIP or options.archive_blob:
        return _archives(options, purpose)(workshop, compressed=options.compress_blob)
    from collective.recipe.backup.destinations.directory.blobstyles.treestyles import (
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


def _archives(options: Options, purpose: str) -> type[FullArchives]:
    from collective.recipe.backup.destinations.directory.blobstyles.archivestyles import (
        FullArchives,
        IncrementalArchives,
        NumberedArchives,
    )

    if purpose == ZIP or not options.blob_timestamps:
        return NumberedArchives
    # a snapshot is for itself; altrestore finds what bin/backup of another site has made
    if options.incremental_blobs and purpose == STANDARD:
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

"""Restore blobs from a chain of archives, to a place beside the live ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from collective.recipe.backup.blobs.archives.archivenames import Archive
from collective.recipe.backup.blobs.archives.archivereading import members
from collective.recipe.backup.blobs.archives.building import broken
from collective.recipe.backup.blobs.archives.diskground import DiskGround
from collective.recipe.backup.blobs.archives.unpacking import Unpacking
from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.marker import settle
from collective.recipe.backup.contents import laid_out_in
from collective.recipe.backup.errors import BackupError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.times import Tid


def stage(  # noqa: PLR0913  files and progress come from outside, as everywhere
    archives: Sequence[Archive],
    target: Path,
    *,
    live: Path | None,
    until: Tid,
    files: Files,
    progress: Progress,
    size: int | None = None,
) -> Copied:
    """Unpack *archives*, a chain, to *target*, durably, without blobs later than *until*.

    *target* must be missing, or hold only the directories of ``contents.lay_out``; the caller
    publishes it afterwards.  Blobs of *live* with the same size, time and bytes are linked.  The
    files in *archives* have *size* bytes in all (None: unknown).  Raises IntegrityError that names
    the archive if one is damaged or missing, or has an entry that does not fit the tree, or if all
    together do not have *size* bytes.
    """
    with explained("cannot restore the blobs", target):
        if laid_out_in(target) is None:
            raise BackupError(
                "the place to restore to is not empty", where=target, hint="move it away"
            )
        for error in broken(archives):
            raise error
        files.make_directory(target)
        ground = DiskGround(target, live if live and live.is_dir() else None, files)
        stored = sum(archive.path.stat().st_size for archive in archives)
        with progress.phase("blobs", stored) as advance:
            read = partial(members, advance=advance)
            held = Unpacking(ground, until).run(archives, read, size=size)
        settle(target, files)
        files.sync_tree(target)
    return replace(ground.sum(), foreign=held.foreign, whole=held.whole)

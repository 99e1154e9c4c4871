"""Restore blobs from a chain of archives, to a place beside what is live."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from collective.recipe.backup.blobs.archives.building import broken
from collective.recipe.backup.blobs.archives.ground import Refused
from collective.recipe.backup.blobs.archives.names import Archive
from collective.recipe.backup.blobs.archives.reading import mark_of, members
from collective.recipe.backup.blobs.archives.stored import damaged, other_size
from collective.recipe.backup.blobs.archives.unpacking import Unpacking
from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.marker import laid_out, settle
from collective.recipe.backup.contents import laid_out_in
from collective.recipe.backup.errors import BackupError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import Advance, Progress
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
    """Unpack *archives*, a chain, to *target*, durably, but for the blobs later than *until*.

    *target* must hold nothing but what ``contents.lay_out`` has made, or not be there; whoever
    publishes it does so afterwards.  Blobs of *live* with the same size, time and bytes are
    linked.  The files in *archives* have *size* bytes in all (None: unknown).  Raises
    IntegrityError that names the archive if one is damaged or missing, or holds what does not
    belong into the tree, or if all together do not hold *size* bytes.
    """
    with explained("cannot restore the blobs", target):
        if laid_out_in(target) is None:
            raise BackupError(
                "the place to restore to is not empty", where=target, hint="move it away"
            )
        for error in broken(archives):
            raise error
        files.make_directory(target)
        unpacking = Unpacking(target, live if live and live.is_dir() else None, until, files)
        stored = sum(archive.path.stat().st_size for archive in archives)
        with progress.phase("blobs", stored) as advance:
            for archive in archives:
                if not archive.delta and mark_of(archive):
                    unpacking.begin_full()
                if archive.delta:
                    # the storage may have been migrated to another layout since the full one
                    unpacking.begin_delta(laid_out(target) if mark_of(archive) else None)
                _unpack(archive, unpacking, advance)
        copied = unpacking.sum()
        if size is not None and copied.whole != size:
            raise other_size(archives, found=copied.whole, expected=size)
        settle(target, files)
        files.sync_tree(target)
    return copied


def _unpack(archive: Archive, unpacking: Unpacking, advance: Advance) -> None:
    try:
        for member in members(archive, advance):
            unpacking.add(member)
        unpacking.end_archive()
    except Refused as error:
        raise damaged(archive, str(error)) from error

"""The functions of this name that other code calls: back up and restore blobs alone.

Parameters and what comes out are those that callers have known since release 2; the work is
done by the engine that the scripts use.  Success returns nothing, failure raises a
BackupError.

::

    DESTINATION/NAME.0/NAME/...           the newest tree; NAME.1 is the one before
    DESTINATION/NAME.0.tar[.gz]           archives
    DESTINATION/NAME.STAMP/NAME/...       with timestamps
    DESTINATION/NAME.STAMP.delta.tar      with incremental_blobs

NAME is the last part of the path of the blobstorage.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from pathlib import Path

from collective.recipe.backup import locking, times
from collective.recipe.backup.blobs import holdings
from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.copying import Transfer
from collective.recipe.backup.blobs.holdings import Holding, Holdings
from collective.recipe.backup.blobs.holdings.archiveholdings import Archived
from collective.recipe.backup.blobs.marker import refuse_cache
from collective.recipe.backup.blobs.rsync import PROGRAM, ByRsync
from collective.recipe.backup.blobs.snapshots import LinkedFirst
from collective.recipe.backup.chronology import judge
from collective.recipe.backup.destinations.directory.blobpart import BlobPart, MakeStyle
from collective.recipe.backup.destinations.directory.blobstyles import BlobPlace, Trust
from collective.recipe.backup.destinations.directory.blobstyles.archivestyles import (
    FullArchives,
    IncrementalArchives,
    NumberedArchives,
)
from collective.recipe.backup.destinations.directory.blobstyles.treestyles import (
    EachBackup,
    Numbered,
)
from collective.recipe.backup.destinations.manifestpoint import what_differs, what_is_lacking
from collective.recipe.backup.errors import IntegrityError, NoRestorePoint, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.repozo.ledger import is_data_file
from collective.recipe.backup.restoring import letting_go, swap
from collective.recipe.backup.restoring.journal import journal_path
from collective.recipe.backup.restoring.journalcheck import check_names
from collective.recipe.backup.restoring.stagedblobs import BlobStaging
from collective.recipe.backup.restoring.ways import way_of
from collective.recipe.backup.times import LAST_TID

logger = logging.getLogger("backup")

AnyPath = str | os.PathLike[str]


def backup_blobs(
    source: AnyPath,
    destination: AnyPath,
    full: bool = False,
    use_rsync: bool = True,
    keep: int | str = 0,
    keep_blob_days: int | str = 0,
    archive_blob: bool = False,
    rsync_options: str = "",
    timestamps: bool = False,
    fs_backup_location: AnyPath | None = None,
    compress_blob: bool = False,
    incremental_blobs: bool = False,
    rsync_hard_links_on_first_copy: bool = False,
    gzip_blob: bool = False,
) -> None:
    """Copy the blobstorage *source* into the directory *destination*.

    Of backups that have filestorage backups beside them (*fs_backup_location*) those go
    that are older than all full ones of these.  Otherwise *keep* stay (0: all), or, unless
    it is *full*, those of the last *keep_blob_days*.
    """
    if archive_blob or gzip_blob:
        backup_blobs_archive(
            source,
            destination,
            keep=keep,
            timestamps=timestamps,
            fs_backup_location=fs_backup_location,
            compress_blob=compress_blob or gzip_blob,
            incremental_blobs=incremental_blobs,
            full=full,
        )
        return
    by: Callable[..., Transfer] = LinkedFirst if rsync_hard_links_on_first_copy else Transfer
    if use_rsync and shutil.which(PROGRAM):
        options = tuple(shlex.split(rsync_options))
        by = partial(ByRsync, options=options, link_first=rsync_hard_links_on_first_copy)
    style = partial(EachBackup if timestamps else Numbered, by=by)
    call = _Call(source, destination, style)
    copied = call.back_up(_stamp_of(fs_backup_location) if timestamps else None)
    call.prune(fs_backup_location, keep=int(keep), days=0 if full else int(keep_blob_days))
    _check(copied)


def backup_blobs_archive(
    source: AnyPath,
    destination: AnyPath,
    keep: int | str = 0,
    timestamps: bool = False,
    fs_backup_location: AnyPath | None = None,
    compress_blob: bool = False,
    incremental_blobs: bool = False,
    full: bool = False,
) -> None:
    """Put the blobstorage *source* into an archive in the directory *destination*.

    With *incremental_blobs* the archive has only new blobs, unless it is *full*; such archives have
    time stamps.  *keep* full archives stay, each with the incremental ones on it.
    """
    archives = FullArchives if timestamps else NumberedArchives
    if incremental_blobs:
        archives = IncrementalArchives
    call = _Call(source, destination, partial(archives, compressed=compress_blob))
    stamped = timestamps or incremental_blobs
    copied = call.back_up(_stamp_of(fs_backup_location) if stamped else None, anew=full)
    call.prune(fs_backup_location, keep=int(keep), days=0)
    _check(copied)


def backup_blobs_gzip(source: AnyPath, destination: AnyPath, keep: int | str = 0) -> None:
    """Put the blobstorage *source* into a compressed archive with the number 0."""
    backup_blobs_archive(source, destination, keep=keep, compress_blob=True)


def restore_blobs(
    source: AnyPath,
    destination: AnyPath,
    use_rsync: bool = True,  # noqa: ARG001  either way the live blobs stay until all is there
    date: str | None = None,
    archive_blob: bool = False,
    rsync_options: str = "",  # noqa: ARG001  our own copier restores
    timestamps: bool = False,  # noqa: ARG001  both kinds of names are found
    only_check: bool = False,
    incremental_blobs: bool = False,  # noqa: ARG001  and says itself what it builds on
    gzip_blob: bool = False,
) -> None:
    """Make the blobstorage *destination* what it was at *date*, from the directory *source*.

    That is the newest backup at or before it, or of all.  Directories are taken, archives
    with *archive_blob*, the others where there is none of these.  With *only_check* nothing
    is done.  Raises NoRestorePoint if there is none.
    """
    archived = archive_blob or gzip_blob
    _restore(source, destination, date, archived=archived, only_check=only_check)


def restore_blobs_archive(
    source: AnyPath,
    destination: AnyPath,
    date: str | None = None,
    timestamps: bool = False,  # noqa: ARG001  what is there is found by both
    only_check: bool = False,
    incremental_blobs: bool = False,  # noqa: ARG001  what is there says what it builds on
) -> None:
    """Restore the blobstorage *source* from archives in the directory *destination*."""
    restore_blobs(source, destination, date=date, archive_blob=True, only_check=only_check)


def restore_blobs_gzip(source: AnyPath, destination: AnyPath, date: str | None = None) -> None:
    """Restore the blobstorage *source* from archives, as in older releases."""
    restore_blobs_archive(source, destination, date=date)


class _Call:
    """One call: from where to where, and in which style."""

    def __init__(self, source: AnyPath, destination: AnyPath, style: MakeStyle) -> None:
        self._files = Files()
        self._shop = BlobPlace(
            source=_plain(source),
            directory=_plain(destination),
            files=self._files,
            progress=Silent(),
        )
        self._files.limit(self._shop.directory, self._shop.source)
        self._part = BlobPart(self._shop, style)

    def back_up(self, stamp: str | None, *, anew: bool = False) -> Copied:
        """Make a backup with *stamp*, if there is none of it; with the present one for None."""
        refuse_cache(self._shop.source)
        with explained("cannot back up the blobs", self._shop.directory):
            self._files.make_directories(self._shop.directory)
            with locking.alone(self._shop.directory):
                found = self._part.found()
                if stamp is None or not any(each.stamp == stamp for each in found.values()):
                    stamp = stamp or self._part.unused(times.utcnow())
                    before = None if anew else _to_build_on(found)
                    return self._part.back_up_all(stamp, before=before, trust=Trust())[1]
        return Copied()

    def prune(self, beside: AnyPath | None, *, keep: int, days: int) -> None:
        """Remove what need not stay any longer."""
        with explained("cannot remove old backups", self._shop.directory):
            found = list(self._part.found().values())
            oldest = _oldest_full(beside)
            if oldest is not None:
                kept = [each for each in found if each.stamp >= oldest]
            elif days:
                kept = _younger_than(timedelta(days=days), found)
            else:
                kept = list(_newest(found, keep))
            names = {each.name for each in [*kept, *found[-1:]]}
            with locking.alone(self._shop.directory):
                for _name in self._part.remove_unneeded(names, "~"):
                    pass


def _to_build_on(found: Holdings) -> Archived | None:
    """Return the newest of *found* if it is an archive of ours, None if it is anything else."""
    newest = found.archives.get(found.newest.name) if found.newest else None
    return newest if newest and newest.ours else None


def _younger_than(limit: timedelta, found: list[Holding]) -> list[Holding]:
    """Return those of *found* that are no older than *limit*; all if the clock is in doubt."""
    now = times.utcnow()
    clock = judge([times.from_stamp(each.stamp) for each in found], now)
    if clock.doubt:
        logger.warning("%s: no old backup of blobs is removed while it may be wrong", clock.doubt)
        return found
    since = times.stamp(now - limit)
    return [each for each in found if each.stamp >= since]


def _check(copied: Copied) -> None:
    """Raise IntegrityError if the source had what could not be copied; the rest is there."""
    if problems := [*what_is_lacking(copied), *what_differs(copied)]:
        raise IntegrityError("; ".join([*problems, *copied.reasons]))


def _newest(found: Sequence[Holding], keep: int) -> Iterable[Holding]:
    """Return the newest *keep*, counting a chain of archives as one; all for 0."""
    chains = [list(chain) for _first, chain in groupby(found, lambda each: each.paths[0])]
    return [each for chain in chains[-keep:] for each in chain]


def _restore(
    source: AnyPath,
    destination: AnyPath,
    date: str | None,
    *,
    archived: bool,
    only_check: bool,
) -> None:
    target, files = _plain(destination), Files()
    holding = _chosen(_plain(source), target.name, date, archived=archived)
    if only_check:
        return
    journal = journal_path(target)
    with explained("cannot restore the blobs", target):
        files.make_directories(target.parent)
        check_names(journal, [target])
        swap.finish(journal, files)
        way = way_of(target, files)
        way.make_ready(files)
        live = target if target.is_dir() else None
        staged = BlobStaging(
            blobs=holding.open(lambda: LAST_TID, None),
            target=way.staged,
            live=live,
            files=files,
            progress=Silent(),
        ).stage()
        way.sync(files)
        swap.swap(journal, [way.move(difference=staged.difference)], files)
        letting_go.let_go(journal, files)


def _chosen(directory: Path, storage: str, date: str | None, *, archived: bool) -> Holding:
    """Return the newest backup at or before *date*; of the kind asked for, if there is one."""
    found = holdings.find(directory, storage)
    others = holdings.storages(directory)
    if not found and len(others) == 1:
        # the site that made these calls its blobstorage otherwise
        found = holdings.find(directory, others.pop())
    until = None if date is None else _stamp_until(date)
    fitting = [each for each in found.values() if until is None or each.stamp <= until]
    if not fitting:
        when = f" at or before {date}" if date else ""
        raise NoRestorePoint(f"there is no backup of blobs{when}", where=directory)
    kind: Mapping[str, Holding] = found.archives if archived else found.trees
    of_kind = [each for each in fitting if each.name in kind]
    return (of_kind or fitting)[-1]


def _stamp_until(date: str) -> str:
    moment = times.parse(date)
    return times.stamp(moment if isinstance(moment, datetime) else times.moment_of(moment))


def _plain(path: AnyPath) -> Path:
    """Return *path* without what a slash at its end or dots in it would do to its name."""
    return Path(os.path.abspath(path))


def _data_files(directory: AnyPath | None) -> list[str]:
    """Return the names of the filestorage backups in *directory*, oldest first."""
    if directory is None or not os.path.isdir(directory):
        return []
    return sorted(name for name in os.listdir(directory) if is_data_file(name))


def _stamp_of(directory: AnyPath | None) -> str | None:
    """Return the stamp of the newest filestorage backup in *directory*, None without one."""
    names = _data_files(directory)
    return names[-1].split(".")[0] if names else None


def _oldest_full(directory: AnyPath | None) -> str | None:
    """Return the stamp of the oldest full filestorage backup in *directory*."""
    full = [name for name in _data_files(directory) if ".delta" not in name]
    return full[0].split(".")[0] if full else None

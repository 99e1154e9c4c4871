"""Options: how backups in directories are made, and how long they are kept."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.options.declaring import Alias, Group, option
from collective.recipe.backup.options.optionkinds import (
    ARGUMENTS,
    DURATION,
    NUMBER,
    PATH,
    SWITCH,
    choice,
)


@dataclass(frozen=True, kw_only=True)
class BackupOptions:
    """The options of backups in directories."""

    # How the filestorage is backed up

    full: bool = option(
        SWITCH,
        Group.FILESTORAGE,
        False,
        "Make each backup a full one.  Otherwise ``bin/backup`` adds what is new, and makes "
        "a full backup only where it has to, after a pack for example.",
    )
    quick: bool = option(
        SWITCH,
        Group.FILESTORAGE,
        True,
        "Trust what is known of the last backup and read only what is new.  ``false`` "
        "compares the whole filestorage with its backups each time, which takes long.",
    )
    gzip: bool = option(
        SWITCH,
        Group.FILESTORAGE,
        True,
        "Compress the filestorage backups.",
    )
    gzip_level: str = option(
        choice("0", "1", "2", "3"),
        Group.FILESTORAGE,
        "2",
        "How hard to compress: 0 is the fastest, 3 makes the smallest files.  Level 2 makes files "
        "of about the size that ``repozo --gzip`` makes, many times faster.",
    )
    repozo: Path | None = option(
        PATH,
        Group.FILESTORAGE,
        None,
        "Call this program to back up and restore filestorages, with the arguments of "
        "``repozo``, in place of our own engine.  A relative path starts at the directory of "
        "the buildout.",
        unset="our own engine, which reads and writes the same files",
    )
    # How the blobs are backed up

    blob_timestamps: bool = option(
        SWITCH,
        Group.BLOBS,
        True,
        "Name blob backups after the time of the filestorage backup that they belong to.  "
        "``false`` numbers them, ``0`` being the newest, and renames all of them each time.",
    )
    blob_snapshots: str = option(
        choice("chain", "each"),
        Group.BLOBS,
        "chain",
        "``chain`` keeps one directory of blobs for each full backup and adds the new blobs "
        "of each incremental one.  ``each`` makes a directory for each backup, in which "
        "whatever did not change is hard linked to the one before it; so it is without time "
        "stamps, with ``use_rsync`` or ``only_blobs``, and where the blobstorage holds anything "
        "but blobs.",
    )
    archive_blob: bool = option(
        SWITCH,
        Group.BLOBS,
        False,
        "Keep the blobs in tar archives in the place of directories.",
        aliases=(Alias(name="gzip_blob", deprecated="write archive_blob and compress_blob"),),
    )
    compress_blob: bool = option(
        SWITCH,
        Group.BLOBS,
        False,
        "Compress these archives.  Most blobs are images and documents that are compressed "
        "already.",
    )
    incremental_blobs: bool = option(
        SWITCH,
        Group.BLOBS,
        False,
        "With ``archive_blob``: put only what is new into the archive of an incremental backup.",
    )
    use_rsync: bool = option(
        SWITCH,
        Group.BLOBS,
        False,
        "Copy blobs with the program ``rsync``.  Our own copier makes the same hard links "
        "and needs no program.",
        unset="``true`` if ``rsync_options`` is set, else ``false``",
    )
    rsync_options: tuple[str, ...] = option(
        ARGUMENTS,
        Group.BLOBS,
        (),
        "More arguments for ``rsync``, after ``-a``.",
    )
    rsync_hard_links_on_first_copy: bool = option(
        SWITCH,
        Group.BLOBS,
        False,
        "Hard link the first blob backup to the live blobstorage in the place of copying it.  "
        "Saves room, but then a damaged blob is damaged in both.",
    )
    # How long backups are kept

    keep: int = option(
        NUMBER,
        Group.RETENTION,
        2,
        "How many full backups are kept, each with the incremental ones that belong to it.  "
        "``0`` keeps all.  The options below add up with it: what one of them wants stays, with "
        "the full backup that it needs and all that belongs to that.  The newest good backup "
        "always stays.",
        unset="``2``, or ``1`` if one of ``keep_hourly``, ``keep_daily``, ``keep_weekly``, "
        "``keep_monthly``, ``keep_yearly`` or ``keep_within`` is set, which then decide alone",
    )
    keep_blob_days: int = option(
        NUMBER,
        Group.RETENTION,
        14,
        "With ``only_blobs`` and without ``full``: how many days blob backups are kept.  "
        "Elsewhere blobs are kept as long as the filestorage backups that need them.",
    )
    keep_hourly: int = option(
        NUMBER,
        Group.RETENTION,
        0,
        "Keep the newest backup of each of this many hours that have one.",
    )
    keep_daily: int = option(
        NUMBER,
        Group.RETENTION,
        0,
        "Keep the newest backup of each of this many days that have one.",
    )
    keep_weekly: int = option(
        NUMBER,
        Group.RETENTION,
        0,
        "Keep the newest backup of each of this many weeks that have one.",
    )
    keep_monthly: int = option(
        NUMBER,
        Group.RETENTION,
        0,
        "Keep the newest backup of each of this many months that have one.",
    )
    keep_yearly: int = option(
        NUMBER,
        Group.RETENTION,
        0,
        "Keep the newest backup of each of this many years that have one.",
    )
    keep_within: timedelta = option(
        DURATION,
        Group.RETENTION,
        timedelta(0),
        "Keep every backup that is younger than this: hours (``36h``), days (``7d``) or "
        "weeks (``4w``).",
    )

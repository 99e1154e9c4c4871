"""Every option of a buildout part, declared once.

The fields of ``Options`` are the options: the field's name is the option's name, its
annotation the type of the value, its default the default.  The rest (the kind of value, old
spellings, the words of the reference) is a ``Declaration`` in the field's metadata.  The
parser, the stored configuration and docs/reference/options.rst are made from this table and
from nothing else.

A path that is None is derived from the others when a configuration is resolved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, field, fields
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.options.optionkinds import (
    ARGUMENTS,
    DURATION,
    LINES,
    NUMBER,
    PATH,
    PLACE,
    RATE,
    ROOM,
    SWITCH,
    TEXT,
    URL,
    OptionKind,
    SizeOrPercent,
    choice,
)


class Group(Enum):
    """The chapters of the reference, in their order."""

    SITE = "What is backed up"
    PLACES = "Where the backups lie"
    REPOSITORIES = "Repositories"
    FILESTORAGE = "How the filestorage is backed up"
    BLOBS = "How the blobs are backed up"
    RETENTION = "How long backups are kept"
    SCRIPTS = "Which scripts there are"
    HOOKS = "Commands of your own"
    WATCHING = "How the backups are watched"
    MESSAGES = "What the scripts say"


@dataclass(frozen=True, kw_only=True)
class Alias:
    """Another spelling of an option.

    A deprecated one gives way to the name itself if both are set, and its use is a warning; of
    other ones both values must be equal.
    """

    name: str  # the other spelling
    deprecated: str = ""  # a sentence about what to write; "": it is not deprecated


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """The declaration of an option, besides its name, type and default."""

    kind: OptionKind  # of the value
    group: Group  # chapter of the reference
    doc: str  # text of the reference
    unset: str = ""  # value if the option is not set, in words; "": the default shows it
    aliases: tuple[Alias, ...] = ()  # other spellings


def _option(kind: OptionKind, group: Group, default: Any, doc: str, **more: Any) -> Any:
    declaration = Declaration(kind=kind, group=group, doc=doc, **more)
    return field(default=default, metadata={"declaration": declaration})


@dataclass(frozen=True, kw_only=True)
class Options:
    """The values of all options."""

    # What is backed up

    datafs: Path | None = _option(
        PATH,
        Group.SITE,
        None,
        "The filestorage.  A relative path starts at the directory of the buildout.",
        unset="``file-storage`` of the first Zope part that has it, "
        "else ``filestorage/Data.fs`` in the ``var`` directory",
    )
    blob_storage: Path | None = _option(
        PATH,
        Group.SITE,
        None,
        "The blobstorage: the directory that holds the blobs.  A relative path starts at the "
        "directory of the buildout.  If both spellings are used, they must agree.",
        unset="``blob-storage`` of the first Zope part that has it, but for clients of a ZEO "
        "server without ``shared-blob``, which only cache blobs there; else ``blobstorage`` in "
        "the ``var`` directory if there is a Zope part, else there is none",
        aliases=(Alias(name="blob-storage"),),
    )
    backup_blobs: bool = _option(
        SWITCH,
        Group.SITE,
        True,
        "Back up and restore the blobs as well.  Needs a blobstorage: set this to ``false`` "
        "if the site has none.",
    )
    only_blobs: bool = _option(
        SWITCH,
        Group.SITE,
        False,
        "Back up and restore the blobs alone; another program backs up the filestorage.",
    )
    additional_filestorages: tuple[str, ...] = _option(
        LINES,
        Group.SITE,
        (),
        "More filestorages, one on each line: ``NAME [DATAFS [BLOBDIR]]``.  Without DATAFS it "
        "is ``NAME.fs`` beside ``datafs``; without BLOBDIR that storage has no blobs.  Its "
        "backups lie in the directories of the main storage with ``_NAME`` added.  They are "
        "backed up in the order of the lines, the main storage last.  A path with white "
        "space is written in quotes.",
    )
    # Where the backups lie

    locationprefix: Path | None = _option(
        PATH,
        Group.PLACES,
        None,
        "Where the directories below lie if nothing is said of them, and where their relative "
        "paths start.  A relative path here starts at the directory of the buildout.",
        unset="``zeo-var`` of the first Zope part that has it, else ``var`` of the first that "
        "has it, else ``var`` in the directory of the buildout",
    )
    location: Path | None = _option(
        PLACE,
        Group.PLACES,
        None,
        "Directory of the filestorage backups of ``bin/backup``.  A relative path starts at "
        "``locationprefix``.  With ``none`` there are no directories of backups at all, neither "
        "here nor for snapshots: ``bin/backup`` backs up to each ``repository`` alone.",
        unset="``backups``; for a part called P: ``Ps``",
    )
    blobbackuplocation: Path | None = _option(
        PATH,
        Group.PLACES,
        None,
        "Directory of the blob backups of ``bin/backup``.  A relative path starts at "
        "``locationprefix``.",
        unset="``blobstoragebackups``; for a part called P: ``P-blobstorages``",
    )
    snapshotlocation: Path | None = _option(
        PATH,
        Group.PLACES,
        None,
        "Directory of the filestorage backups of ``bin/snapshotbackup``.  A relative path "
        "starts at ``locationprefix``.",
        unset="``snapshotbackups``; for a part called P: ``P-snapshots``",
    )
    blobsnapshotlocation: Path | None = _option(
        PATH,
        Group.PLACES,
        None,
        "Directory of the blob backups of ``bin/snapshotbackup``.  A relative path starts at "
        "``locationprefix``.",
        unset="``blobstoragesnapshots``; for a part called P: ``P-blobstoragesnapshots``",
    )
    ziplocation: Path | None = _option(
        PATH,
        Group.PLACES,
        None,
        "Directory of the filestorage backup of ``bin/zipbackup``.  A relative path starts at "
        "``locationprefix``.",
        unset="``zipbackups``; for a part called P: ``P-zips``",
    )
    blobziplocation: Path | None = _option(
        PATH,
        Group.PLACES,
        None,
        "Directory of the blob archive of ``bin/zipbackup``.  A relative path starts at "
        "``locationprefix``.",
        unset="``blobstoragezips``; for a part called P: ``P-blobstoragezips``",
    )
    alternative_restore_source: tuple[str, ...] = _option(
        LINES,
        Group.PLACES,
        (),
        "Where ``bin/altrestore`` restores from: ``Data FSDIR [BLOBDIR]``, the directories "
        "that ``bin/backup`` of another site fills.  BLOBDIR is needed exactly if there is a "
        "blobstorage.  With ``additional_filestorages`` there is one line for each storage, "
        "with its name in the place of ``Data``.  A path with white space is written in "
        "quotes; a relative one starts at the directory of the buildout.",
        aliases=(
            Alias(
                name="alternative_restore_sources",
                deprecated="write alternative_restore_source",
            ),
        ),
    )
    # Repositories

    repository: tuple[str, ...] = _option(
        LINES,
        Group.REPOSITORIES,
        (),
        "Repositories that ``bin/backup`` backs up to as well, after the directories, one on "
        "each line: ``[NAME] URL``.  Without NAME it is called ``repository``.  URL is a "
        "path, ``file:///path`` or ``s3://BUCKET/PREFIX`` (and what else :doc:`../howto/stores` "
        "says); a relative path starts at the directory of the buildout.  It must lead neither "
        "into a live storage nor into other backups.  Each has to be made once, by "
        "``bin/backup-repository init``.",
    )
    repository_passphrase_file: Path | None = _option(
        PATH,
        Group.REPOSITORIES,
        None,
        "A file whose first line is the passphrase of the repositories.  A relative path starts "
        "at the directory of the buildout.",
        unset="``repository_passphrase_command``; the variables ``SITEBACKUP_PASSPHRASE_NAME`` "
        "and ``SITEBACKUP_PASSPHRASE`` win over both",
    )
    repository_passphrase_command: str = _option(
        TEXT,
        Group.REPOSITORIES,
        "",
        "A shell command whose first line of output is the passphrase of the repositories.",
    )
    site_name: str = _option(
        TEXT,
        Group.REPOSITORIES,
        "",
        "What this site is called in repositories, which several sites may share.  It must stay "
        "the same when the site moves to another directory or host.",
        unset="the name of the directory of the buildout; for a part called P, with ``-P``",
    )
    files: tuple[str, ...] = _option(
        LINES,
        Group.REPOSITORIES,
        (),
        "Further files and directories of the site, one on each line: its configuration, or a dump "
        "of another database.  They are backed up to repositories, and not to directories.  A "
        "relative path starts at the directory of the buildout.  ``bin/restore --to`` and "
        "``bin/backup-export`` bring them back; a restore of the site leaves those alone that are "
        "there.  Filestorages, blobstorages and backups within them are left out.",
    )
    files_exclude: tuple[str, ...] = _option(
        LINES,
        Group.REPOSITORIES,
        (),
        "Patterns of what ``files`` leaves out, one on each line.  One without a slash is for "
        "names: ``*.pyc``.  One with slashes is for whole paths: ``/srv/site/var/*.log``.  ``*`` "
        "and ``?`` match no slash, ``**`` does: ``**/parts/**/tmp``.  ``[0-9]`` is one of these "
        "characters, ``[!0-9]`` any other one but a slash, ``[*]`` a star.  One with a slash at "
        "the end is for directories: ``__pycache__/``.",
    )
    repository_keep_within: timedelta = _option(
        DURATION,
        Group.REPOSITORIES,
        timedelta(days=2),
        "Keep every restore point in a repository that is younger than this.",
    )
    repository_keep_hourly: int = _option(
        NUMBER,
        Group.REPOSITORIES,
        0,
        "Keep the newest restore point in a repository of each of this many hours that have one.",
    )
    repository_keep_daily: int = _option(
        NUMBER,
        Group.REPOSITORIES,
        14,
        "Keep the newest restore point in a repository of each of this many days that have one.",
    )
    repository_keep_weekly: int = _option(
        NUMBER,
        Group.REPOSITORIES,
        8,
        "Keep the newest restore point in a repository of each of this many weeks that have one.",
    )
    repository_keep_monthly: int = _option(
        NUMBER,
        Group.REPOSITORIES,
        12,
        "Keep the newest restore point in a repository of each of this many months that have one.",
    )
    repository_keep_yearly: int = _option(
        NUMBER,
        Group.REPOSITORIES,
        0,
        "Keep the newest restore point in a repository of each of this many years that have one.",
    )
    repository_bandwidth_limit: int = _option(
        RATE,
        Group.REPOSITORIES,
        0,
        "How much may be sent to repositories and read from them each second, all of them "
        "together.  To a bucket that is the mean: a bundle of 24 MB goes at the speed of the "
        "line, and what comes next waits.  A restore takes the whole line.",
        unset="the whole line",
    )
    # How the filestorage is backed up

    full: bool = _option(
        SWITCH,
        Group.FILESTORAGE,
        False,
        "Make each backup a full one.  Otherwise ``bin/backup`` adds what is new, and makes "
        "a full backup only where it has to, after a pack for example.",
    )
    quick: bool = _option(
        SWITCH,
        Group.FILESTORAGE,
        True,
        "Trust what is known of the last backup and read only what is new.  ``false`` "
        "compares the whole filestorage with its backups each time, which takes long.",
    )
    gzip: bool = _option(
        SWITCH,
        Group.FILESTORAGE,
        True,
        "Compress the filestorage backups.",
    )
    gzip_level: str = _option(
        choice("0", "1", "2", "3"),
        Group.FILESTORAGE,
        "2",
        "How hard to compress: 0 is the fastest, 3 makes the smallest files.  Level 2 makes files "
        "of about the size that ``repozo --gzip`` makes, many times faster.",
    )
    repozo: Path | None = _option(
        PATH,
        Group.FILESTORAGE,
        None,
        "Call this program to back up and restore filestorages, with the arguments of "
        "``repozo``, in place of our own engine.  A relative path starts at the directory of "
        "the buildout.",
        unset="our own engine, which reads and writes the same files",
    )
    # How the blobs are backed up

    blob_timestamps: bool = _option(
        SWITCH,
        Group.BLOBS,
        True,
        "Name blob backups after the time of the filestorage backup that they belong to.  "
        "``false`` numbers them, ``0`` being the newest, and renames all of them each time.",
    )
    blob_snapshots: str = _option(
        choice("chain", "each"),
        Group.BLOBS,
        "chain",
        "``chain`` keeps one directory of blobs for each full backup and adds the new blobs "
        "of each incremental one.  ``each`` makes a directory for each backup, in which "
        "whatever did not change is hard linked to the one before it; so it is without time "
        "stamps, with ``use_rsync`` or ``only_blobs``, and where the blobstorage holds anything "
        "but blobs.",
    )
    archive_blob: bool = _option(
        SWITCH,
        Group.BLOBS,
        False,
        "Keep the blobs in tar archives in the place of directories.",
        aliases=(Alias(name="gzip_blob", deprecated="write archive_blob and compress_blob"),),
    )
    compress_blob: bool = _option(
        SWITCH,
        Group.BLOBS,
        False,
        "Compress these archives.  Most blobs are images and documents that are compressed "
        "already.",
    )
    incremental_blobs: bool = _option(
        SWITCH,
        Group.BLOBS,
        False,
        "With ``archive_blob``: put only what is new into the archive of an incremental backup.",
    )
    use_rsync: bool = _option(
        SWITCH,
        Group.BLOBS,
        False,
        "Copy blobs with the program ``rsync``.  Our own copier makes the same hard links "
        "and needs no program.",
        unset="``true`` if ``rsync_options`` is set, else ``false``",
    )
    rsync_options: tuple[str, ...] = _option(
        ARGUMENTS,
        Group.BLOBS,
        (),
        "More arguments for ``rsync``, after ``-a``.",
    )
    rsync_hard_links_on_first_copy: bool = _option(
        SWITCH,
        Group.BLOBS,
        False,
        "Hard link the first blob backup to the live blobstorage in the place of copying it.  "
        "Saves room, but then a damaged blob is damaged in both.",
    )
    # How long backups are kept

    keep: int = _option(
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
    keep_blob_days: int = _option(
        NUMBER,
        Group.RETENTION,
        14,
        "With ``only_blobs`` and without ``full``: how many days blob backups are kept.  "
        "Elsewhere blobs are kept as long as the filestorage backups that need them.",
    )
    keep_hourly: int = _option(
        NUMBER,
        Group.RETENTION,
        0,
        "Keep the newest backup of each of this many hours that have one.",
    )
    keep_daily: int = _option(
        NUMBER,
        Group.RETENTION,
        0,
        "Keep the newest backup of each of this many days that have one.",
    )
    keep_weekly: int = _option(
        NUMBER,
        Group.RETENTION,
        0,
        "Keep the newest backup of each of this many weeks that have one.",
    )
    keep_monthly: int = _option(
        NUMBER,
        Group.RETENTION,
        0,
        "Keep the newest backup of each of this many months that have one.",
    )
    keep_yearly: int = _option(
        NUMBER,
        Group.RETENTION,
        0,
        "Keep the newest backup of each of this many years that have one.",
    )
    keep_within: timedelta = _option(
        DURATION,
        Group.RETENTION,
        timedelta(0),
        "Keep every backup that is younger than this: hours (``36h``), days (``7d``) or "
        "weeks (``4w``).",
    )
    # Which scripts there are

    enable_snapshotrestore: bool = _option(
        SWITCH,
        Group.SCRIPTS,
        True,
        "Make ``bin/snapshotrestore``.",
    )
    enable_zipbackup: bool = _option(
        SWITCH,
        Group.SCRIPTS,
        False,
        "Make ``bin/zipbackup`` and ``bin/ziprestore``, for one full backup in two files "
        "that are easy to send.",
    )
    enable_repozo: bool = _option(
        SWITCH,
        Group.SCRIPTS,
        False,
        "Make ``bin/repozo``, a command with the options of ZODB's own that reads and writes "
        "the same files and deletes nothing before its replacement is whole.",
    )
    enable_fullbackup: bool = _option(
        SWITCH,
        Group.SCRIPTS,
        False,
        "Make ``bin/fullbackup``, which makes a full backup in the directories of ``bin/backup``.",
    )
    # Commands of your own

    pre_command: str = _option(
        TEXT,
        Group.HOOKS,
        "",
        "Shell commands, one or several lines, that run before a backup or a restore.  If one "
        "fails, nothing else happens.",
    )
    post_command: str = _option(
        TEXT,
        Group.HOOKS,
        "",
        "Shell commands that run after a backup or a restore that went well.",
    )
    failure_command: str = _option(
        TEXT,
        Group.HOOKS,
        "",
        "Shell commands that run if the backup or restore failed, or ``pre_command`` did, "
        "which may have done half of its work.  Not if the run never began, because another "
        "one was at work.",
    )
    # How the backups are watched

    max_age: timedelta = _option(
        DURATION,
        Group.WATCHING,
        timedelta(0),
        "``backup-status`` complains if the newest whole restore point is older.  A backup "
        "that found nothing new makes it young again.",
        unset="no limit",
    )
    minimum_restore_points: int = _option(
        NUMBER,
        Group.WATCHING,
        0,
        "``backup-status`` complains if a storage has fewer restore points that are whole.",
    )
    minimum_free: SizeOrPercent = _option(
        ROOM,
        Group.WATCHING,
        SizeOrPercent(),
        "``backup-status`` complains if less room is left where the backups lie.",
        unset="no limit",
    )
    metrics_file: Path | None = _option(
        PATH,
        Group.WATCHING,
        None,
        "Write metrics to this file after each run, for the textfile collector of "
        "Prometheus.  Its directory must be there.  A relative path starts at the directory "
        "of the buildout.  Every user may read the file, whatever the umask, since another "
        "program reads it; the permissions of its directory can restrict that.",
        unset="no metrics are written",
    )
    report_file: Path | None = _option(
        PATH,
        Group.WATCHING,
        None,
        "Where ``bin/backup-report`` writes its page if it is called without a name from a "
        "terminal.  The name of another kind of backups, or of one place alone, is added before "
        "the suffix: ``report.html`` becomes ``report-snapshot.html``.  Its directory must be "
        "there.  A relative path starts at the directory of the buildout.",
        unset="``backup-report.html`` beside the directories of the backups, named after the part",
    )
    ping_url: str = _option(
        URL,
        Group.WATCHING,
        "",
        "A watcher in the manner of healthchecks.io, which is sent a request when ``bin/backup`` "
        "begins (URL with ``/start``), goes well (URL) or fails (URL with ``/fail``, and the "
        "message).  The URL is all that a ping needs, so it can be kept out of the "
        "configuration: ``env:NAME`` reads it from the environment "
        "and ``file:PATH`` from a file, each time.",
        unset="no watcher is told",
    )
    # What the scripts say

    debug: bool = _option(
        SWITCH,
        Group.MESSAGES,
        False,
        "Say each step, with the time.",
    )


def declaration(option: Field[Any]) -> Declaration:
    """Return what is declared of *option*, a field of Options."""
    found = option.metadata["declaration"]
    assert isinstance(found, Declaration)  # noqa: S101  for the type checker
    return found


def declarations() -> Mapping[str, Declaration]:
    """Return the declarations of all options by name, in the order of the table."""
    return {option.name: declaration(option) for option in fields(Options)}

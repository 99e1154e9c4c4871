"""Options: repositories, the further files that go there, and what is kept there."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.options.declaring import Group, option
from collective.recipe.backup.options.optionkinds import (
    DURATION,
    LINES,
    NUMBER,
    PATH,
    RATE,
    TEXT,
)


@dataclass(frozen=True, kw_only=True)
class RepositoryOptions:
    """The options of repositories."""

    repository: tuple[str, ...] = option(
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
    repository_passphrase_file: Path | None = option(
        PATH,
        Group.REPOSITORIES,
        None,
        "A file whose first line is the passphrase of the repositories.  A relative path starts "
        "at the directory of the buildout.",
        unset="``repository_passphrase_command``; the variables ``SITEBACKUP_PASSPHRASE_NAME`` "
        "and ``SITEBACKUP_PASSPHRASE`` win over both",
    )
    repository_passphrase_command: str = option(
        TEXT,
        Group.REPOSITORIES,
        "",
        "A shell command whose first line of output is the passphrase of the repositories.",
    )
    site_name: str = option(
        TEXT,
        Group.REPOSITORIES,
        "",
        "What this site is called in repositories, which several sites may share.  It must stay "
        "the same when the site moves to another directory or host.",
        unset="the name of the directory of the buildout; for a part called P, with ``-P``",
    )
    files: tuple[str, ...] = option(
        LINES,
        Group.REPOSITORIES,
        (),
        "Further files and directories of the site, one on each line: its configuration, or a dump "
        "of another database.  They are backed up to repositories, and not to directories.  A "
        "relative path starts at the directory of the buildout.  ``bin/restore --to`` and "
        "``bin/backup-export`` bring them back; a restore of the site leaves those alone that are "
        "there.  Filestorages, blobstorages and backups within them are left out.",
    )
    files_exclude: tuple[str, ...] = option(
        LINES,
        Group.REPOSITORIES,
        (),
        "Patterns of what ``files`` leaves out, one on each line.  One without a slash is for "
        "names: ``*.pyc``.  One with slashes is for whole paths: ``/srv/site/var/*.log``.  ``*`` "
        "and ``?`` match no slash, ``**`` does: ``**/parts/**/tmp``.  ``[0-9]`` is one of these "
        "characters, ``[!0-9]`` any other one but a slash, ``[*]`` a star.  One with a slash at "
        "the end is for directories: ``__pycache__/``.",
    )
    repository_keep_within: timedelta = option(
        DURATION,
        Group.REPOSITORIES,
        timedelta(days=2),
        "Keep every restore point in a repository that is younger than this.",
    )
    repository_keep_hourly: int = option(
        NUMBER,
        Group.REPOSITORIES,
        0,
        "Keep the newest restore point in a repository of each of this many hours that have one.",
    )
    repository_keep_daily: int = option(
        NUMBER,
        Group.REPOSITORIES,
        14,
        "Keep the newest restore point in a repository of each of this many days that have one.",
    )
    repository_keep_weekly: int = option(
        NUMBER,
        Group.REPOSITORIES,
        8,
        "Keep the newest restore point in a repository of each of this many weeks that have one.",
    )
    repository_keep_monthly: int = option(
        NUMBER,
        Group.REPOSITORIES,
        12,
        "Keep the newest restore point in a repository of each of this many months that have one.",
    )
    repository_keep_yearly: int = option(
        NUMBER,
        Group.REPOSITORIES,
        0,
        "Keep the newest restore point in a repository of each of this many years that have one.",
    )
    repository_bandwidth_limit: int = option(
        RATE,
        Group.REPOSITORIES,
        0,
        "How much may be sent to repositories and read from them each second, all of them "
        "together.  To a bucket that is the mean: a bundle of 24 MB goes at the speed of the "
        "line, and what comes next waits.  A restore takes the whole line.",
        unset="the whole line",
    )

"""Options: which scripts are made, what they run, whom they tell, and what they say."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.options.declaring import Group, option
from collective.recipe.backup.options.optionkinds import (
    DURATION,
    NUMBER,
    PATH,
    ROOM,
    SWITCH,
    TEXT,
    URL,
    SizeOrPercent,
)


@dataclass(frozen=True, kw_only=True)
class ScriptOptions:
    """The options of scripts, hooks, status, metrics, reports, pings and messages."""

    # Which scripts there are

    enable_snapshotrestore: bool = option(
        SWITCH,
        Group.SCRIPTS,
        True,
        "Make ``bin/snapshotrestore``.",
    )
    enable_zipbackup: bool = option(
        SWITCH,
        Group.SCRIPTS,
        False,
        "Make ``bin/zipbackup`` and ``bin/ziprestore``, for one full backup in two files "
        "that are easy to send.",
    )
    enable_repozo: bool = option(
        SWITCH,
        Group.SCRIPTS,
        False,
        "Make ``bin/repozo``, a command with the options of ZODB's own that reads and writes "
        "the same files and deletes nothing before its replacement is whole.",
    )
    enable_fullbackup: bool = option(
        SWITCH,
        Group.SCRIPTS,
        False,
        "Make ``bin/fullbackup``, which makes a full backup in the directories of ``bin/backup``.",
    )
    # Commands of your own

    pre_command: str = option(
        TEXT,
        Group.HOOKS,
        "",
        "Shell commands, one or several lines, that run before a backup or a restore.  If one "
        "fails, nothing else happens.",
    )
    post_command: str = option(
        TEXT,
        Group.HOOKS,
        "",
        "Shell commands that run after a backup or a restore that went well.",
    )
    failure_command: str = option(
        TEXT,
        Group.HOOKS,
        "",
        "Shell commands that run if the backup or restore failed, or ``pre_command`` did, "
        "which may have done half of its work.  Not if the run never began, because another "
        "one was at work.",
    )
    # How the backups are watched

    max_age: timedelta = option(
        DURATION,
        Group.WATCHING,
        timedelta(0),
        "``backup-status`` complains if the newest whole restore point is older.  A backup "
        "that found nothing new makes it young again.",
        unset="no limit",
    )
    minimum_restore_points: int = option(
        NUMBER,
        Group.WATCHING,
        0,
        "``backup-status`` complains if a storage has fewer restore points that are whole.",
    )
    minimum_free: SizeOrPercent = option(
        ROOM,
        Group.WATCHING,
        SizeOrPercent(),
        "``backup-status`` complains if less room is left where the backups lie.",
        unset="no limit",
    )
    metrics_file: Path | None = option(
        PATH,
        Group.WATCHING,
        None,
        "Write metrics to this file after each run, for the textfile collector of "
        "Prometheus.  Its directory must be there.  A relative path starts at the directory "
        "of the buildout.  Every user may read the file, whatever the umask, since another "
        "program reads it; the permissions of its directory can restrict that.",
        unset="no metrics are written",
    )
    report_file: Path | None = option(
        PATH,
        Group.WATCHING,
        None,
        "Where ``bin/backup-report`` writes its page if it is called without a name from a "
        "terminal.  The name of another kind of backups, or of one place alone, is added before "
        "the suffix: ``report.html`` becomes ``report-snapshot.html``.  Its directory must be "
        "there.  A relative path starts at the directory of the buildout.",
        unset="``backup-report.html`` beside the directories of the backups, named after the part",
    )
    ping_url: str = option(
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

    debug: bool = option(
        SWITCH,
        Group.MESSAGES,
        False,
        "Say each step, with the time.",
    )

"""Options that contradict each other, and options that do nothing without another."""

from __future__ import annotations

from collective.recipe.backup.options import Options
from collective.recipe.backup.options.optionkinds import NOWHERE


def contradictions(options: Options) -> list[str]:
    """Return a sentence for each pair that cannot be had together."""
    found = []
    if not options.backup_blobs and options.only_blobs:
        found.append("backup_blobs = false and only_blobs = true leave nothing to back up")
    if not options.backup_blobs and options.enable_zipbackup:
        found.append("enable_zipbackup needs the blobs, but backup_blobs is false")
    if options.files and not options.repository:
        found.append("files are backed up to repositories alone: set repository as well")
    if options.location == NOWHERE and not options.repository:
        found.append("location = none leaves no place for the backups: set repository as well")
    if options.location == NOWHERE and options.enable_zipbackup:
        found.append("enable_zipbackup needs a directory, but location is none")
    if options.incremental_blobs and not options.blob_timestamps:
        found.append("incremental_blobs needs time stamps, but blob_timestamps is false")
    return found


def without_effect(options: Options) -> list[str]:
    """Return a sentence for each option that is set and does nothing, or does harm."""
    found = []
    if options.compress_blob and not (options.archive_blob or options.enable_zipbackup):
        found.append("compress_blob does nothing without archive_blob")
    if options.incremental_blobs and not options.archive_blob:
        found.append("incremental_blobs does nothing without archive_blob")
    if options.rsync_options and not options.use_rsync:
        found.append("rsync_options does nothing, since use_rsync is false")
    if options.files_exclude and not options.files:
        found.append("files_exclude does nothing without files")
    both = options.repository_passphrase_file and options.repository_passphrase_command
    if both:
        found.append("repository_passphrase_command does nothing, since there is a file")
    if not options.blob_timestamps:
        found.append(
            "blob_timestamps = false renames every blob backup each time; better leave it out"
        )
    return found

"""Restore a blob set over a tree that has most of it already: stage only what differs.

A hard link for each blob that is right would cost more than all the rest.  So what differs
is staged as a difference (see transplant): the files that are missing or not the same, and
the list of those with the files that are to go.  Where the live tree is more than blobs and
plain files on one file system, or differs in much, all is staged as if it were not there.
"""

from __future__ import annotations

import os
from pathlib import Path

from collective.recipe.backup.blobs.blobset import BlobSet
from collective.recipe.backup.blobs.comparing import Task, TooDifferent, compare
from collective.recipe.backup.blobs.copied import Copied, Tally
from collective.recipe.backup.blobs.copying import How
from collective.recipe.backup.blobs.marker import layout_of, marked
from collective.recipe.backup.blobs.staging import Restoration, missing
from collective.recipe.backup.errors import BackupError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.mounts import mounts_in
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.times import Tid
from collective.recipe.backup.transplant import FILES, write_changes


def stage_difference(  # noqa: PLR0913  files and progress come from outside, as everywhere
    blob_set: BlobSet,
    target: Path,
    *,
    live: Path,
    until: Tid,
    files: Files,
    progress: Progress,
    size: int | None = None,
) -> Copied | None:
    """Stage at *target* what makes *live* the blobs of a set, but those later than *until*.

    What counts as the same, what *size* is, and what raises, is as with ``staging.stage``.
    Returns None where that is what has to be done; then *target*, which must not be there,
    is not.
    """
    with explained("cannot restore the blobs", target):
        if os.path.lexists(target) or not _is_fit(blob_set, live, target):
            return None
        try:
            with progress.phase("comparing the blobs", blob_set.checksums.count(), "files") as tell:
                compared = compare(Task(blob_set, live, until), size, tell)
        except TooDifferent:
            return None
        files.make_directory(target)
        write_changes(target, compared.changes, files)
        restoration = Restoration(
            source=blob_set.root, target=target / FILES, earlier=None, files=files
        )
        with progress.phase("restoring the blobs", len(compared.coming), "files") as tell:
            tally = Tally(tell)
            for done in restoration.run(compared.coming):
                if done.how is How.VANISHED:
                    raise missing(blob_set, done.entry.path)
                tally.add(done)
        files.sync_tree(target)
    return tally.sum() + Copied(linked=compared.same, unverified=compared.unverified)


def _is_fit(blob_set: BlobSet, live: Path, target: Path) -> bool:
    """Tell whether the files of *live* can be changed one by one."""
    try:
        has_marker = marked(blob_set.root) is not None  # else a restore writes one
        same_layout = has_marker and live.is_dir() and layout_of(live) is marked(blob_set.root)
    except BackupError:
        return False
    return same_layout and _is_on_one_disk(live, target)


def _is_on_one_disk(live: Path, target: Path) -> bool:
    """Tell whether a file can be renamed from any place in *live* to *target*."""
    mounts = mounts_in(live)
    if target.parent == live:
        mounts = [point for point in mounts if point != Path(os.path.realpath(live))]
    return not mounts

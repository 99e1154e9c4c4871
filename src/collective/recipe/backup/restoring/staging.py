"""A whole State beside what is live: its filestorage and its blobs, both at once."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from collective.recipe.backup.files import Files
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.restoring.remembered import Remembered
from collective.recipe.backup.restoring.stagedblobs import BlobStaging, Changeable, StagedBlobs
from collective.recipe.backup.restoring.stagedlog import LogStaging, StagedLog
from collective.recipe.backup.restoring.together import Together
from collective.recipe.backup.states import State


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Where to write a State: names beside what is live.  Only their owner may read them.

    If what is live begins as it shall, only the rest of the filestorage is written; if the blobs
    are mostly right, only what differs, and else those that are right are linked.
    """

    filestorage: Path | None  # None: not that part
    index: Path  # of the filestorage
    blobstorage: Path | None  # None: not that part
    live_filestorage: Path | None = None  # None: nothing, or it must not be built upon
    live_blobstorage: Path | None = None  # likewise
    remembered: Remembered | None = None  # what is known of the live ones; None: nothing


@dataclass(frozen=True, kw_only=True)
class Staged:
    """What was written, verified and durable."""

    log: StagedLog | None  # None: not restored
    blobs: StagedBlobs | None  # None: not restored, or there are none


def stage(state: State, targets: Targets, *, files: Files, progress: Progress) -> Staged:
    """Write *state* to *targets* and verify it.

    Raises IntegrityError, NoRestorePoint, or BackupError; what was written then is no good.
    """
    both = Together(progress)
    log = partial(_stage_log, state, targets, files, both)
    blobs = partial(_stage_blobs, state, targets, files, both)
    if state.tid is None:
        # what an older release made: its log alone tells how far its blobs go
        return Staged(log=log(), blobs=blobs())

    def write_back() -> None:
        """Keep the disk at work while blobs are staged: what is written must be synced at last.

        A restore of 450 MB to a disk takes a tenth less time by it.
        """
        if targets.filestorage is not None and targets.blobstorage is not None:
            files.write_back(targets.blobstorage.parent)

    staged_log, staged_blobs = both.run(log, blobs, write_back)
    return Staged(log=staged_log, blobs=staged_blobs)


def _stage_log(
    state: State, targets: Targets, files: Files, progress: Progress
) -> StagedLog | None:
    if targets.filestorage is None or state.log is None:
        return None
    remembered = targets.remembered
    if remembered is not None:
        remembered.look()
    return LogStaging(
        log=state.log,
        size=state.point.end,
        target=targets.filestorage,
        index=targets.index,
        live=targets.live_filestorage,
        files=files,
        progress=progress,
        known=None if remembered is None else remembered.blocks,
    ).stage()


def _stage_blobs(
    state: State, targets: Targets, files: Files, progress: Progress
) -> StagedBlobs | None:
    if targets.blobstorage is None or state.blobs is None:
        return None
    remembered = targets.remembered
    staged = BlobStaging(
        blobs=state.blobs,
        target=targets.blobstorage,
        live=targets.live_blobstorage,
        files=files,
        progress=progress,
        may_change=Changeable.LITTLE if remembered is None else remembered.may_change,
    ).stage()
    if remembered is not None:
        remembered.surplus = staged.surplus
    return staged

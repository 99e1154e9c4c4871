"""The filestorage part of a restore: all of it, or the rest of what is there already.

Either way it is written beside the live filestorage and verified on the way; the caller
makes it live.
"""

from __future__ import annotations

import logging
from pathlib import Path

from collective.recipe.backup.destinations import Staged, Targets
from collective.recipe.backup.destinations.program import Repozo
from collective.recipe.backup.errors import (
    BackupError,
    IntegrityError,
    NoRestorePoint,
    explained,
)
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.believing import Read, is_believed, joined, reader_of
from collective.recipe.backup.filestorage.index import build_index, position
from collective.recipe.backup.filestorage.log import MAGIC_SIZE, TransactionLog
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.repozo.ledger import Chain
from collective.recipe.backup.repozo.recover import Recovered, Write, index_for, recover
from collective.recipe.backup.repozo.rest import intact, recover_rest
from collective.recipe.backup.restorepoints import Choice
from collective.recipe.backup.smallfile import open_regular

logger = logging.getLogger("backup")

PRIVATE = 0o600
"""What a filestorage is made with, before it gets the permissions of what it replaces."""
QUICKLY_READ = 64_000_000
"""Bytes of a log after its index that a FileStorage reads in no time when it is opened."""


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """What *choice* has of *chain*; with *repozo* that program does it where it can."""

    chain: Chain
    choice: Choice
    repozo: Repozo | None
    files: Files
    progress: Progress

    def stream(self, write: Write) -> Recovered:
        """Give all of it to *write*.  Raises as recover does."""
        recovered = recover(
            self.chain,
            write,
            through=self.choice.point.stamp,
            until=self.choice.until,
            progress=self.progress,
        )
        return self._checked(recovered)

    def stage(self, filestorage: Path, targets: Targets) -> tuple[Staged, Recovered]:
        """Write it to *filestorage*, and an index if none stays right."""
        if self.repozo is None and targets.live_filestorage is not None:
            rest = self._stage_rest(filestorage, targets.live_filestorage, targets)
            if rest is not None:
                return rest
        return Staged(), self._stage_all(filestorage, targets)

    def _stage_all(self, filestorage: Path, targets: Targets) -> Recovered:
        """Write all, and an index, so that it opens without being read first."""
        index = targets.index
        if self.repozo is not None and self.choice.until is None:
            recovered = self.repozo.recover(self.chain, self.choice.point.stamp, filestorage)
            self._checked(recovered)
        else:
            with self.files.writing(filestorage, PRIVATE) as writer:
                recovered = self.stream(writer.write)
        with open_regular(filestorage) as log:
            copied = self._copy_index(index, recovered.end, reader_of(log), within=QUICKLY_READ)
        if not copied:
            build_index(filestorage, index, files=self.files, progress=self.progress)
        return recovered

    def _stage_rest(
        self, filestorage: Path, live: Path, targets: Targets
    ) -> tuple[Staged, Recovered] | None:
        """Write only what *live* lacks; None if it begins with something else."""
        try:
            log = TransactionLog(live)
        except BackupError:
            # not even a filestorage: all of it is written anew
            return None
        through = self.choice.point.stamp
        with log:
            keep = intact(log, self.chain, through, self.progress)
            if keep < MAGIC_SIZE:
                return None
            with self.files.writing(filestorage, PRIVATE) as writer:
                keep, recovered = recover_rest(
                    log,
                    self.chain,
                    writer.write,
                    through=through,
                    until=self.choice.until,
                    keep=keep,
                )
            stays = _serves(live.with_name(f"{live.name}.index"), log, keep)
            if not stays:
                with open_regular(filestorage) as rest:
                    read = joined(log.read_at, keep, reader_of(rest))
                    self._copy_index(targets.index, recovered.end, read)
        return Staged(keep=keep, index=not stays), self._checked(recovered)

    def _copy_index(self, target: Path, end: int, read: Read, *, within: int | None = None) -> bool:
        """Copy the index that serves up to *end*, if there is one that can be read.

        It is to be of the last *within* bytes, and one that ZODB believes for the filestorage
        that *read* gives.  One that cannot be read is only warned of:
        what it says is in the filestorage as well.
        """
        try:
            saved = index_for(self.chain, None, end)
            if saved is None or (within is not None and end - (position(saved) or 0) > within):
                return False
            with explained("cannot copy the index", saved):
                if not is_believed(saved, read):
                    return False
                self.files.publish_copy(saved, target)
        except BackupError as error:
            logger.warning("%s: the index is made anew from the filestorage", error)
            return False
        return True

    def _checked(self, recovered: Recovered) -> Recovered:
        """Compare what was recovered with what was promised."""
        point, until = self.choice.point, self.choice.until
        if until is None and recovered.end != point.end:
            raise IntegrityError(
                f"{recovered.end} bytes came out of the backup where {point.end} should",
                where=point.stamp,
                hint="verify the backups, and restore an earlier one",
            )
        if until is not None and recovered.packed > until:
            raise NoRestorePoint(
                "a pack rewrote what was there at that moment",
                where=point.stamp,
                hint="ask for the stamp of a restore point (see the list)",
            )
        return recovered


def _serves(index: Path, log: TransactionLog, end: int) -> bool:
    """Tell whether the live *index* of *log* stays right if that stays as it is up to *end*."""
    indexed = position(index)
    if indexed is None or indexed > end:
        return False
    with explained("cannot read the index", index):
        return is_believed(index, log.read_at)

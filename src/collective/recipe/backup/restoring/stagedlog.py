"""The filestorage of a restore: all of it, or the bytes that follow the live ones.

A copy that is a day old, or a file with a damaged tail, begins like the wanted filestorage.  The
digests of the blocks tell how far, at the speed of reading; only the bytes after that come out of
the backup.  Either way it is written beside the live filestorage, and verified on the way.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import takewhile
from pathlib import Path

from collective.recipe.backup.errors import BackupError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.believing import Read, is_believed, joined, reader_of
from collective.recipe.backup.filestorage.companions import index_of
from collective.recipe.backup.filestorage.fsindex import position
from collective.recipe.backup.filestorage.indexing import build_index
from collective.recipe.backup.filestorage.log import MAGIC_SIZE
from collective.recipe.backup.filestorage.storedlog import PRIVATE, Block, StoredLog
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.smallfile import open_regular
from collective.recipe.backup.times import Tid

logger = logging.getLogger("backup")

QUICKLY_READ = 64_000_000
"""Bytes of a log after its index that a FileStorage reads in no time when it is opened."""

WORTH_A_LOOK = 16_000_000
"""Bytes of a live log that are not where they should be, but may be elsewhere in it."""

_THREADS = 2


@dataclass(frozen=True, kw_only=True)
class StagedLog:
    """The way in which the staged file becomes the filestorage."""

    keep: int | None = None
    """Leading bytes of the live file that it follows; None: it is the whole filestorage."""
    index: bool = True  # it is to have the staged index, or none; else the live one stays right
    tid: Tid | None  # the last transaction; None: it has none
    mode: int  # the permissions of what it was stored in


@dataclass(frozen=True, kw_only=True)
class LogStaging:
    """Writes *log* to *target*, and an index of it, if it needs another one, to *index*."""

    log: StoredLog  # of the backup
    size: int  # bytes to read at most, for one who wants to see the end come near
    target: Path  # file to write
    index: Path  # index to write
    live: Path | None  # present filestorage; None: there is none, or it must not be built upon
    files: Files  # writes them
    progress: Progress  # progress of long work
    known: set[Block] | None = None  # blocks that *live* has; those that are read are added

    def stage(self) -> StagedLog:
        """Write it, verified.  Raises IntegrityError, NoRestorePoint and BackupError."""
        rest = self._stage_rest(self.live) if self.live is not None else None
        return rest or self._stage_all()

    def _stage_all(self) -> StagedLog:
        """Write all, and an index, so that it opens without being read first."""
        with self.progress.phase("restoring the filestorage", self.size) as advance:
            self.log.copy_to(self.target, self.files, advance)
        with open_regular(self.target) as file:
            copied = self._copy_index(reader_of(file), within=QUICKLY_READ)
        if not copied:
            build_index(self.target, self.index, files=self.files, progress=self.progress)
        return StagedLog(tid=self.log.end().tid, mode=self.log.mode)

    def _stage_rest(self, live: Path) -> StagedLog | None:
        """Write only what *live* lacks; None if it begins with something else."""
        try:
            there = TransactionLog(live)
        except BackupError:
            # not even a filestorage: all of it is written anew
            return None
        with there:
            found = intact(there, self.log, self.progress, self.known)
            if found < MAGIC_SIZE:
                return None
            end = self.log.end_within(there, found)
            with self.files.writing(self.target, PRIVATE) as writer:
                if end is None:
                    with self.progress.phase("restoring the filestorage", self.size) as advance:
                        # after a pack most records are there, only elsewhere
                        near = there if there.size - found >= WORTH_A_LOOK else None
                        for piece in self.log.pieces(found, advance, near):
                            writer.write(piece)
                    end = self.log.end()
            keep = min(found, end.offset)
            stays = _serves(index_of(live), there, keep)
            if not stays:
                with open_regular(self.target) as rest:
                    self._copy_index(joined(there.read_at, keep, reader_of(rest)))
        return StagedLog(keep=keep, index=not stays, tid=end.tid, mode=self.log.mode)

    def _copy_index(self, read: Read, *, within: int | None = None) -> bool:
        """Copy the index that was stored, if there is one that can be read.

        It is to be of the last *within* bytes, and one that ZODB believes for the filestorage
        that *read* gives.  One that cannot be read is only warned of:
        what it says is in the filestorage as well.
        """
        try:
            saved = self.log.saved_index()
            if saved is None:
                return False
            if within is not None and self.log.size - (position(saved) or 0) > within:
                return False
            with explained("cannot copy the index", saved):
                if not is_believed(saved, read):
                    return False
                self.files.publish_copy(saved, self.index)
        except BackupError as error:
            logger.warning("%s: the index is made anew from the filestorage", error)
            return False
        return True


def intact(
    live: TransactionLog, log: StoredLog, progress: Progress, known: set[Block] | None = None
) -> int:
    """Return how many leading bytes of *live* are those of *log*, to a whole block.

    Blocks that are *known* to be there are not read; afterwards *known* has the blocks that were
    found.
    """
    size, end = live.size, 0
    is_there = frozenset(known or ())
    found: set[Block] = set()
    fitting = takewhile(lambda block: block.offset + block.size <= size, log.blocks())
    with (
        progress.phase("comparing what is there", size) as advance,
        ThreadPoolExecutor(_THREADS, "compare") as pool,
    ):
        is_equal = partial(_is_equal, live, log, is_there)
        for block, equal in _compared(is_equal, fitting, pool):
            if not equal:
                break
            end = block.offset + block.size
            found.add(block)
            advance(block.size)
    if known is not None:
        known.clear()
        known.update(found)
    return end


def _compared(
    is_equal: Callable[[Block], bool], blocks: Iterator[Block], pool: ThreadPoolExecutor
) -> Iterator[tuple[Block, bool]]:
    """Yield for each block what *is_equal* says of it, some of them ahead."""
    waiting: deque[tuple[Block, Future[bool]]] = deque()
    for block in blocks:
        waiting.append((block, pool.submit(is_equal, block)))
        if len(waiting) > 2 * _THREADS:
            first, equal = waiting.popleft()
            yield first, equal.result()
    for first, equal in waiting:
        yield first, equal.result()


def _is_equal(live: TransactionLog, log: StoredLog, known: Collection[Block], block: Block) -> bool:
    if block in known:
        return True
    with suppress(BackupError):  # it shrank, or the disk cannot read it: not intact
        return log.digest_of(live.read(block.offset, block.size)) == block.digest
    return False


def _serves(index: Path, log: TransactionLog, end: int) -> bool:
    """Tell whether the live *index* of *log* stays right if that stays as it is up to *end*."""
    indexed = position(index)
    if indexed is None or indexed > end:
        return False
    with explained("cannot read the index", index):
        return is_believed(index, log.read_at)

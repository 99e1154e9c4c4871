"""A new part of a chain: the bytes of the filestorage that follow the last one.

The data and a copy of the index are written under temporary names first.  When the part is
published, each gets its name: the data file, the index, our digests of both, then the ledger line
that makes it a backup.  For repozo the name of the data file is enough.  So the blobs are stored in
between, and a run that dies before the publishing leaves nothing that repozo takes for a backup.  A
run that dies while it publishes leaves an orphan, to which the next run gives its line, since
nothing else is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from collective.recipe.backup.errors import explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.progress import Advance, Progress
from collective.recipe.backup.repozo.backuporder import Orders, Pending, Taken
from collective.recipe.backup.repozo.blocks import (
    Blocks,
    describe,
    greatest_tid,
    known_packed,
    publish,
)
from collective.recipe.backup.repozo.chains import Chain
from collective.recipe.backup.repozo.ledger import Part
from collective.recipe.backup.repozo.members import complete
from collective.recipe.backup.repozo.partwriting import Settled, write_unnamed
from collective.recipe.backup.repozo.savedindex import copy_index, index_path


@dataclass(frozen=True, kw_only=True)
class _New:
    """A new part, under temporary names."""

    chain: Chain  # the chain that it continues
    part: Part  # its ledger line
    blocks: Blocks  # its digests
    data: Path  # where it lies
    index: Path | None  # where the copy of the index lies; None: there is none
    files: Files  # gives it its names

    def publish(self) -> None:
        """Make it a part of its chain."""
        path = self.chain.path(self.part)
        with explained("cannot write the backup", path):
            self.files.name(self.data, path)
            if self.index is not None:
                self.files.name(self.index, index_path(self.chain.directory, self.part.stamp))
        publish(self.chain, self.part, self.blocks, self.files)

    def discard(self) -> None:
        """Leave nothing of it."""
        for path in filter(None, (self.data, self.index)):
            self.files.discard(path)


def prepare(  # noqa: PLR0913  the last two come from outside, as everywhere
    log: TransactionLog,
    chain: Chain,
    name: str,
    orders: Orders,
    *,
    files: Files,
    progress: Progress,
) -> Pending:
    """Prepare what *log* has after *chain*, with the stamp *name*, as its next part.

    A chain without parts begins with it.  Raises IntegrityError if the filestorage is damaged,
    BackupError if it cannot be read or the backup cannot be written.
    """
    if chain.parts:
        complete(chain, files=files, progress=progress)
    level = None if orders.merged_later and chain.parts else orders.level
    path = chain.directory / _file_name(name, full=not chain.parts, level=level)
    greatest = greatest_tid(chain.directory, chain.parts, log)
    settled = Settled(log, chain.end, greatest, known_packed(chain))
    with progress.phase("backing up the filestorage", log.size - chain.end) as advance:
        data, written = write_unnamed(path, _counted(settled, advance), level, files, log.mode)
    part = Part(path.name, settled.start, settled.at.offset, written.checksum)
    with _discarding(files, data):
        copied = None
        if part.full:
            copied = copy_index(log, index_path(chain.directory, name), part.end, files)
    index, digest = copied or (None, None)
    blocks = describe(part, written, identity=log.identity, at=settled.at, index=digest)
    new = _New(chain=chain, part=part, blocks=blocks, data=data, index=index, files=files)
    taken = Taken(
        stamp=name,
        chain=chain.stamp,
        start=part.start,
        end=part.end,
        tid=settled.at.tid,
        packed=settled.at.packed,
        changed=True,
        full=part.full,
        reason="",
        stored=written.stored,
        reductions=settled.tids.reductions,
        holes=settled.tids.holes,
    )
    return Pending(taken, new.publish, new.discard)


@contextmanager
def _discarding(files: Files, path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        files.discard(path)
        raise


def _file_name(name: str, *, full: bool, level: int | None) -> str:
    return f"{name}.{'' if full else 'delta'}fs{'' if level is None else 'z'}"


def _counted(blocks: Iterable[bytes], advance: Advance) -> Iterator[bytes]:
    for block in blocks:
        yield block
        advance(len(block))

"""A new part of a chain: the bytes of the filestorage that follow the last one.

The order of writes: the data file, a copy of the index, our digests of both, then the ledger
line that makes it a backup.  Whoever dies in between leaves an orphan, which the next run
gives its line, since nothing is missing but that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.log import TransactionLog
from collective.recipe.backup.progress import Advance, Progress
from collective.recipe.backup.repozo.blocks import describe, greatest_tid, known_packed, publish
from collective.recipe.backup.repozo.ledger import Chain, Part
from collective.recipe.backup.repozo.members import complete
from collective.recipe.backup.repozo.orders import Orders, Taken
from collective.recipe.backup.repozo.savedindex import index_path, save_index
from collective.recipe.backup.repozo.writing import Settled, write_part


def add(  # noqa: PLR0913  the last two come from outside, as everywhere
    log: TransactionLog,
    chain: Chain,
    name: str,
    orders: Orders,
    *,
    files: Files,
    progress: Progress,
) -> Taken:
    """Add to *chain* what *log* has after it, with the stamp *name*.

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
        written = write_part(path, _counted(settled, advance), level, files, log.mode)
    part = Part(path.name, settled.start, settled.at.offset, written.checksum)
    index = None
    if part.full:
        index = save_index(log, index_path(chain.directory, name), part.end, files)
    blocks = describe(part, written, identity=log.identity, at=settled.at, index=index)
    publish(chain, part, blocks, files)
    return Taken(
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


def _file_name(name: str, *, full: bool, level: int | None) -> str:
    return f"{name}.{'' if full else 'delta'}fs{'' if level is None else 'z'}"


def _counted(blocks: Iterable[bytes], advance: Advance) -> Iterator[bytes]:
    for block in blocks:
        yield block
        advance(len(block))

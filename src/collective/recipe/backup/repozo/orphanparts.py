"""A data file that no ledger names: a run died before it wrote the line."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.log import MAGIC_SIZE
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.repozo.blocks import (
    BLOCK_SIZE,
    Written,
    blocks_path,
    describe,
    digest_of,
    greatest_tid,
    known_packed,
    publish,
    stored_as,
)
from collective.recipe.backup.repozo.chains import ASIDE, Chain, read_directory
from collective.recipe.backup.repozo.continuing import obstacle
from collective.recipe.backup.repozo.ledger import Part
from collective.recipe.backup.repozo.members import find_members
from collective.recipe.backup.repozo.partreading import blocks_of, pieces
from collective.recipe.backup.times import LAST_TID, is_stamp


def adopt_or_set_aside(log: TransactionLog, path: Path, *, files: Files, progress: Progress) -> str:
    """Give the data file *path* its ledger line if it holds the next bytes of *log*.

    Otherwise rename it, so that repozo does not take it for a backup.  Returns a sentence about
    what was done.
    """
    orphan = Part(path.name, 0, 0, "")
    base = _base_of(orphan, log, path.parent, progress)
    found = _equal_bytes(log, path, base.end) if base else None
    if not base or not found:
        return _set_aside(path, files)
    end, written = found
    part = orphan._replace(start=base.end, end=end, checksum=written.checksum)
    at = log.cut(LAST_TID, max(base.end, MAGIC_SIZE), end)
    tid, packed = greatest_tid(base.directory, base.parts, log), known_packed(base)
    at = at._replace(tid=max(filter(None, (at.tid, tid)), default=None), packed=at.packed or packed)
    publish(base, part, describe(part, written, identity=log.identity, at=at), files)
    return f"gave {path.name} its line in the ledger, which a run that died had not written"


def _base_of(
    orphan: Part, log: TransactionLog, directory: Path, progress: Progress
) -> Chain | None:
    """Return the chain that *orphan* may continue, one without parts if it may begin one."""
    chains = read_directory(directory).chains
    if not is_stamp(orphan.stamp):
        return None
    if orphan.full:
        taken = any(chain.stamp == orphan.stamp for chain in chains)
        return None if taken else Chain(directory, orphan.stamp, ())
    if not chains or max(chains[-1].names) > orphan.name:
        return None
    if obstacle(log, chains[-1], strict=False, progress=progress):
        return None
    return chains[-1]


def _equal_bytes(log: TransactionLog, path: Path, start: int) -> tuple[int, Written] | None:
    """Return where the bytes of *path* end if they equal those of *log* from *start* on.

    None if they differ, or do not end with a transaction, or cannot be read.
    """
    md5 = hashlib.md5(usedforsecurity=False)
    digests = bytearray()
    end = start
    try:
        for block in blocks_of(pieces(path), BLOCK_SIZE):
            if log.read(end, len(block)) != block:
                return None
            end += len(block)
            md5.update(block)
            digests += digest_of(block)
        log.before(end)
    except BackupError:
        return None
    if end == start:
        return None
    stored, stored_digest = stored_as(path)
    return end, Written(
        checksum=md5.hexdigest(),
        digests=bytes(digests),
        members=find_members(path, end - start, BLOCK_SIZE),
        stored=stored,
        stored_digest=stored_digest,
    )


def _set_aside(path: Path, files: Files) -> str:
    names = (f"{path.name}{ASIDE}{number or ''}" for number in itertools.count())
    aside = next(name for name in names if not (path.parent / name).exists())
    files.rename(path, path.parent / aside)
    files.clear(blocks_path(path.parent, path.name))
    return (
        f"renamed {path.name} to {aside}: no ledger names it, and it is not what comes next"
        " in the filestorage; delete it unless you miss something"
    )

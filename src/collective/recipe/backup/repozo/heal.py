"""What runs that died left behind, mended before the next backup.

Ours leave temporary files, a data file without its ledger line, a chain whose removal has
begun, a merge half done.  repozo leaves its ``tmp.tmp``, a data file without its ledger line
or with half of one; and where repozo itself went on after that, data files that overlap,
which it would put together all the same.

So nothing stays that repozo or we could mistake for data: an orphan that holds exactly the
next bytes of the filestorage gets its ledger line, any other is set aside under a name that
nobody reads.  Nothing is removed but what was to be removed already.

The caller holds the lock of the directory.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from collective.recipe.backup.errors import BackupError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.log import MAGIC_SIZE, TransactionLog
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.repozo.blocks import (
    BLOCK_SIZE,
    Written,
    blocks_path,
    describe,
    digest_of,
    known_packed,
    publish,
    stored_as,
)
from collective.recipe.backup.repozo.continuing import obstacle
from collective.recipe.backup.repozo.ledger import (
    ASIDE,
    Chain,
    Listing,
    Part,
    read_directory,
    write_ledger,
)
from collective.recipe.backup.repozo.members import find_members
from collective.recipe.backup.repozo.reading import blocks_of, pieces
from collective.recipe.backup.repozo.unfinished import finish
from collective.recipe.backup.times import LAST_TID, is_stamp

REPOZO_TEMPORARY = "tmp.tmp"


@dataclass(frozen=True)
class Healed:
    """The directory as it is now, and what was done, in *sentences*.

    *fresh* says why a new chain must begin, "" if none must.
    """

    listing: Listing
    sentences: tuple[str, ...] = ()
    fresh: str = ""


def heal(log: TransactionLog, directory: Path, *, files: Files, progress: Progress) -> Healed:
    """Mend *directory*, which holds backups of *log*; nothing is written if it is whole."""
    fresh = ""
    with explained("cannot mend the backups", directory):
        sentences = [*_sweep(directory, files), *finish(directory, files)]
        listing = read_directory(directory)
        for chain in listing.chains:
            if chain.unread and chain.mendable:
                write_ledger(directory, chain.stamp, chain.parts, files)
                sentences.append(
                    f"took line {chain.unread[0]} out of {chain.ledger.name}: it cannot be read"
                )
        for name in listing.orphans:
            fresh = fresh or _overlap(directory, name)
            sentences.append(_heal_orphan(log, directory / name, files, progress))
    return Healed(read_directory(directory) if sentences else listing, tuple(sentences), fresh)


def _sweep(directory: Path, files: Files) -> Iterator[str]:
    swept = files.sweep(directory)
    temporary = directory / REPOZO_TEMPORARY
    if temporary.is_file() and not temporary.is_symlink():
        files.remove(temporary)
        swept.append(temporary)
    for path in swept:
        yield f"removed {path.name}, which a run that died had not finished"


def _overlap(directory: Path, orphan: str) -> str:
    """Say that *orphan* lies between the files of the newest chain, "" if it does not."""
    chains = read_directory(directory).chains
    if chains and chains[-1].stamp < orphan < max(chains[-1].names):
        return f"{orphan}, which no ledger names, lay between the files of the newest chain"
    return ""


def _heal_orphan(log: TransactionLog, path: Path, files: Files, progress: Progress) -> str:
    """Adopt the data file *path*, or set it aside; return what was done."""
    orphan = Part(path.name, 0, 0, "")
    base = _base_of(orphan, log, path.parent, progress)
    found = _equal_bytes(log, path, base.end) if base else None
    if not base or not found:
        return _set_aside(path, files)
    end, written = found
    part = orphan._replace(start=base.end, end=end, checksum=written.checksum)
    at = log.cut(LAST_TID, max(base.end, MAGIC_SIZE), end)
    at = at._replace(packed=at.packed or known_packed(base))
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
    """Return where the bytes of *path* end if those of *log* from *start* on are the same.

    None if they are not, or do not end where a transaction does, or cannot be read.
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

"""Merge: several successive small incremental backups of a chain become one.

The new file has the stamp of the last of them, because that stamp restores the same moment, and the
suffix that the last one does not have: no name ever stands for two contents.  So frequent small
backups are written without gzip, and the merge compresses them.

The order: a journal (see unfinished), the new file, the ledger that names it in place of the
others, its digests, then the others are removed.  At each step the chain is whole for readers of
the ledger; repozo, which goes by the directory, must not run meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from collective.recipe.backup.errors import BackupError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.logcut import LogEnd
from collective.recipe.backup.model import DEFAULT_LEVEL
from collective.recipe.backup.progress import Advance, Progress
from collective.recipe.backup.repozo.blocks import (
    BLOCK_SIZE,
    Written,
    blocks_path,
    describe,
    read_blocks,
    write_blocks,
)
from collective.recipe.backup.repozo.chains import MERGING, Chain
from collective.recipe.backup.repozo.ledger import Part, render, write_ledger
from collective.recipe.backup.repozo.partreading import blocks_of, checked
from collective.recipe.backup.repozo.partwriting import write_part
from collective.recipe.backup.repozo.unfinished import finish_merge

_UNKNOWN = "0" * 32


def merge(
    chain: Chain,
    parts: Sequence[Part],
    *,
    files: Files,
    progress: Progress,
    level: int | None = DEFAULT_LEVEL,
) -> Part:
    """Make one part of *parts*, consecutive incremental ones of *chain*; return it.

    Raises IntegrityError, and leaves all as it was, if one of them is damaged.  The caller
    holds the lock of the directory.
    """
    first, last = _ends(chain, parts)
    directory = chain.directory
    suffix = ".deltafs" if last.compressed else ".deltafsz"
    merged = Part(last.stamp + suffix, first.start, last.end, _UNKNOWN)
    journal = chain.ledger.with_name(chain.ledger.name + MERGING)
    with explained("cannot merge the backups", directory):
        files.write(journal, render([*parts, merged]))
        try:
            with progress.phase("merging backups", merged.size) as advance:
                blocks = blocks_of(_bytes(chain, parts, advance), BLOCK_SIZE)
                level = None if last.compressed else level
                mode = chain.path(last).stat().st_mode
                written = write_part(chain.path(merged), blocks, level, files, mode)
            merged = merged._replace(checksum=written.checksum)
            rest = [part for part in chain.parts if part.start >= merged.end]
            before = [part for part in chain.parts if part.end <= merged.start]
            write_ledger(directory, chain.stamp, [*before, merged, *rest], files)
            _write_blocks(chain, last, merged, written, files)
        except BaseException:
            # an error under way is worth more than ours, and the next run tries again
            with suppress(OSError):
                finish_merge(journal, files)
            raise
        finish_merge(journal, files)
    return merged


def _ends(chain: Chain, parts: Sequence[Part]) -> tuple[Part, Part]:
    position = chain.parts.index(parts[0]) if parts and parts[0] in chain.parts else 0
    together = chain.parts[position : position + len(parts)]
    if len(parts) < 2 or position == 0 or together != tuple(parts) or not chain.mendable:
        raise BackupError(
            "only consecutive incremental backups of a chain can be merged", where=chain.ledger
        )
    return parts[0], parts[-1]


def _bytes(chain: Chain, parts: Sequence[Part], advance: Advance) -> Iterator[bytes]:
    for part in parts:
        for piece in checked(chain, part):
            yield piece
            advance(len(piece))


def _write_blocks(chain: Chain, last: Part, merged: Part, written: Written, files: Files) -> None:
    """Write the digests of *merged*; the facts about the filestorage are those of *last*."""
    known = read_blocks(chain.directory, last)
    if known is None:
        files.clear(blocks_path(chain.directory, merged.name))
        return
    at = LogEnd(known.end, known.tid, known.begin, packed=known.packed)
    blocks = describe(merged, written, identity=known.identity, at=at)
    write_blocks(chain.directory, merged, blocks, files)

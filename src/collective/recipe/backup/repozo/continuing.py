"""Comparison of a chain with the filestorage: does that still begin with the bytes of the chain?

A filestorage only grows, but for a pack, which puts another file in its place, and for
people, who restore, copy, replace or cut it.  So three questions, the cheap ones first:

* *The same file?*  Then its first block and its last ones decide: a pack changes the first
  transaction of a file, anything else that leaves the file itself in place changes its end.
* *Another file?*  Then every block is compared with our digests, up to the first difference.
* *No digests*, since repozo wrote the backup?  Then the MD5 of the last range, as with
  ``repozo --quick``, or of every range without digests if it is another file.

``strict`` compares the MD5 of every range, as ``repozo`` does without ``--quick``.
"""

from __future__ import annotations

from collections.abc import Iterable

from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.repozo.blocks import Blocks, digest_of, read_blocks
from collective.recipe.backup.repozo.chains import Chain
from collective.recipe.backup.repozo.ledger import Part

_PIECE = 1 << 20
_LAST_BYTES = 1 << 20
"""Bytes of the end that are compared, so that a small last part is not all."""
_LAST_PARTS = 8

PACKED = "the filestorage is not the one that was backed up before (packed or replaced)"


def obstacle(log: TransactionLog, chain: Chain, *, strict: bool, progress: Progress) -> str:
    """Return why *chain* cannot go on with *log*, in a sentence; "" if it can.

    Nothing is said of the transactions after its end.
    """
    if chain.broken:
        return f"the ledger of the chain does not join: {chain.broken}"
    if not chain.mendable:
        return f"the ledger of the chain cannot be read in line {chain.unread[0]}"
    if chain.missing:
        return f"the backup {chain.missing[0]} is missing"
    if log.size < chain.end:
        return "the filestorage is shorter than its backup (packed, cut or replaced)"
    if strict:
        return "" if _whole_is_equal(log, chain, progress, strict=True) else PACKED
    blocks = read_blocks(chain.directory, chain.last)
    if blocks is None:
        return "" if _range_is_equal(log, chain.last) else PACKED
    if blocks.identity == log.identity:
        return "" if _ends_are_equal(log, chain, blocks) else PACKED
    return "" if _whole_is_equal(log, chain, progress, strict=False) else PACKED


def _ends_are_equal(log: TransactionLog, chain: Chain, last: Blocks) -> bool:
    """Compare the first block and the last ones."""
    found: Blocks | None = last
    compared = 0
    for part in reversed(chain.parts[-_LAST_PARTS:]):
        found = last if part is chain.last else read_blocks(chain.directory, part)
        if found is None or compared >= _LAST_BYTES:
            break
        blocks = list(found.ranges(-2))
        if not _blocks_are_equal(log, blocks):
            return False
        compared += sum(size for _offset, size, _digest in blocks)
    first = read_blocks(chain.directory, chain.parts[0])
    return first is None or _blocks_are_equal(log, [next(first.ranges())])


def _whole_is_equal(log: TransactionLog, chain: Chain, progress: Progress, *, strict: bool) -> bool:
    with progress.phase("comparing with the backup", chain.end) as advance:
        for part in chain.parts:
            blocks = None if strict else read_blocks(chain.directory, part)
            equal = (
                _blocks_are_equal(log, blocks.ranges()) if blocks else _range_is_equal(log, part)
            )
            if not equal:
                return False
            advance(part.size)
    return True


def _blocks_are_equal(log: TransactionLog, blocks: Iterable[tuple[int, int, bytes]]) -> bool:
    return all(digest_of(log.read(offset, size)) == digest for offset, size, digest in blocks)


def _range_is_equal(log: TransactionLog, part: Part) -> bool:
    import hashlib  # only what repozo wrote is compared by MD5

    md5 = hashlib.md5(usedforsecurity=False)
    for offset in range(part.start, part.end, _PIECE):
        md5.update(log.read(offset, min(_PIECE, part.end - offset)))
    return md5.hexdigest() == part.checksum

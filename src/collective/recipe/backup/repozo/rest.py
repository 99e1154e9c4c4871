"""The rest of a filestorage whose beginning is there already: a restore that costs a day.

A copy that is a day old, or a file with a damaged tail, begins as what is wanted does.
Our digests of the blocks tell how far, at the speed of reading; only what follows comes
out of the chain.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.filestorage.framing import Framing
from collective.recipe.backup.filestorage.log import MAGIC_SIZE, TransactionLog
from collective.recipe.backup.priority import step_back
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.repozo.blocks import digest_of, greatest_tid, read_blocks
from collective.recipe.backup.repozo.ledger import Chain, Part
from collective.recipe.backup.repozo.reading import checked
from collective.recipe.backup.repozo.recover import Recovered, Write, wanted
from collective.recipe.backup.times import LAST_TID, ZERO_TID, Tid

_THREADS = 2


def intact(log: TransactionLog, chain: Chain, through: str, progress: Progress) -> int:
    """Return how many bytes at the begin of *log* are those of *chain*, to a whole block.

    Parts that have no digests, since repozo wrote them, count as different.
    """
    parts = wanted(chain, through)
    size = min(log.size, parts[-1].end)
    end = 0
    with (
        progress.phase("comparing what is there", size) as advance,
        ThreadPoolExecutor(_THREADS, "compare", initializer=step_back) as pool,
    ):
        waiting: deque[tuple[int, Future[bool]]] = deque()
        for offset, length, digest in _ranges(chain, parts, log.size):
            waiting.append((offset + length, pool.submit(_equal, log, offset, length, digest)))
            while len(waiting) > 2 * _THREADS:
                if not waiting[0][1].result():
                    return end
                advance(waiting[0][0] - end)
                end = waiting.popleft()[0]
        for stop, equal in waiting:
            if not equal.result():
                break
            end = stop
    return end


def _ranges(chain: Chain, parts: Sequence[Part], size: int) -> Iterator[tuple[int, int, bytes]]:
    for part in parts:
        blocks = read_blocks(chain.directory, part)
        if blocks is None:
            return
        for offset, length, digest in blocks.ranges():
            if offset + length > size:
                return
            yield offset, length, digest


def _equal(log: TransactionLog, offset: int, length: int, digest: bytes) -> bool:
    with suppress(BackupError):  # it shrank, or the disk cannot read it: not intact
        return digest_of(log.read(offset, length)) == digest
    return False


def recover_rest(  # noqa: PLR0913  as recover, and what is there
    log: TransactionLog,
    chain: Chain,
    write: Write,
    *,
    through: str,
    until: Tid | None,
    keep: int,
) -> tuple[int, Recovered]:
    """Give to *write* what follows the first *keep* bytes, which *log* has already.

    Returns how many bytes to keep in the end, fewer than *keep* if the state at *until*
    ends before, and what keeping them and adding the rest makes; a pack counts as far as it
    was in what had to be read.  Raises as recover does.
    """
    parts = wanted(chain, through)
    there = [part for part in parts if part.end <= keep]
    if len(there) == len(parts) or (there and _is_later(log, chain, there, until)):
        return _cut(log, chain, there, LAST_TID if until is None else until)
    framing = Framing(until=until)
    for part in parts[len(there) :]:
        if not framing.end and part.start:
            framing.resume(part.start, greatest_tid(chain.directory, there, log))
        offset = part.start
        for piece in checked(chain, part):
            data = framing.feed(piece)
            write(bytes(data[max(0, keep - offset) :]))
            offset += len(data)
        if framing.done:
            break
    framing.finish()
    end = framing.end
    return min(keep, end), Recovered(end, framing.tid, framing.packed or ZERO_TID)


def _is_later(log: TransactionLog, chain: Chain, parts: Sequence[Part], until: Tid | None) -> bool:
    """Tell whether *parts*, the first of *chain*, hold a transaction that is later than *until*."""
    greatest = greatest_tid(chain.directory, parts, log)
    return greatest is not None and until is not None and greatest > until


def _cut(
    log: TransactionLog, chain: Chain, there: Sequence[Part], until: Tid
) -> tuple[int, Recovered]:
    """Cut *log*, which holds the parts *there*: nothing has to come out of the chain."""
    stop, before = there[-1].end, there[:-1]
    while before and _is_later(log, chain, before, until):
        before = before[:-1]
    start = before[-1].end if before else MAGIC_SIZE
    at = log.cut(until, start, stop)
    following = next(log.transactions(at.offset, stop), None)
    packed = following.tid if following and following.packed else at.packed
    tid = max(filter(None, (at.tid, greatest_tid(chain.directory, before, log))), default=None)
    return at.offset, Recovered(at.offset, tid, packed or ZERO_TID)

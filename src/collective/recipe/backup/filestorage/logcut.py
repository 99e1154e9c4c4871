"""Where a log is cut at a moment: after the last transaction that is not later than it.

Which moment a restore point is cut at is chosen in ``restorepoints``.  What passes by as a stream
is cut by the rule that is here as well; see ``framing``.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import NamedTuple

from collective.recipe.backup.filestorage import tail
from collective.recipe.backup.filestorage.format import Transaction
from collective.recipe.backup.filestorage.tids import Tids
from collective.recipe.backup.times import ZERO_TID, Tid


class LogEnd(NamedTuple):
    """The end of a complete transaction, at *offset*, which begins at *begin*.

    *tid* is the greatest up to there, as far as the log was walked: that of the last
    transaction, but for odd logs (see tids).  It is None, and *begin* is *offset*, before the
    first transaction.  *tail* says why the bytes that follow do not count: "" if there are
    none or if they do (the log was cut at a moment), else "being written" or "cut short".
    *packed* is the greatest tid of those that a pack rewrote, as far as the log was walked;
    *reductions* counts the transactions that are not later than all before.
    """

    offset: int
    tid: Tid | None
    begin: int
    tail: str = tail.NONE
    packed: Tid | None = None
    reductions: int = 0


class _Walk:
    """The transactions of a walk, and then, as ``tail``, why it went no further."""

    def __init__(self, transactions: Generator[Transaction, None, str]) -> None:
        self._transactions = transactions

    def __iter__(self) -> Iterator[Transaction]:
        self.tail = yield from self._transactions


def cut_after(
    until: Tid, last: Transaction | None, following: Generator[Transaction, None, str], start: int
) -> LogEnd:
    """Return where the first transaction of *following* begins that is later than *until*.

    They are complete ones from the boundary *start* on, and their generator returns the kind of the
    tail after them; *last* is the one that ends at *start* (None: it is the begin of the log).
    """
    packed = last.tid if last and last.packed else None
    tids = Tids(last.tid if last else None)
    walk = _Walk(following)
    kind = tail.NONE
    for transaction in walk:
        if transaction.tid > until:
            break
        last = transaction
        tids.add(last.tid)
        if last.packed:
            packed = max(packed or ZERO_TID, last.tid)
    else:
        kind = walk.tail
    if last is None:
        return LogEnd(start, None, start, kind)
    return LogEnd(last.end, tids.greatest, last.begin, kind, packed, tids.reductions)

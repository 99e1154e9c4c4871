"""The cut of a log at a moment: after the last transaction that is not later than the moment.

``restorepoints`` chooses the moment at which a restore point is cut.  ``framing`` cuts streams by
the same rule.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import NamedTuple

from collective.recipe.backup.filestorage import tail
from collective.recipe.backup.filestorage.format import Transaction
from collective.recipe.backup.filestorage.tids import Tids
from collective.recipe.backup.times import ZERO_TID, Tid


class LogEnd(NamedTuple):
    """The end of a complete transaction in a log.

    *tid*, *packed* and *reductions* are about the part of the log that was walked.
    """

    offset: int  # after the transaction
    tid: Tid | None
    """Greatest up to there, the last one's but for odd logs (see tids); None: there is none."""
    begin: int  # offset of the transaction; *offset* before the first one
    tail: str = tail.NONE
    """Why the bytes after it do not count: "being written" or "cut short"; "": there are none, or
    the log was cut at a moment."""
    packed: Tid | None = None  # greatest tid that a pack rewrote; None: unknown
    reductions: int = 0  # transactions whose tid is not greater than all before


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

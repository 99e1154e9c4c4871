"""Several logs as one list of transactions, in the order of their ids.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import groupby
from operator import itemgetter

from collective.recipe.backup.model import Hole
from collective.recipe.backup.transactions.logged import Logged


def merged(logs: Sequence[Iterable[Logged]], lost: Sequence[Sequence[Hole]]) -> Iterator[Logged]:
    """Yield each transaction of *logs* once; the newest log comes first.

    If several logs have a transaction, one that no pack has rewritten goes before the others, and
    then the newest.  *lost* has, for each log, the holes of all newer logs: a restore has cut off
    the transactions there that only older logs have.
    """
    numbered = [_numbered(entries, number) for number, entries in enumerate(logs)]
    for tid, same in groupby(merge(*numbered), itemgetter(0)):
        found = list(same)
        newest = found[0][1]
        _tid, _number, best = min(found, key=lambda it: (it[2].packed, it[1]))
        is_lost = any(hole.first <= tid < hole.end for hole in lost[newest])
        yield best._replace(cut_off=True) if is_lost else best


def _numbered(entries: Iterable[Logged], number: int) -> Iterator[tuple[bytes, int, Logged]]:
    return ((entry.tid, number, entry) for entry in entries)

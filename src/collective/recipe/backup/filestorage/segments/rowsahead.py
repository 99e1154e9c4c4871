"""The rows of a range of a log, read ahead by a process of its own.

The pass over all records takes Python about as long as all other work of a backup on the bytes.  So
where there is another processor, a process of its own reads and digests, and changes nothing; this
one compares, and stores new segments.  Rows that the other process does not deliver are made here.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup import process
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.segments.rows import RowReader, Rows
from collective.recipe.backup.filestorage.segments.segmentkeys import Keys
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.times import Tid

LARGE = 32_000_000
"""Bytes of a log that are worth another process."""

_BATCH = 1000
"""Rows that are handed over at once, and a transaction more: some 50 KB."""


class RowsWanted(NamedTuple):
    """Consecutive transactions of a log."""

    begin: int  # the boundary where they begin
    stop: int  # the boundary where they end
    greatest: Tid  # of all transactions before them; zeros: there are none


class _Task(NamedTuple):
    """The work of the other process."""

    path: Path  # of the log
    identity: tuple[int, int]  # device and inode of the file that is meant
    secret: bytes  # of the keys of the digests
    blobs: bool  # whether the records of blobs are to be found
    wanted: RowsWanted  # the transactions to read


def rows_of(log: Log, wanted: RowsWanted, keys: Keys, *, blobs: bool) -> Iterator[Rows]:
    """Yield the rows of each transaction that is *wanted* of *log*; see RowReader.

    Raises IntegrityError if the log is damaged.
    """
    large = wanted.stop - wanted.begin >= LARGE
    if large and isinstance(log, TransactionLog) and process.can_compute():
        task = _Task(log.path.absolute(), log.identity, keys.secret, blobs, wanted)
        answers = process.answered(__name__, pickle.dumps(task))
        with suppress(process.NoAnswerError), closing(answers):
            for batch in answers:
                for rows in batch:
                    yield rows
                    wanted = _after(wanted, rows)
    yield from _read(log, wanted, RowReader(log, keys, blobs=blobs))


def _after(wanted: RowsWanted, rows: Rows) -> RowsWanted:
    transaction = rows.transaction
    return RowsWanted(transaction.end, wanted.stop, max(wanted.greatest, transaction.tid))


def _read(log: Log, wanted: RowsWanted, reader: RowReader) -> Iterator[Rows]:
    greatest = wanted.greatest
    for transaction in log.transactions(wanted.begin, wanted.stop):
        yield reader.rows(transaction, odd=transaction.tid <= greatest)
        greatest = max(greatest, transaction.tid)


def _batches(all_rows: Iterable[Rows]) -> Iterator[list[Rows]]:
    batch: list[Rows] = []
    size = 0
    for rows in all_rows:
        batch.append(rows)
        size += 1 + len(rows)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def main() -> None:
    """Answer with the rows that standard input asks for: see process.answered."""
    task: _Task = pickle.load(sys.stdin.buffer)  # noqa: S301  our own process wrote it
    with TransactionLog(task.path) as log:
        # a pack may have put another file in its place: nothing is said of that one
        if log.identity == task.identity:
            reader = RowReader(log, Keys(task.secret), blobs=task.blobs)
            process.answer(_batches(_read(log, task.wanted, reader)))

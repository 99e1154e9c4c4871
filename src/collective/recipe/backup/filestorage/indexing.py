"""A Data.fs.index is made from a filestorage, which is read from its begin to its end.

To look at each data record takes Python about as long as all else that a restore does with the
filestorage.  So where there is another processor, a process of its own looks, and changes nothing;
this one writes the index.  If that process does not come to its end, all is done here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from collective.recipe.backup import process
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.format import RECORD
from collective.recipe.backup.filestorage.framing import DAMAGE_HINT
from collective.recipe.backup.filestorage.fsindex import ENTRY, NewIndex
from collective.recipe.backup.filestorage.records import RecordReader
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.model import Oid
from collective.recipe.backup.progress import Progress

LARGE = 32_000_000
"""Bytes of a filestorage that are worth another process."""
OBJECTS = 1 << 16
"""Objects whose places are in memory before they become a run: some 15 MB."""

_STEP = 1 << 24
"""Bytes of the log between two reports of progress."""
_READ = 1 << 20


def build_index(filestorage: Path, final: Path, *, files: Files, progress: Progress) -> None:
    """Write the index of a whole *filestorage*, read from its begin to its end, to *final*.

    Raises IntegrityError if it is damaged, and BackupError.
    """
    with TransactionLog(filestorage) as log:
        log.damage_hint = DAMAGE_HINT
        if log.size >= LARGE and process.can_compute():
            answers = process.answered(__name__, os.fsencode(filestorage))
            with suppress(process.NoAnswerError), closing(answers):
                seen = ((end, run) for end, run in answers)
                _write(seen, log.size, NewIndex(final, files), progress)
                return
        _write(runs_of(log), log.size, NewIndex(final, files), progress)


def _write(
    runs: Iterable[tuple[int, bytes]], size: int, writer: NewIndex, progress: Progress
) -> None:
    """Write the index that *runs* give of a log of *size* bytes: see runs_of."""
    done = 0
    with writer, progress.phase("building the index", size) as advance:
        for end, run in runs:
            writer.add(run)
            advance(end - done)
            done = end
        writer.write(size)


def runs_of(log: TransactionLog) -> Iterator[tuple[int, bytes]]:
    """Yield again and again how far *log* was read, with a run of places or with none (b"").

    A run (see NewIndex) has the last places of OBJECTS objects, or of some more.  Raises
    IntegrityError.
    """
    reader = RecordReader(log)
    reader.window = log.window(_READ)
    places: dict[Oid, int] = {}
    told = 0
    for transaction in log.transactions(stop=log.size):
        for oid, _tid, _size, data, _index, _previous in reader.places(transaction):
            places[oid] = data - RECORD.size
        if len(places) >= OBJECTS:
            yield transaction.end, _run(places)
            places.clear()
        elif transaction.end - told < _STEP:
            continue
        else:
            yield transaction.end, b""
        told = transaction.end
    yield log.size, _run(places)


def _run(places: dict[Oid, int]) -> bytes:
    return b"".join(sorted(ENTRY.pack(oid, offset) for oid, offset in places.items()))


def main() -> None:
    """Look for all places in the filestorage that standard input names: see process.answered."""
    with TransactionLog(Path(os.fsdecode(sys.stdin.buffer.read()))) as log:
        process.answer(runs_of(log))

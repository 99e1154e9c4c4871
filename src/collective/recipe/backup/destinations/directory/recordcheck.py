"""Verify to the depth of records: each record can be loaded, and each blob of one is there.

The log of each chain is read as in a restore, and each data file is compared with its checksum on
the way, so that each is read only once.  The records of a damaged data file are not examined: the
file is a problem, and the check goes on with the next file.  Memory holds only the places of blob
records, eight bytes each, because an undo copies a blob by pointing back to its record.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.errors import BackupError, explained
from collective.recipe.backup.filestorage.blobrecords import is_blob
from collective.recipe.backup.filestorage.format import DataRecord
from collective.recipe.backup.filestorage.framing import Framing
from collective.recipe.backup.filestorage.pickles import flaw_of
from collective.recipe.backup.model import BlobId, Problem, RestorePoint
from collective.recipe.backup.progress import Advance, Progress
from collective.recipe.backup.repozo.blocks import Digested
from collective.recipe.backup.repozo.chaincheck import stored_problems
from collective.recipe.backup.repozo.chains import Chain, again, was_replaced
from collective.recipe.backup.repozo.ledger import Part
from collective.recipe.backup.repozo.partreading import checked
from collective.recipe.backup.times import ZERO_TID

NAMED = 100
"""Problems of one data file that are named; further ones are only counted."""

Lacking = Callable[[str, Iterable[BlobId]], Iterator[BlobId]]
"""Yields those of the blobs that the holding of this name does not have."""

_HEAD = 512
_LARGEST = 1 << 28
_BATCH = 1000
_UNREADABLE = "the record was so in the live site when it was backed up: look there"
_LOST = "look for it in older backups, or in the live site"


def verify_records(
    chains: Iterable[Chain],
    points: Sequence[RestorePoint],
    lacking: Lacking | None,
    progress: Progress,
) -> Iterator[Problem]:
    """Yield problems of the records of *chains*, up to the last of *points* in each.

    *lacking* looks for blobs in the holdings of *points*.  Blobs that the source had lost already
    when it was backed up are problems of their restore point, and not yielded here again.
    """
    wanted = [(chain, _parts(chain, points)) for chain in chains]
    size = sum(part.size for _chain, parts in wanted for part in parts)
    with progress.phase("verifying the records", size) as advance:
        for chain, parts in wanted:
            yield from _chain(_Walk(chain, advance), parts, points, lacking)


def walked(chains: Iterable[Chain], points: Sequence[RestorePoint]) -> Collection[str]:
    """Return the names of the data files that ``verify_records`` reads."""
    return {part.name for chain in chains for part in _parts(chain, points)}


def _parts(chain: Chain, points: Iterable[RestorePoint]) -> Sequence[Part]:
    """Return what the restorable points of a chain are made of."""
    last = max(
        (point.stamp for point in points if point.chain == chain.stamp and point.restorable),
        default="",
    )
    return [part for part in chain.restorable if part.stamp <= last]


def _sets(chain: Chain, part: Part, points: Iterable[RestorePoint]) -> Collection[str]:
    """Return the names of all that must hold the blobs of *part*."""
    return {
        point.blobs
        for point in points
        if point.chain == chain.stamp and point.stamp >= part.stamp and point.restorable
        if point.blobs is not None
    }


def _first(problems: Iterable[Problem], part: Part) -> Iterator[Problem]:
    """Yield the first of *problems*, and of the others how many there are."""
    rest = iter(problems)
    yield from islice(rest, NAMED)
    if more := sum(1 for _problem in rest):
        yield Problem(where=part.name, what=f"and {number_of(more, 'more problem')} like these")


def _chain(
    walk: _Walk, parts: Sequence[Part], points: Sequence[RestorePoint], lacking: Lacking | None
) -> Iterator[Problem]:
    """Yield problems of *parts*; where a merge replaces them meanwhile, go on with the new ones."""
    rest = deque(parts)
    while rest:
        part = rest.popleft()
        if was_replaced(walk.chain, part):
            now = again(walk.chain)
            rest.clear()
            if now is not None:
                rest.extend(each for each in _parts(now, points) if each.end > part.start)
                walk.go_on(now, rest[0].start if rest else 0)
            continue
        names = _sets(walk.chain, part, points) if lacking else ()
        yield from _first(walk.problems(part, names, lacking), part)
        yield from walk.flaws


class _Walk:
    """The records of one *chain*, part by part, in order.

    *flaws* are problems of the last part as a whole, besides its records.
    """

    flaws: Sequence[Problem] = ()

    def __init__(self, chain: Chain, advance: Advance) -> None:
        self.chain = chain
        self._advance = advance
        self._pending: deque[DataRecord] = deque()
        self._framing = Framing(on_record=self._pending.append)
        self._blob_records = array("Q")
        self._unknown: set[str] = set()

    def go_on(self, chain: Chain, offset: int) -> None:
        """Let *offset*, at which a part begins, be next, of *chain* as it is now."""
        self.chain = chain
        del self._blob_records[bisect_left(self._blob_records, offset) :]
        self._resume(offset)

    def _resume(self, offset: int) -> None:
        self._pending.clear()
        self._framing = Framing(on_record=self._pending.append)
        self._framing.resume(offset, ZERO_TID)

    def problems(
        self, part: Part, names: Collection[str], lacking: Lacking | None
    ) -> Iterator[Problem]:
        """Yield problems of the records of *part*, and of their blobs in the holdings *names*."""
        blobs: list[BlobId] = []
        path = os.fspath(self.chain.path(part))
        try:
            for record, data in self._loaded(part):
                blob = BlobId(record.oid, record.tid)
                if self._is_blob(record, data):
                    self._blob_records.append(record.offset)
                    blobs.append(blob)
                if record.size <= _LARGEST and (flaw := record.size and flaw_of(data)):
                    what = f"the record of {blob} cannot be loaded: {flaw}"
                    yield Problem(where=path, what=what, hint=_UNREADABLE, inherited=True)
                if len(blobs) >= _BATCH:
                    yield from self._lost(blobs, part, names, lacking)
                    blobs = []
        except BackupError as error:
            self.flaws = [Problem(where=path, what=error.what, hint=error.hint)]
            self._resume(part.end)
        yield from self._lost(blobs, part, names, lacking)

    def _loaded(self, part: Part) -> Iterator[tuple[DataRecord, bytes]]:
        """Yield each record with its data, of the largest only the head."""
        path = self.chain.path(part)
        with explained("cannot be read", path), Digested(path) as file:
            yield from self._records(part, checked(self.chain, part, file))
            stored = file.finish()
        self._framing.finish()
        self.flaws = list(stored_problems(self.chain, part, stored))

    def _records(self, part: Part, pieces: Iterator[bytes]) -> Iterator[tuple[DataRecord, bytes]]:
        """Yield the records in *pieces*; where these make no log, what they are wins."""
        held, begin = b"", part.start
        for piece in pieces:
            self._advance(len(piece))
            try:
                self._framing.feed(piece)
            except BackupError:
                deque((self._advance(len(rest)) for rest in pieces), maxlen=0)
                raise
            held += piece
            end = begin + len(held)
            while self._pending and _stop(self._pending[0]) <= end:
                record = self._pending.popleft()
                yield record, held[record.data - begin : _stop(record) - begin]
            keep = min(self._pending[0].data, end) if self._pending else end
            held, begin = held[keep - begin :], keep

    def _is_blob(self, record: DataRecord, data: bytes) -> bool:
        if record.size:
            return is_blob(data[:_HEAD])
        at = bisect_left(self._blob_records, record.backpointer)
        return at < len(self._blob_records) and self._blob_records[at] == record.backpointer

    def _lost(
        self, blobs: Sequence[BlobId], part: Part, names: Collection[str], lacking: Lacking | None
    ) -> Iterator[Problem]:
        """Yield each of *blobs* that one of *names* lacks; once, if a holding cannot be read."""
        if lacking is None:
            return
        for name in names:
            if name in self._unknown:
                continue
            try:
                # a transaction may name one twice
                for blob in lacking(name, dict.fromkeys(blobs)):
                    what = f"the blob of {blob}, which {part.name} names, is missing"
                    yield Problem(where=name, what=what, hint=_LOST)
            except BackupError as error:
                self._unknown.add(name)
                yield Problem(where=error.where, what=error.what, hint=error.hint)


def _stop(record: DataRecord) -> int:
    """Return where what we want of the data of *record* ends."""
    return record.data + (record.size if record.size <= _LARGEST else _HEAD)

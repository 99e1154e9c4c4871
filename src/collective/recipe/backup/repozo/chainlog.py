"""A moment of a filestorage, read from a chain: see StoredLog.

A reader of all bytes from a place on reads whole data files, each compared with the ledger; a
reader at a place reads single blocks (see seekablelog).  The offset of a cut is known once it was
passed; a caller who asks before costs a walk through one data file, since the digests have the last
transaction of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from collective.recipe.backup.errors import IntegrityError, NoRestorePoint
from collective.recipe.backup.filestorage import tail
from collective.recipe.backup.filestorage.framing import DAMAGE_HINT, Framing
from collective.recipe.backup.filestorage.log import MAGIC_SIZE, Log
from collective.recipe.backup.filestorage.logcut import LogEnd
from collective.recipe.backup.filestorage.storedlog import Block, LogRange, StoredLog
from collective.recipe.backup.progress import Advance
from collective.recipe.backup.repozo.blocks import digest_of, greatest_tid, read_blocks
from collective.recipe.backup.repozo.chains import Chain
from collective.recipe.backup.repozo.ledger import Part
from collective.recipe.backup.repozo.recover import flow, wanted
from collective.recipe.backup.repozo.savedindex import index_for
from collective.recipe.backup.repozo.seekablelog import SeekableLog
from collective.recipe.backup.restorepoints import Choice
from collective.recipe.backup.times import LAST_TID, Tid, show_tid


class ChainLog(StoredLog):
    """The log of *choice* in *chain*.  It is for one thread."""

    damage_hint = DAMAGE_HINT

    def __init__(self, chain: Chain, choice: Choice) -> None:
        """Raise IntegrityError or NoRestorePoint if the chain does not have all of it."""
        super().__init__(chain.ledger)
        self.chain = chain
        self.point = choice.point
        self.until = choice.until
        self._parts = wanted(chain, choice.point.stamp)
        self._end: LogEnd | None = None

    @property
    def mode(self) -> int:
        """The permissions of its last data file."""
        return self.chain.path(self._parts[-1]).stat().st_mode & 0o777

    @cached_property
    def _whole(self) -> SeekableLog:
        """The log of the restore point, without a cut."""
        return SeekableLog(self.chain, through=self.point.stamp)

    def end(self, start: int = MAGIC_SIZE) -> LogEnd:
        """Return its end; see StoredLog."""
        if start != MAGIC_SIZE:
            return self._whole.cut(self.until or LAST_TID, start, self.size)
        if self._end is None:
            self._end = self.end_within(self._whole, self._parts[-1].end)
        # all of it is in the whole log
        assert self._end is not None  # noqa: S101  for the type
        return self._end

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self._parts[-1].end if self.until is None else self.end().offset

    def read_at(self, offset: int, size: int) -> bytes:
        """Return the bytes from *offset* on, *size* at most, fewer only where the log ends."""
        return self._whole.read_at(offset, max(0, min(size, self.size - offset)))

    def range_at(self, offset: int) -> LogRange:
        """Return the block that holds the byte at *offset*; it may go on behind a cut."""
        return self._whole.range_at(offset)

    def _tail(self, begin: int, after: Tid) -> str | None:  # noqa: ARG002  as Log has it
        if begin == self.size:
            return tail.NONE
        raise self._no_boundary(self.size)

    # from a place on

    def pieces(
        self,
        begin: int,
        advance: Advance,
        near: Log | None = None,  # noqa: ARG002  as StoredLog has it
    ) -> Iterator[memoryview]:
        """Yield its bytes from *begin* on; see StoredLog."""
        there = [part for part in self._parts if part.end <= begin]
        rest = self._parts[len(there) :]
        if not rest or self._reaches_into(there, self._whole):
            return  # it ends before that
        framing = Framing(until=self.until)
        if there:
            framing.resume(rest[0].start, greatest_tid(self.chain.directory, there, self._whole))
        offset = rest[0].start
        for data in flow(self.chain, rest, framing, advance):
            if offset + len(data) > begin:
                yield data[max(0, begin - offset) :]
            offset += len(data)
        self.ended(LogEnd(framing.end, framing.tid, framing.begin, packed=framing.packed))

    def blocks(self) -> Iterator[Block]:
        """Yield what it must be as far as digests tell: up to the first part by repozo."""
        for part in self._parts:
            found = read_blocks(self.chain.directory, part)
            if found is None:
                return
            yield from map(Block._make, found.ranges())

    def digest_of(self, data: bytes) -> bytes:
        """Return the digest of *data*, as those of the blocks are."""
        return digest_of(data)

    # the offset of its end

    def ended(self, end: LogEnd) -> None:
        """Take note of where it was found to end."""
        self._end = self._checked(end)

    def end_within(self, log: Log, size: int) -> LogEnd | None:
        """Return its end if it is known there; see StoredLog."""
        there = [part for part in self._parts if part.end <= size]
        if self.until is None:
            return self._end_of_all(log) if len(there) == len(self._parts) else None
        if not there or not (len(there) == len(self._parts) or self._reaches_into(there, log)):
            return None
        before = there[:-1]
        while before and self._reaches_into(before, log):
            before = before[:-1]
        start, stop = before[-1].end if before else MAGIC_SIZE, there[-1].end
        end = log.cut(self.until, start, stop)
        following = next(log.transactions(end.offset, stop), None)
        packed = following.tid if following and following.packed else end.packed
        earlier = greatest_tid(self.chain.directory, before, log)
        tid = max(filter(None, (end.tid, earlier)), default=None)
        return self._checked(end._replace(tid=tid, packed=packed))

    def _end_of_all(self, log: Log) -> LogEnd:
        """Return the end of all parts, which *log* begins with."""
        last = log.before(self._parts[-1].end)
        tid = greatest_tid(self.chain.directory, self._parts, log)
        return self._checked(LogEnd(self._parts[-1].end, tid, last.begin if last else MAGIC_SIZE))

    def _reaches_into(self, parts: Sequence[Part], log: Log) -> bool:
        """Tell whether the cut lies in *parts*, the first, which *log* begins with."""
        if self.until is None or not parts:
            return False
        greatest = greatest_tid(self.chain.directory, parts, log)
        return greatest is not None and greatest > self.until

    def _checked(self, end: LogEnd) -> LogEnd:
        """Return *end*.  Raises if it is not what the restore point has promised."""
        point, until = self.point, self.until
        if until is not None:
            if end.packed is not None and end.packed > until:
                raise NoRestorePoint(
                    "a pack rewrote what was there at that moment",
                    where=point.stamp,
                    hint="ask for the stamp of a restore point (see the list)",
                )
            return end
        flaw = ""
        if end.offset != point.end:
            flaw = f"{end.offset} bytes came out of the backup where {point.end} should"
        elif end.tid is not None and point.tid is not None and end.tid != point.tid:
            flaw = (
                f"it ends with the transaction {show_tid(end.tid)} and not with "
                f"{show_tid(point.tid)}"
            )
        if flaw:
            raise IntegrityError(
                flaw, where=point.stamp, hint="verify the backups, and restore an earlier one"
            )
        return end

    def saved_index(self) -> Path | None:
        """Return the newest index that serves it."""
        return index_for(self.chain, None, self.end().offset)

"""The log of a filestorage in a chain, read at any place, without a restore.

Bytes come from single blocks of the data files, each compared with its digest (see seekablepart).
Nothing is written, and a damaged block fails only reads of that block.

A merge may take data files away meanwhile; then the one that has their bytes now is read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TypeVar

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage import tail
from collective.recipe.backup.filestorage.framing import DAMAGE_HINT
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.storedlog import LogRange
from collective.recipe.backup.process import can_compute
from collective.recipe.backup.repozo.blocksahead import AHEAD, BlocksAhead
from collective.recipe.backup.repozo.chains import Chain, again, was_replaced
from collective.recipe.backup.repozo.ledger import Part
from collective.recipe.backup.repozo.recover import wanted
from collective.recipe.backup.repozo.seekablepart import SeekablePart
from collective.recipe.backup.times import Tid

T = TypeVar("T")

_ROW = 3
"""Blocks in a row after which more are expected."""
_HELD = 8
"""Blocks that stay in memory, since the next read is often near."""


class SeekableLog(Log):
    """The log that *chain* holds up to a restore point.

    Raises IntegrityError where a data file is missing or damaged, as all methods do, and
    NoRestorePoint if the chain has no such restore point.  It is for one thread.  It holds some
    blocks and, of each data file that was read in, some 40 bytes for each MB.
    """

    damage_hint = DAMAGE_HINT

    def __init__(self, chain: Chain, *, through: str | None = None) -> None:
        """Hold what *chain* has up to the part of the stamp *through* (None: the newest)."""
        super().__init__(chain.ledger)
        self._held: OrderedDict[int, bytes] = OrderedDict()  # by the offset of the block
        self._take(chain, wanted(chain, through))
        self._size = self._parts[-1].end

    def _take(self, chain: Chain, parts: Sequence[Part]) -> None:
        self._chain = chain
        self._parts = parts
        self._begins = [part.start for part in parts]
        self._stored: dict[str, SeekablePart] = {}
        self._ahead: BlocksAhead | None = None  # of the data file that is read block by block
        self._ahead_in: SeekablePart | None = None  # that data file
        self._passed = 0  # where the last block that was got ends
        self._row = 0  # how many blocks were got one after the other

    @property
    def size(self) -> int:
        """The offset in bytes at which it ends."""
        return self._size

    def read_at(self, offset: int, size: int) -> bytes:
        """Return the bytes from *offset* on, *size* at most, fewer only where the log ends."""
        end = min(offset + size, self._size)
        found = []
        while offset < end:
            begin, block = self._block(offset)
            found.append(block[offset - begin : end - begin])
            offset = begin + len(block)
        return b"".join(found)

    def range_at(self, offset: int) -> LogRange:
        """Return the block that holds the byte at *offset*, which is below its size."""
        return self._of_part(offset, lambda stored: stored.range_at(offset))

    def _block(self, offset: int) -> tuple[int, bytes]:
        """Return the block that holds the byte at *offset*, and where it begins."""

        def found(stored: SeekablePart) -> tuple[int, bytes]:
            begin = stored.begin_of_block(offset)
            return begin, self._held_block(stored, begin)

        return self._of_part(offset, found)

    def _of_part(self, offset: int, ask: Callable[[SeekablePart], T]) -> T:
        """Return what *ask* finds in the data file that holds the byte at *offset*."""
        while True:
            part = self._parts[bisect_right(self._begins, offset) - 1]
            stored = self._stored.get(part.name)
            try:
                if stored is None:
                    stored = self._stored[part.name] = SeekablePart(self._chain, part)
                return ask(stored)
            except IntegrityError:
                if not self._follow_merge(part):
                    raise

    def _held_block(self, stored: SeekablePart, begin: int) -> bytes:
        if begin in self._held:
            self._held.move_to_end(begin)
            return self._held[begin]
        self._row = self._row + 1 if begin == self._passed else 0
        block = self._held[begin] = self._got(stored, begin)
        self._passed = begin + len(block)
        if len(self._held) > _HELD:
            self._held.popitem(last=False)
        return block

    def _got(self, stored: SeekablePart, begin: int) -> bytes:
        """Return a block, and let those behind it be got ahead once some were read in a row."""
        block = None if self._ahead is None else self._ahead.take(begin)
        if self._row >= _ROW and stored is not self._ahead_in and stored.may_be_shared:
            self._ahead = BlocksAhead(stored.block) if can_compute() else None
            self._ahead_in = stored
        if self._ahead is not None:
            in_row = self._row >= _ROW and stored is self._ahead_in
            self._ahead.want(stored.begins_after(begin)[:AHEAD] if in_row else ())
        return stored.block(begin) if block is None else block

    def _follow_merge(self, part: Part) -> bool:
        """Go by the ledger as it is now if *part* went into another; return whether that is so."""
        if not was_replaced(self._chain, part):
            return False
        now = again(self._chain)
        if now is None or now.end < self._size:
            return False
        self._held.clear()
        self._take(now, [each for each in now.restorable if each.start < self._size])
        return bool(self._parts) and self._parts[-1].end >= self._size

    def _tail(self, begin: int, after: Tid) -> str | None:  # noqa: ARG002  as Log has it
        if begin == self._size:
            return tail.NONE
        raise self._no_boundary(self._size)

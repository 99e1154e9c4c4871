"""From bytes of the filestorage to a data file: hashed and compressed while they are read.

Four threads share the work, since hashlib, blake3 and isal let others run meanwhile: the caller's
reads and writes, one hashes, two compress.  Only a few blocks are on their way at any time, so
memory does not grow with the filestorage.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from blake3 import blake3

from collective.recipe.backup.errors import explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.log import MAGIC_SIZE, Transaction
from collective.recipe.backup.filestorage.logcut import LogEnd
from collective.recipe.backup.filestorage.tids import Tids
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.gzipping import compressed
from collective.recipe.backup.repozo.blocks import BLOCK_SIZE, MEMBER, Written, digest_of
from collective.recipe.backup.times import ZERO_TID, Tid

_UNDER_WAY = 4
"""Blocks that may wait to be hashed."""


class Settled:
    """The bytes of all complete transactions from a boundary on, in blocks, in one pass.

    Those that ZEO finishes meanwhile are among them.
    """

    def __init__(
        self, log: TransactionLog, start: int, greatest: Tid | None, packed: Tid | None
    ) -> None:
        """Begin at *start*: a boundary, or 0 for the whole; *packed* is as in Blocks.

        *greatest* is the greatest tid up to there (None: there is none).
        """
        self.start = start
        self.tids = Tids(greatest)
        self._log = log
        self._last: Transaction | None = None
        self._packed = packed

    def __iter__(self) -> Iterator[bytes]:
        offset = self.start
        for transaction in self._log.transactions(max(offset, MAGIC_SIZE)):
            self._last = transaction
            self.tids.add(transaction.tid)
            if transaction.packed:
                self._packed = max(self._packed or ZERO_TID, transaction.tid)
            while transaction.end - offset >= BLOCK_SIZE:
                yield self._log.read(offset, BLOCK_SIZE)
                offset += BLOCK_SIZE
        if offset < self.at.offset:
            yield self._log.read(offset, self.at.offset - offset)

    @property
    def at(self) -> LogEnd:
        """The end of the log in the bytes that were yielded up to now."""
        last = self._last
        if last is None:
            end = max(self.start, MAGIC_SIZE)
            return LogEnd(end, None, end, packed=self._packed)
        return LogEnd(
            last.end,
            self.tids.greatest,
            last.begin,
            packed=self._packed,
            reductions=self.tids.reductions,
        )


def write_part(
    path: Path, blocks: Iterable[bytes], level: int | None, files: Files, like: int
) -> Written:
    """Write the data file *path*, which comes to be when it is whole; see write_unnamed."""
    partial, written = write_unnamed(path, blocks, level, files, like)
    with explained("cannot write the backup", path):
        files.name(partial, path)
    return written


def write_unnamed(
    path: Path, blocks: Iterable[bytes], level: int | None, files: Files, like: int
) -> tuple[Path, Written]:
    """Write the future data file *path* and return its temporary name, beside that.

    *blocks* are of BLOCK_SIZE bytes, but for the last; *level* None: no gzip.  The file is readable
    for no more users than the filestorage, whose mode is *like*.
    """
    stored, members = blake3(), bytearray()
    with explained("cannot write the backup", path), hashing() as hashes:
        read = hashes.passing(blocks)
        with files.unnamed(path, like & 0o666) as writer:
            for data in read if level is None else compressed(read, level):
                members += MEMBER.pack(writer.size)
                stored.update(data)
                writer.write(data)
            hashes.wait()
    return Path(writer.path), Written(
        checksum=hashes.md5.hexdigest(),
        digests=bytes(hashes.digests),
        members=b"" if level is None else bytes(members),
        stored=writer.size,
        stored_digest=stored.digest(),
    )


class Hashes:
    """MD5 of all blocks and BLAKE3 of each, made by a thread of their own."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.digests = bytearray()
        self._pool = pool
        self._waiting: deque[Future[None]] = deque()

    def passing(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the *blocks* again, each already on its way to the hashes."""
        for block in blocks:
            self.add(block)
            yield block

    def add(self, block: bytes) -> None:
        """Hash *block*, when its turn comes."""
        self._waiting.append(self._pool.submit(self._hash, block))
        if len(self._waiting) > _UNDER_WAY:
            self._waiting.popleft().result()

    def wait(self) -> None:
        """Return when all blocks are hashed."""
        while self._waiting:
            self._waiting.popleft().result()

    def _hash(self, block: bytes) -> None:
        self.md5.update(block)
        self.digests += digest_of(block)


@contextmanager
def hashing() -> Iterator[Hashes]:
    """Yield Hashes with their thread."""
    with ThreadPoolExecutor(1, "hash") as pool:
        yield Hashes(pool)

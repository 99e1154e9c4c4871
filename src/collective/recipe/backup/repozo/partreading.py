"""From a data file back to bytes of the filestorage, which are compared with their checksum.

One thread reads, two inflate, one hashes, and the caller uses the bytes.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Protocol, cast

from blake3 import blake3

from collective.recipe.backup.errors import IntegrityError, explained
from collective.recipe.backup.gzipping import BAD_GZIP, ahead, inflated
from collective.recipe.backup.repozo.blocks import Blocks, Digested, digest_of, read_blocks
from collective.recipe.backup.repozo.chains import Chain
from collective.recipe.backup.repozo.ledger import Part
from collective.recipe.backup.smallfile import open_regular

PIECE = 1 << 20

_AHEAD = 4


def pieces(path: Path, opened: Digested | None = None) -> Iterator[bytes]:
    """Yield the bytes of the filestorage in the data file *path*; no piece is empty.

    They are read from *opened*, if the caller has opened the file itself.  Raises IntegrityError if
    it is missing or damaged gzip, BackupError if it cannot be read.
    """
    try:
        with _opened(path, opened) as file:
            yield from inflated(path, file) if path.name.endswith("z") else _read(file)
    except FileNotFoundError:
        raise IntegrityError("the backup is missing", where=path) from None
    except BAD_GZIP as error:
        raise IntegrityError(f"the backup is damaged gzip ({error})", where=path) from error
    except OSError as error:
        with explained("cannot read the backup", path):
            raise error from None


def _opened(path: Path, opened: Digested | None) -> AbstractContextManager[IO[bytes]]:
    return nullcontext(cast("IO[bytes]", opened)) if opened else open_regular(path)


def _read(file: IO[bytes]) -> Iterator[bytes]:
    while data := file.read(PIECE):
        yield data


def blocks_of(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield the bytes of *pieces* in blocks of *size*, but for the last."""
    block = bytearray()
    for piece in pieces:
        if not block and len(piece) == size:
            yield piece
            continue
        block += piece
        while len(block) >= size:
            yield bytes(block[:size])
            del block[:size]
    if block:
        yield bytes(block)


def checked(chain: Chain, part: Part, opened: Digested | None = None) -> Iterator[bytes]:
    """Yield the bytes of *part*; after the last, compare size and checksum with the ledger.

    Where our digests of the blocks say as much as its MD5 they take its place, in a quarter
    of the time.  *opened* is as in pieces.  Raises IntegrityError, which names the file and
    says how far the chain is good.
    """
    return _passing(chain, part, pieces(chain.path(part), opened), _proof(chain, part))


class _Proof(Protocol):
    """Computes whether bytes, given in pieces, are those of a part."""

    def add(self, piece: bytes) -> None:
        """Take the next piece."""

    def flaw(self) -> str:
        """Return the difference, "" if none.  Raises IntegrityError if repeated reads differ."""


class _Ledger:
    """By the MD5 of all, which the ledger has."""

    def __init__(self, part: Part) -> None:
        self._expected = part.checksum
        self._md5 = hashlib.md5(usedforsecurity=False)

    def add(self, piece: bytes) -> None:
        self._md5.update(piece)

    def flaw(self) -> str:
        found = self._md5.hexdigest()
        if found == self._expected:
            return ""
        return f"the backup has the MD5 {found}, the ledger says {self._expected}"


class _Digests:
    """By the digests of the blocks; if one does not fit, by the ledger and a second reading.

    The bytes that were given to us must be those of the second reading: a disk or a memory that
    fails now and then may have damaged the first one alone.
    """

    def __init__(self, path: Path, part: Part, blocks: Blocks) -> None:
        self._path = path
        self._part = part
        self._expected = blocks.ranges()
        self._fit = True
        self._given = blake3()

    def add(self, piece: bytes) -> None:
        _offset, _size, expected = next(self._expected, (0, 0, b""))
        digest = digest_of(piece)
        self._given.update(digest)
        self._fit = self._fit and digest == expected

    def flaw(self) -> str:
        if self._fit:
            return ""
        ledger, again = _Ledger(self._part), blake3()
        for piece in blocks_of(pieces(self._path), PIECE):
            ledger.add(piece)
            again.update(digest_of(piece))
        flaw = ledger.flaw()
        if not flaw and again.digest() != self._given.digest():
            raise IntegrityError(
                "the backup was something else when it was read again",
                where=self._path,
                hint="its disk or the memory fails now and then: look into the system log,"
                " then try again",
            )
        return flaw


def _proof(chain: Chain, part: Part) -> _Proof:
    blocks = read_blocks(chain.directory, part)
    if blocks is None or blocks.block_size != PIECE:
        return _Ledger(part)
    return _Digests(chain.path(part), part, blocks)


def _passing(chain: Chain, part: Part, read: Iterator[bytes], proof: _Proof) -> Iterator[bytes]:
    path = chain.path(part)
    size = 0
    try:
        with ThreadPoolExecutor(1, "hash") as pool:
            waiting: deque[Future[None]] = deque()
            for piece in ahead(blocks_of(read, PIECE)):
                size += len(piece)
                if size > part.size:
                    break
                waiting.append(pool.submit(proof.add, piece))
                if len(waiting) > _AHEAD:
                    waiting.popleft().result()
                yield piece
        if size != part.size:
            more = "more" if size > part.size else "less"
            raise IntegrityError(
                f"the backup holds {more} than the {part.size} bytes that the ledger says",
                where=path,
            )
        if flaw := proof.flaw():
            raise IntegrityError(flaw, where=path)
    except IntegrityError as error:
        error.hint = error.hint or chain.good_until(part)
        raise

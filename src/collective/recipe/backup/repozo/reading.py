"""From a data file back to bytes of the filestorage, compared with the ledger on the way.

One thread reads and inflates, one hashes, the caller does with the bytes what it will.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO

from collective.recipe.backup.errors import IntegrityError, explained
from collective.recipe.backup.gzipping import BAD_GZIP, ahead, inflating
from collective.recipe.backup.repozo.ledger import Chain, Part

PIECE = 1 << 20

_AHEAD = 4


def pieces(path: Path) -> Iterator[bytes]:
    """Yield the bytes of the filestorage that the data file *path* holds, none of them empty.

    Raises IntegrityError where it is missing or damaged gzip, BackupError if it cannot be read.
    """
    try:
        with _opened(path) as file:
            while data := file.read(PIECE):
                yield data
    except FileNotFoundError:
        raise IntegrityError("the backup is missing", where=path) from None
    except BAD_GZIP as error:
        raise IntegrityError(f"the backup is damaged gzip ({error})", where=path) from error
    except OSError as error:
        with explained("cannot read the backup", path):
            raise error from None


def _opened(path: Path) -> IO[bytes]:
    if path.name.endswith("z"):
        return inflating(path)
    return path.open("rb")


def blocks_of(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield the same bytes in blocks of *size*, but for the last."""
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


def checked(chain: Chain, part: Part) -> Iterator[bytes]:
    """Yield the bytes of *part*; after the last, compare size and MD5 with the ledger.

    Raises IntegrityError, which names the file and says how far the chain is good.
    """
    path = chain.path(part)
    md5 = hashlib.md5(usedforsecurity=False)
    size = 0
    try:
        with ThreadPoolExecutor(1, "hash") as pool:
            waiting: deque[Future[None]] = deque()
            for piece in ahead(pieces(path)):
                size += len(piece)
                if size > part.size:
                    break
                waiting.append(pool.submit(md5.update, piece))
                if len(waiting) > _AHEAD:
                    waiting.popleft().result()
                yield piece
        if size != part.size:
            more = "more" if size > part.size else "less"
            raise IntegrityError(
                f"the backup holds {more} than the {part.size} bytes that the ledger says",
                where=path,
            )
        if md5.hexdigest() != part.checksum:
            raise IntegrityError(
                f"the backup has the MD5 {md5.hexdigest()}, the ledger says {part.checksum}",
                where=path,
            )
    except IntegrityError as error:
        error.hint = error.hint or chain.good_until(part)
        raise

"""Gzip by several threads, for whoever writes or reads it in one pass.

What is written is a gzip member for each block, one after the other, which every reader of
gzip takes for one stream; ISA-L makes them many times faster than zlib.  isal lets other
threads run meanwhile, and what is on its way at any time is a few blocks.
"""

from __future__ import annotations

import gzip
import zlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, cast

from isal import igzip, isal_zlib

LEVELS = range(4)
"""Levels of compression that ISA-L has; 0 only stores."""
DEFAULT_LEVEL = 2

_BAD_DEFLATE: type[Exception] = isal_zlib.IsalError  # type: ignore[assignment]  # the stub says instance
BAD_GZIP = (EOFError, zlib.error, gzip.BadGzipFile, _BAD_DEFLATE)
"""What reading raises where a stream is damaged or cut short."""

_COMPRESSORS = 2
_AHEAD = 4
"""Blocks that may wait for each kind of worker."""
_END = b""


def compressed(blocks: Iterable[bytes], level: int) -> Iterator[bytes]:
    """Yield a gzip member for each block; two threads make them."""
    with ThreadPoolExecutor(_COMPRESSORS, "compress") as pool:
        members: deque[Future[bytes]] = deque()
        for block in blocks:
            # no time in the header, so that equal bytes give equal files
            members.append(pool.submit(igzip.compress, block, level, mtime=0))
            if len(members) > _AHEAD:
                yield members.popleft().result()
        while members:
            yield members.popleft().result()


def inflating(stored: Path | IO[bytes]) -> IO[bytes]:
    """Open what is compressed, a path or a binary file, for reading what it was before."""
    return cast("IO[bytes]", igzip.open(stored, "rb"))  # type: ignore[no-untyped-call]


def ahead(items: Iterator[bytes]) -> Generator[bytes, None, None]:
    """Yield *items*, which another thread works out a little ahead of us; none is empty.

    Once it is closed that thread has ended.
    """
    with ThreadPoolExecutor(1, "read") as pool:
        waiting = deque(pool.submit(next, items, _END) for _ in range(_AHEAD))
        while item := waiting.popleft().result():
            waiting.append(pool.submit(next, items, _END))
            yield item

"""Gzip by several threads, for writers and readers of a whole file in one pass.

The output is a gzip member for each block, one after the other, which every reader of gzip takes
for one stream; ISA-L makes them many times faster than zlib.  isal lets other threads run
meanwhile, and what is on its way at any time is a few blocks.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from isal import igzip, igzip_lib, isal_zlib

from collective.recipe.backup.smallfile import open_regular

LEVELS = range(4)
"""Levels of compression that ISA-L has; 0 is the quickest, and makes the largest files."""

_BAD_DEFLATE: type[Exception] = isal_zlib.IsalError  # type: ignore[assignment]  # the stub says instance
BAD_GZIP = (EOFError, zlib.error, gzip.BadGzipFile, _BAD_DEFLATE)
"""Errors of reading a stream that is damaged or cut short."""

_WORKERS = 2
_AHEAD = 4
"""Blocks that may wait for each kind of worker."""
_END = b""
_READ = 1 << 20
_LARGEST = 2 << 20
"""Bytes of a member, stored or inflated, that is taken for one of ours."""
_SIZE_AT_END = 4
"""Bytes at the end of a member that say how many it holds (RFC 1952), little-endian."""
_WITH_GZIP_HEADER = 31
"""Parameter of zlib: a window of 32 kB, and a header and trailer of gzip."""
_HEADER = bytes.fromhex("1f8b080000000000")
"""Gzip, deflate, no flags, no time: how each member of ours begins (RFC 1952)."""


def compressed(blocks: Iterable[bytes], level: int) -> Iterator[bytes]:
    """Yield a gzip member for each block; two threads make them."""
    with ThreadPoolExecutor(_WORKERS, "compress") as pool:
        members: deque[Future[bytes]] = deque()
        for block in blocks:
            # no time in the header, so that equal bytes give equal files
            members.append(pool.submit(igzip.compress, block, level, mtime=0))
            if len(members) > _AHEAD:
                yield members.popleft().result()
        while members:
            yield members.popleft().result()


def inflated(path: Path, opened: IO[bytes]) -> Iterator[bytes]:
    """Yield the content of the gzip file *path*, *opened* at its begin; no piece is empty.

    Members as ``compressed`` makes them are inflated by two threads.  For any other bytes the
    reader that knows all of gzip takes over, and decides.  Raises one of BAD_GZIP.
    """
    known = 0
    with suppress(_OtherGzip):
        for piece in _of_members(opened):
            yield piece
            known += len(piece)
        return
    with open_regular(path) as file, inflating(file) as stream:
        while data := stream.read(_READ):
            if len(data) > known:
                yield data[known:]
            known -= min(known, len(data))


class _OtherGzip(Exception):  # noqa: N818  no error, but a case
    """These are no members of ours, or damaged ones."""


def _of_members(file: IO[bytes]) -> Iterator[bytes]:
    with ThreadPoolExecutor(_WORKERS, "inflate") as pool:
        waiting: deque[Future[bytes]] = deque()
        for member in _members(file):
            waiting.append(pool.submit(_member_inflated, member))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _members(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the bytes between headers like ours: a member, unless data look like a header."""
    held, searched = bytearray(), 1
    while data := file.read(_READ):
        held += data
        begin = 0
        while (end := held.find(_HEADER, searched)) > 0:
            with memoryview(held) as view:
                yield bytes(view[begin:end])
            begin, searched = end, end + 1
        del held[:begin]
        searched = max(1, len(held) - len(_HEADER) + 1)
        if len(held) > _LARGEST:
            raise _OtherGzip
    yield bytes(held)


def _member_inflated(member: bytes) -> bytes:
    try:
        with inflating(io.BytesIO(member)) as stream:
            # with one large read there is one buffer, and so hardly any turns of the two threads
            data = stream.read(_LARGEST)
            if not data or stream.read(1):
                raise _OtherGzip
    except BAD_GZIP:
        raise _OtherGzip from None
    return data


def member_begins(file: IO[bytes], size: int) -> Iterator[int]:
    """Yield the offset of each member in *file*, if ``compressed`` made it of blocks of *size*.

    Nothing is inflated: a member ends with the number of bytes that it holds, and begins as
    ours do.  In any other file, less is yielded, or more.
    """
    boundary = size.to_bytes(_SIZE_AT_END, "little") + _HEADER
    held, passed = bytearray(boundary[:_SIZE_AT_END]), -_SIZE_AT_END
    while data := file.read(_READ):
        held += data
        begin = 0
        while (found := held.find(boundary, begin)) >= 0:
            begin = found + 1
            yield passed + found + _SIZE_AT_END
        begin = max(begin, len(held) - len(boundary) + 1)
        del held[:begin]
        passed += begin


def inflate_member(member: bytes, size: int) -> bytes:
    """Return the *size* bytes that the gzip member holds.  Raises one of BAD_GZIP."""
    # this one makes room for all at once, and so lets others take a turn only once
    inflater = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    # one more, so that it comes to its end and compares its checksum
    data = inflater.decompress(member, size + 1)
    if len(data) != size or not inflater.eof or inflater.unused_data:
        raise EOFError("it does not end where it should")
    return data


def inflating(stored: IO[bytes]) -> IO[bytes]:
    """Return what reads from the compressed file *stored* what it was before."""
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

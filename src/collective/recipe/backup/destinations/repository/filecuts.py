"""The places where files are cut, chosen by content, so that moved data are stored once.

A cut is at least LEAST and at most MOST bytes behind the last one.  Of the places in between where
two bytes stand as ``_PLACE`` has them, it is the one with the least checksum of the 48 bytes before
it.  So two files with a long stretch in common are cut in the same places there, whatever comes
before it.  Places are some hundred bytes from each other in text and in any other data, and no two
are in a run of equal bytes.

A rolling checksum over each byte, as FastCDC has it, is work for a compiled library; the one on
PyPI has wheels for no Python after 3.12. Finding the places is work that ``re`` does in C. Readers
of a repository need not know any of this.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator

LEAST, MOST = 512 << 10, 2 << 20
"""Bytes of a piece, but for the last one of a file."""

_BEFORE = 48
_PLACE = re.compile(b"[%b][%b]" % (bytes(range(0x00, 0x100, 16)), bytes(range(0x05, 0x100, 16))))


def cut_pieces(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield the pieces of a file; *read* takes the most bytes to return, none at the end."""
    held = b""
    while True:
        while len(held) < MOST and (more := read(MOST - len(held))):
            held += more
        if not held:
            return
        end = _cut(held)
        yield held[:end]
        held = held[end:]


def _cut(data: bytes) -> int:
    """Return where the first piece of *data* ends, which are MOST bytes or all that is left."""
    if len(data) <= LEAST:
        return len(data)
    best, at = 1 << 32, len(data)
    for place in _PLACE.finditer(data, LEAST):
        end = place.end()
        found = zlib.crc32(data[end - _BEFORE : end])
        if found < best:
            best, at = found, end
    return at

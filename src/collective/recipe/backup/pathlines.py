r"""Lists of files: lines that end with a path, and blocks of lines to write.

A path may hold any byte but NUL.  In a line its newlines are ``\n``, its backslashes ``\\``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

BLOCK_SIZE = 1 << 16


def escaped(path: str) -> bytes:
    """Return *path* as it stands in a line."""
    return os.fsencode(path).replace(b"\\", rb"\\").replace(b"\n", rb"\n")


def path_of(text: bytes) -> str:
    """Return the path that *text* is in a line."""
    if b"\\" in text:
        text = re.sub(rb"\\(.)", lambda found: b"\n" if found[1] == b"n" else found[1], text)
    return os.fsdecode(text)


def in_blocks(pieces: Iterable[bytes], size: int = BLOCK_SIZE) -> Iterator[bytes]:
    """Yield the bytes of *pieces* in blocks of *size* and a little more; the last may have less."""
    block = bytearray()
    for piece in pieces:
        block += piece
        if len(block) >= size:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)

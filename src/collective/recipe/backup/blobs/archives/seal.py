"""The seal at the end of an archive of ours, and the mark at its begin that says it has one.

Both are compared, byte by byte, with those that we would write, so that no change in them goes
unseen.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from collective.recipe.backup.blobs.archives.headers import BLOCK_SIZE

_WORDS = b"collective.recipe.backup BLAKE3 "
_DIGITS = 64
_MARK = re.compile(
    rb"collective\.recipe\.backup 1 (?:full(?: of ([0-9-]{19}))?|after ([0-9-]+(?:\.delta)?))"
)
# header with a comment, no time; an empty deflate stream, its CRC and size
_GZIP = b"\x1f\x8b\x08\x10\0\0\0\0\0\xff", b"\0\x03\0" + bytes(8)


class ArchiveMark(NamedTuple):
    """The mark at the begin of an archive of ours."""

    after: str | None  # archive that must be unpacked before; None: it is full
    stamp: str | None = None
    """Of a full archive whose name may become a number; None: the name has it."""

    def encode(self) -> bytes:
        """Return the comment that says so."""
        full = f"full of {self.stamp}" if self.stamp else "full"
        rest = f"after {self.after}" if self.after else full
        return f"collective.recipe.backup 1 {rest}".encode("ascii")


def parse_mark(comment: bytes) -> ArchiveMark | None:
    """Return the mark that a comment is, None if it is another's."""
    found = _MARK.fullmatch(comment)
    if not found:
        return None
    stamp, after = (each.decode("ascii") if each else None for each in found.groups())
    return ArchiveMark(after, stamp)


def seal(digest: str, *, compressed: bool) -> bytes:
    """Return what comes after bytes with the BLAKE3 *digest*, in hex."""
    words = _WORDS + digest.encode("ascii")
    if compressed:
        return words.join(_GZIP)
    return (words + b"\n").ljust(BLOCK_SIZE, b"\0")


def size_of_seal(*, compressed: bool) -> int:
    """Return the size of a seal in bytes."""
    return len(seal("0" * _DIGITS, compressed=compressed))


def sealed(tail: bytes, *, compressed: bool) -> str | None:
    """Return the digest if *tail* is exactly a seal."""
    at = tail.find(_WORDS) + len(_WORDS)
    digest = tail[at : at + _DIGITS].decode("ascii", "replace")
    if not re.fullmatch("[0-9a-f]{64}", digest):
        return None
    return digest if tail == seal(digest, compressed=compressed) else None

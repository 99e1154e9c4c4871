"""Overwrite the end of a live file in place, so that a copy of yesterday costs one day's bytes.

The new tail lies whole beside the file, and so does the old one, before the first byte is written;
a later run finishes work that was broken off, or grafts the old tail back.

A crash leaves pages of the old tail, pages of the new one, and pages of zeros.  Any other page was
written by another program since then, and is not overwritten.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import IO

from blake3 import blake3

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.smallfile import open_regular

_PIECE = 1 << 20
_PAGE = 4096


def save_tail(live: Path, keep: int, saved: Path, files: Files) -> None:
    """Copy what *live* has after its first *keep* bytes to *saved*."""
    mode = live.stat().st_mode & 0o666
    with open_regular(live, follow=False) as file, files.writing(saved, mode) as writer:
        file.seek(keep)
        for piece in _pieces(file):
            writer.write(piece)


def digest_of_ends(live: Path, size: int) -> str:
    """Return the BLAKE3 of the begin and the end of the first *size* bytes of *live*, in hex.

    A file that is shorter has none, which no other is equal to.
    """
    digest = blake3()
    with open_regular(live) as file:
        for offset in (0, max(0, size - _PIECE)):
            file.seek(offset)
            piece = file.read(min(_PIECE, size - offset))
            if len(piece) < min(_PIECE, size - offset):
                return ""
            digest.update(piece)
    return digest.hexdigest()


def graft(live: Path, keep: int, new: Path, old: Path, files: Files) -> None:
    """Make *live* its first *keep* bytes and the tail *new*, in place of the tail *old*.

    It may have been begun before.  Raises IntegrityError if *live* has become something
    else, and then changes nothing.
    """
    _check(live, keep, new, old)
    with open_regular(new, follow=False) as tail, files.overwriting(live, keep) as writer:
        for piece in _pieces(tail):
            writer.write(piece)


def _check(live: Path, keep: int, new: Path, old: Path) -> None:
    longest = keep + max(new.stat().st_size, old.stat().st_size)
    with open_regular(live) as here, open_regular(new) as coming, open_regular(old) as going:
        here.seek(keep)
        pages = zip(_pieces(here), _padded(coming), _padded(going), strict=False)
        fits = keep <= live.stat().st_size <= longest
        if not fits or not all(_is_mixture(*pieces) for pieces in pages):
            raise IntegrityError(
                "this file was written to after a restore had been broken off",
                where=live,
                hint=f"move it away, with {old.name} and {new.name}, then run the restore again",
            )


def _is_mixture(here: bytes, coming: bytes, going: bytes) -> bool:
    """Tell whether each byte of *here* is one of the others', or zero."""
    if coming.startswith(here) or going.startswith(here):
        return True
    for start in range(0, len(here), _PAGE):
        page, *sources = (piece[start : start + _PAGE] for piece in (here, coming, going))
        if not any(source.startswith(page) for source in sources):
            bytewise = zip_longest(page, *(source[: len(page)] for source in sources))
            if any(byte and byte not in others for byte, *others in bytewise):
                return False
    return True


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


def _padded(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the pieces of *file*, then empty ones for ever."""
    yield from _pieces(file)
    while True:
        yield b""

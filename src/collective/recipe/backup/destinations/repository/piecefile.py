"""A file whose bytes come in pieces."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO


def file_of_pieces(pieces: Iterator[bytes | memoryview]) -> BinaryIO:
    """Return *pieces* as a file, to be read once from its begin."""
    return io.BufferedReader(_Pieces(pieces))


class _Pieces(io.RawIOBase):
    """The bytes that an iterator yields."""

    def __init__(self, pieces: Iterator[bytes | memoryview]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what io calls it with
        """Read what fits into *buffer*."""
        if not self._piece:
            self._piece = memoryview(next(self._pieces, b""))
        view = memoryview(buffer)
        found, self._piece = self._piece[: len(view)], self._piece[len(view) :]
        view[: len(found)] = found
        return len(found)

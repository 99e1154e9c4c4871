"""Sequential reading of a filestorage by offset, in constant memory."""

from __future__ import annotations

import os
from pathlib import Path

from collective.recipe.backup.errors import explained

SIZE = 1 << 18
"""Bytes for each read: many small transactions, and still within a processor's cache."""

_GREATEST = 1 << 62
"""No file is that large; a damaged one may say that something stands even further on."""


class Window:
    """Some bytes of a file, which move forward as later ones are asked for.

    What is in it may be out of date where the file is being written.
    """

    def __init__(self, descriptor: int, path: Path, size: int = SIZE) -> None:
        """Read from *descriptor*, which stays its opener's to close, *size* bytes at a time."""
        self.data = b""
        self._begin = 0
        self._descriptor = descriptor
        self._path = path
        self._size = size

    def at(self, offset: int, size: int) -> int:
        """Return where in ``data`` the *size* bytes at *offset* are; -1 if the file ends before."""
        index = offset - self._begin
        if index >= 0 and index + size <= len(self.data):
            return index
        if offset > _GREATEST:
            return -1
        with explained("cannot read the filestorage", self._path):
            self.data = os.pread(self._descriptor, max(size, self._size), offset)
        self._begin = offset
        return 0 if len(self.data) >= size else -1

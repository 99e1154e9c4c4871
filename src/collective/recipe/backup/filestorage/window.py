"""Sequential reading of a filestorage by offset, in constant memory."""

from __future__ import annotations

from collections.abc import Callable

SIZE = 1 << 18
"""Bytes for each read: many small transactions, and still within a processor's cache."""

_GREATEST = 1 << 62
"""No file is that large; a damaged one may say that something stands even further on."""


class Window:
    """Some bytes of a file, which move forward as later ones are asked for.

    Its bytes may be out of date where the file is being written.
    """

    def __init__(self, read_at: Callable[[int, int], bytes], size: int = SIZE) -> None:
        """Read by *read_at*, which is given offset and size, *size* bytes at a time."""
        self.data = b""
        self.begin = 0  # offset of the first byte of *data*
        self._read_at = read_at
        self._size = size

    def at(self, offset: int, size: int) -> int:
        """Return where in ``data`` the *size* bytes at *offset* are; -1 if the file ends before."""
        index = offset - self.begin
        if index >= 0 and index + size <= len(self.data):
            return index
        if offset > _GREATEST:
            return -1
        self.data = self._read_at(offset, max(size, self._size))
        self.begin = offset
        return 0 if len(self.data) >= size else -1

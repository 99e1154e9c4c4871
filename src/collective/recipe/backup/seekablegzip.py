"""A gzip file of any program, read at any place.

Gzip can only be inflated from its begin.  So a read inflates from the last place before it at which
the state of the inflater is known: the present place of the reader, or one of some points that it
has kept on the way.  Going to a place for the first time costs inflating everything before it;
coming back costs the distance between two points.

A state is some 50 kB, and as much of the file may hang on it.  There are at most 128 of them:
when there would be more, every second one is dropped, and the distance doubles.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from collective.recipe.backup.smallfile import open_regular

_POINTS = 128
_DISTANCE = 16 << 20
"""Bytes of the content between two points at first."""
_READ = 1 << 16
_STEP = 1 << 20
"""Bytes that are inflated at once on the way."""
_ANY_GZIP = 31
"""Parameter of zlib: a window of 32 kB, and a header and trailer of gzip."""


@dataclass
class _Place:
    """A place up to which a file was inflated."""

    inflated: int  # bytes of the content before it
    read: int  # bytes of the file before it
    inflater: Any  # a zlib decompressor; None between two members

    def copy(self) -> _Place:
        """Return a copy of this place, so that two readers can go on from it."""
        inflater = self.inflater.copy() if self.inflater else None
        return _Place(self.inflated, self.read, inflater)


class SeekableGzip:
    """The inflated bytes of the gzip file *path*.

    The file is open during a read.  Reading raises OSError, and one of gzipping.BAD_GZIP if the
    file is damaged up to the end of the requested bytes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._here = _Place(0, 0, None)
        self._points: list[_Place] = [self._here.copy()]
        self._distance = _DISTANCE

    def read(self, offset: int, size: int) -> bytes:
        """Return *size* bytes of the content from *offset* on, fewer where it ends."""
        with open_regular(self._path) as file:
            self._go_to(offset)
            while self._here.inflated < offset:
                if not self._next(file, min(_STEP, offset - self._here.inflated)):
                    return b""
            found = bytearray()
            while len(found) < size and (data := self._next(file, size - len(found))):
                found += data
        return bytes(found)

    def _go_to(self, offset: int) -> None:
        """Go to the last known place that is not after *offset*."""
        point = max(
            (each for each in self._points if each.inflated <= offset),
            key=lambda each: each.inflated,
        )
        if not point.inflated <= self._here.inflated <= offset:
            self._here = point.copy()

    def _next(self, file: IO[bytes], size: int) -> bytes:
        """Inflate the next bytes, *size* at most and at least one; b"" at the end."""
        here = self._here
        while True:
            given = os.pread(file.fileno(), _READ, here.read)
            if here.inflater is None:
                given, zeros = _without_padding(given) if here.read else (given, 0)
                here.read += zeros
                if zeros and not given:
                    continue
                if not given:
                    return b""
                here.inflater = zlib.decompressobj(_ANY_GZIP)
            data = here.inflater.decompress(given, size)
            ended = here.inflater.eof
            left = here.inflater.unused_data if ended else here.inflater.unconsumed_tail
            here.read += len(given) - len(left)
            here.inflated += len(data)
            if ended:
                here.inflater = None
            elif not given and not data:
                raise EOFError("it is cut short")
            if data:
                self._leave_point()
                return cast("bytes", data)

    def _leave_point(self) -> None:
        if self._here.inflated - self._points[-1].inflated < self._distance:
            return
        self._points.append(self._here.copy())
        if len(self._points) > _POINTS:
            self._points = self._points[::2]
            self._distance *= 2


def _without_padding(data: bytes) -> tuple[bytes, int]:
    """Return *data* without the zeros that may follow a member, and how many they are."""
    stripped = data.lstrip(b"\0")
    return stripped, len(data) - len(stripped)

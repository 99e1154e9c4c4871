"""The bytes of a stored log, read at any place and quickly, again and again.

The first read of a range reads and verifies all of it.  If a file has these bytes as they are,
later reads go there, by a descriptor that stays open: a prune may remove the file meanwhile.  Any
other range is copied into a private file, which has a limit; the oldest copies are removed first.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections import deque
from pathlib import Path
from typing import BinaryIO, NamedTuple

from collective.recipe.backup.errors import explained
from collective.recipe.backup.files.writes import Writer
from collective.recipe.backup.filestorage.storedlog import LogRange, StoredLog
from collective.recipe.backup.smallfile import open_regular

LEAST = 8 << 20
"""Bytes that may always be put aside: two ranges of the largest kind."""

_FILES = 256
"""Files that are held open; a process may have some 1000."""


class _Page(NamedTuple):
    """A range that was verified."""

    begin: int  # bytes from the begin of the log
    end: int  # offset after it
    descriptor: int  # of the file that it is read from
    place: int  # where it begins in that file


class ReadPages:
    """Reads *log*.  It is for one thread at a time."""

    def __init__(self, log: StoredLog, aside: Writer, limit: int) -> None:
        """Put *limit* bytes aside at most, LEAST at least."""
        self._log = log
        self._aside = aside
        self._limit = max(limit, LEAST)
        self._begins: list[int] = []  # of the pages, in order
        self._pages: list[_Page] = []
        self._put_aside: deque[_Page] = deque()  # the oldest first
        self._next = 0  # the place of the next one
        self._files: dict[Path, BinaryIO] = {}

    def read(self, offset: int, size: int) -> bytes:
        """Return the bytes from *offset* on, *size* at most, fewer only where the log ends.

        Raises IntegrityError for missing or damaged data, BackupError for data that cannot be read.
        """
        number = bisect_right(self._begins, offset) - 1
        if number >= 0:
            page = self._pages[number]
            if offset + size <= page.end:
                data = os.pread(page.descriptor, size, page.place + offset - page.begin)
                if len(data) == size:
                    return data
        return b"".join(self._parts(offset, min(offset + size, self._log.size)))

    def _parts(self, offset: int, end: int) -> list[bytes]:
        found = []
        while offset < end:
            page, data = self._page_at(offset)
            stop = min(end, page.end)
            if data is None:
                place = page.place + offset - page.begin
                data = os.pread(page.descriptor, stop - offset, place)
            else:
                data = data[offset - page.begin : stop - page.begin]
            if len(data) != stop - offset:
                # another program cut the file short: its bytes are verified and read anew
                self._forget(page)
                data = self._log.read(offset, stop - offset)
            found.append(data)
            offset = stop
        return found

    def _page_at(self, offset: int) -> tuple[_Page, bytes | None]:
        """Return the page that has the byte at *offset*, and its bytes if they were read now."""
        number = bisect_right(self._begins, offset) - 1
        if number >= 0 and offset < self._pages[number].end:
            return self._pages[number], None
        there = self._log.range_at(offset)
        end = min(there.end, self._log.size)
        found = self._in_place(there) if len(self._files) < _FILES else None
        if found is None:
            data = self._log.read(there.begin, end - there.begin)
            return self._put(there.begin, data), data
        page = _Page(there.begin, end, found, there.place)
        self._remember(page)
        return page, None

    def _in_place(self, there: LogRange) -> int | None:
        """Return a descriptor of the file in which *there* stands as it is; None: in none.

        None also if that is damaged: the log says in which way.
        """
        if there.path is None:
            return None
        file = self._files.get(there.path)
        if file is None:
            try:
                file = self._files[there.path] = open_regular(there.path)
            except OSError:
                return None
        with explained("cannot read the backup", there.path):
            data = os.pread(file.fileno(), there.end - there.begin, there.place)
        return file.fileno() if self._log.digest_of(data) == there.digest else None

    def _put(self, begin: int, data: bytes) -> _Page:
        self._make_room(len(data))
        page = _Page(begin, begin + len(data), self._aside.descriptor, self._next)
        with explained("cannot write to the cache", Path(self._aside.path)):
            self._aside.overwrite(self._next, data)
        self._next += len(data)
        self._put_aside.append(page)
        self._remember(page)
        return page

    def _make_room(self, size: int) -> None:
        """Let go of the oldest pages in whose place the next *size* bytes are put."""
        oldest = self._put_aside
        if self._next + size > self._limit:
            while oldest and oldest[0].place >= self._next:
                self._forget(oldest.popleft())
            self._next = 0
        while oldest and self._next <= oldest[0].place < self._next + size:
            self._forget(oldest.popleft())

    def _remember(self, page: _Page) -> None:
        number = bisect_left(self._begins, page.begin)
        self._begins.insert(number, page.begin)
        self._pages.insert(number, page)

    def _forget(self, page: _Page) -> None:
        number = bisect_left(self._begins, page.begin)
        if number < len(self._pages) and self._pages[number] == page:
            del self._begins[number], self._pages[number]

    def close(self) -> None:
        """Close the files that are held open."""
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._begins.clear()
        self._pages.clear()

"""Writes the files of a blobstorage that come out of a repository."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.copying import How
from collective.recipe.backup.blobs.digesting import regular, same_time
from collective.recipe.backup.blobs.layout import MARKER, Layout
from collective.recipe.backup.destinations.repository.blobpages import BlobFile
from collective.recipe.backup.files import Files
from collective.recipe.backup.held import Trail

_SECOND = 10**9
_OF_DIRECTORIES = 0o700
"""Permissions of directories of blobs; ZODB makes them so as well."""


class BlobWriting:
    """Writes files into *directory*, or links to those that *live* has with equal size and time.

    A context manager: within the body, the directories on the way are held from one file to the
    next (see Trail).
    """

    def __init__(self, directory: Path, live: Path | None, files: Files) -> None:
        self._directory = directory
        self._top = os.fspath(directory)
        self._trail = Trail(self._top)
        self._live = live
        self._files = files
        self._owner = directory.stat()
        self._made: set[str] = set()  # directories that hold others
        self._last = ""  # the directory of the last file
        self._marker: How | None = None
        self._written = self._linked = self._size = self._linked_size = 0

    def __enter__(self) -> None:
        self._trail.__enter__()

    def __exit__(self, *exception: object) -> None:
        self._trail.__exit__(*exception)

    def write(self, path: str, file: BlobFile, pieces: Iterable[bytes]) -> None:
        """Write one file."""
        self._enter(path)
        target = self._trail.place(f"{self._top}/{path}")
        like = self._like(stat.S_IFREG | file.mode, file.size, file.time)
        with self._files.filling(target, like) as writer:
            for piece in pieces:
                writer.write(piece)
        self._written += 1
        self._size += file.size

    def _enter(self, path: str) -> None:
        """Make the directory of the file *path*, and those above it."""
        place = path.rpartition("/")[0]
        if place == self._last:
            return
        if place:
            self._make_above(place)
            self._make(place)
        self._last = place

    def make_directory(self, path: str, mode: int) -> None:
        """Make a directory that is not ZODB's, with the permissions *mode*, whatever the umask.

        Its owner may do all there, or nothing came in.
        """
        self._enter(path)
        like = self._like(stat.S_IFDIR | mode, 0, 0)
        self._files.make_directory_like(self._trail.place(f"{self._top}/{path}"), like)

    def write_link(self, path: str, text: str, time: int) -> None:
        """Make a symbolic link, of that *time*, nanoseconds since 1970."""
        self._enter(path)
        like = self._like(stat.S_IFREG | 0o777, len(text), time)
        self._files.make_link(text, self._trail.place(f"{self._top}/{path}"), like)
        self._written += 1

    def _make_above(self, place: str) -> None:
        above = place.rpartition("/")[0]
        if above and above not in self._made:
            self._make_above(above)
            self._make(above)
            self._made.add(above)

    def _make(self, place: str) -> None:
        """Make one directory, unless it is there."""
        self._files.make_directory(self._trail.place(f"{self._top}/{place}"), _OF_DIRECTORIES)

    def needs_no_bytes(self, path: str, file: BlobFile) -> bool:
        """Link to the live file, or make an empty one, if that is enough; return whether it was.

        That may be done while the pieces of another file are written.
        """
        if self._takes_live(path, file):
            return True
        if not file.size:
            self.write(path, file, ())
        return not file.size

    def _takes_live(self, path: str, file: BlobFile) -> bool:
        """Link to the live file, if that is equal; return whether that was done."""
        there = regular(self._live / path) if self._live is not None else None
        if self._live is None or there is None:
            return False
        if there.st_size != file.size or not same_time(there.st_mtime_ns, file.time):
            return False
        self._enter(path)
        if not self._files.link(self._live / path, self._directory / path):
            return False
        self._linked += 1
        self._linked_size += file.size
        return True

    def _like(self, mode: int, size: int, time: int) -> os.stat_result:
        """Return the status of a file with *mode* (with its type) and *time* (ns since 1970).

        Its owner is that of the directory.
        """
        seconds, owner = time // _SECOND, self._owner
        return os.stat_result(
            (
                mode, 0, 0, 1, owner.st_uid, owner.st_gid, size,
                seconds, seconds, seconds,
            ),
            {"st_atime_ns": time, "st_mtime_ns": time},
        )  # fmt: skip

    def mark(self, layout: Layout) -> None:
        """Write ZODB's note of the layout."""
        self._files.write(self._directory / MARKER, layout.value.encode("ascii"))
        self._written += 1
        self._marker = How.COPIED

    def sum(self) -> Copied:
        """Return the counts."""
        return Copied(
            files=self._written,
            linked=self._linked,
            size=self._size,
            marker=self._marker,
            whole=self._size + self._linked_size,
        )
